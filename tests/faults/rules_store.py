"""Rules of the lock, the generations and the caches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tests.faults.evidence import Evidence, Finding, Partition
from tests.faults.history import Entry

Interval = tuple[Entry, Entry]


def _intervals(evidence: Evidence) -> dict[str, list[Interval]]:
    """When each process held the lock; one that was killed with it, until the last that it told."""
    intervals: dict[str, list[Interval]] = {}
    for process, entries in evidence.by_process.items():
        held: Entry | None = None
        found: list[Interval] = []
        for entry in entries:
            if entry.kind == "locked":
                held = entry
            elif entry.kind == "unlocked" and held is not None:
                found.append((held, entry))
                held = None
        if held is not None:
            found.append((held, entries[-1]))
        intervals[process] = found
    return intervals


def one_at_a_time(evidence: Evidence) -> Iterator[Finding]:
    """No two processes hold the lock at the same time."""
    intervals = sorted(
        (interval for found in _intervals(evidence).values() for interval in found), key=lambda interval: interval[0].t
    )
    for (locked, unlocked), (other, _) in pairwise(intervals):
        if other.t < unlocked.t:
            yield Finding("two held the lock at once", (locked, other, unlocked))


def commits_under_the_lock(evidence: Evidence) -> Iterator[Finding]:
    """Each commit lies within an interval in which its writer held the lock."""
    intervals = _intervals(evidence)
    for commit in evidence.commits:
        if commit.outcome == "elsewhere":
            continue
        end = commit.ended or commit.begun
        if not any(
            locked.t <= commit.begun.t and end.t <= unlocked.t for locked, unlocked in intervals[commit.process]
        ):
            yield Finding("its writer did not hold it all the while", (commit.begun, end))


def one_chain(evidence: Evidence) -> Iterator[Finding]:
    """Each commit is one generation behind what it derives from, and each generation was committed once."""
    for commit in evidence.commits:
        if commit.generation not in (None, commit.seen + 1):
            text = "it is not the generation behind the one that it derives from"
            yield Finding(text, (commit.begun, commit.ended or commit.begun))
    for generation, commits in sorted(evidence.written.items()):
        told = [commit for commit in commits if commit.generation is not None]
        if len(told) > 1:
            text = f"generation {generation} was committed {len(told)} times"
            yield Finding(text, tuple(commit.begun for commit in told))
        if not commits:
            seen = [entry for entry in evidence.of("seen", "stored") if entry.data["generation"] >= generation]
            yield Finding(f"nobody has committed generation {generation}", tuple(seen[:1]))


def generations_never_go_back(evidence: Evidence) -> Iterator[Finding]:
    """Whoever looks at the store sees every commit that was known before he began to."""
    for entry in evidence.of("seen", "stored"):
        known = evidence.known_before(entry.data.get("begun", entry.t))
        if entry.data["generation"] < known:
            text = f"generation {known} was committed before"
            yield Finding(text, (entry,))


def no_stale_reply(evidence: Evidence) -> Iterator[Finding]:
    """A reply knows every generation that was committed before it was asked for, and says what the store held then."""
    for entry in evidence.of("replied", "answer"):
        asked = evidence.ask_of(entry).asked
        known = evidence.known_before(asked.t)
        if entry.kind == "replied":
            if entry.data["generation"] < known:
                text = f"generation {known} was committed before it was asked"
                yield Finding(text, (asked, entry))
            continue
        name: Partition = entry.data["table"], entry.data["partition"]
        held = evidence.held(name, known, evidence.possible_at(entry.t))
        if None not in held and tuple(entry.data["values"]) not in held:
            text = f"since generation {known} the store held {sorted(map(str, held))}"
            yield Finding(text, (asked, entry))


def what_was_committed_stays(evidence: Evidence) -> Iterator[Finding]:
    """What is found in the store, as after a recovery, is what the commits of its generation have written."""
    for entry in evidence.of("stored"):
        generation: int = entry.data["generation"]
        if entry is evidence.start:
            continue
        found: dict[Partition, list[str]] = {name: [] for name in evidence.partitions}
        for table, _, partition, value, _ in entry.data["rows"]:
            if value:
                found.setdefault((table, partition), []).append(value)
        for name, values in found.items():
            held = evidence.held(name, generation, generation)
            if None not in held and tuple(sorted(values)) not in held:
                text = f"{name} held {values} and not {sorted(map(str, held))}"
                yield Finding(text, (entry,))


RULES = (
    one_at_a_time,
    commits_under_the_lock,
    one_chain,
    generations_never_go_back,
    no_stale_reply,
    what_was_committed_stays,
)
