"""A history, sorted out: which commits there were, what the store held after each, who asked what.

Owns: `Evidence`, which the rules look things up in, and `Finding`, which they may find.
Rule: where a process was killed in the midst of a commit, what followed tells whether it was written: somebody saw its
generation, or wrote it anew. Where even that doesn't tell, nothing is claimed.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Literal, TypeAlias

from tests.faults.history import Entry, Kind, in_order

Outcome: TypeAlias = Literal["committed", "refused", "unknown", "elsewhere"]
Partition: TypeAlias = tuple[str, str]
"""Table and partition."""
Held: TypeAlias = tuple[str, ...]
"""The values in a partition, sorted."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a rule has found."""

    text: str
    entries: tuple[Entry, ...]


@dataclasses.dataclass(frozen=True)
class Violation:
    """A rule that was broken, and by what."""

    rule: str
    text: str
    entries: tuple[Entry, ...] = ()

    def __str__(self) -> str:
        return "\n".join((f"{self.rule}: {self.text}", *(f"    {entry}" for entry in self.entries)))


@dataclasses.dataclass(eq=False)
class Commit:
    """A commit that was tried."""

    process: str
    begun: Entry
    ended: Entry | None
    """None: the process was killed before it could tell."""
    outcome: Outcome
    seen: int
    generation: int | None
    """None: it has none, or it isn't known."""
    rows: Sequence[Sequence[Any]]
    known: float = math.inf
    """Since when it is known to be written: its own process was told so, or somebody has seen its generation."""

    def values(self, table: str) -> list[str]:
        """What it wrote to a table."""
        return [row[3] for row in self.rows if row[0] == table and row[3] is not None]


@dataclasses.dataclass(eq=False)
class Ask:
    """Something that was asked."""

    asked: Entry
    outcome: Entry | None = None
    """None: there was none before the process was killed, or the history ends."""


class Evidence:
    """See the module."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Sort out a history."""
        self.entries = in_order(entries)
        self._by_kind: dict[Kind, list[Entry]] = defaultdict(list)
        self.by_process: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            self._by_kind[entry.kind].append(entry)
            self.by_process[entry.process].append(entry)
        self.asks: dict[tuple[str, int], Ask] = {}
        for entry in self.entries:
            if entry.kind == "asked":
                self.asks[entry.process, entry.data["ask"]] = Ask(entry)
            elif entry.kind in ("replied", "failed", "cancelled"):
                self.asks[entry.process, entry.data["ask"]].outcome = entry
        self.commits = [commit for process in self.by_process.values() for commit in _commits(process)]
        self.commits.sort(key=lambda commit: commit.begun.t)
        self.start = self._start()
        self._oldest: int = self.start.data["generation"]
        self.written = self._written()
        """Commits by generation: one each, unless the history contradicts itself, or leaves several possible."""
        self._find_out_what_was_refused()
        self._find_out_since_when()
        self._known = _newest_by_time((commit.known, commit.generation or 0) for commit in self.commits)
        self._possible = _newest_by_time(
            (commit.begun.t, commit.seen + 1) for commit in self.commits if commit.outcome != "refused"
        )
        self._held = self._timelines()

    def of(self, *kinds: Kind) -> list[Entry]:
        """All entries of these kinds."""
        if len(kinds) == 1:
            return self._by_kind[kinds[0]]
        return in_order(entry for kind in kinds for entry in self._by_kind[kind])

    def ask_of(self, entry: Entry) -> Ask:
        """What led to an entry."""
        return self.asks[entry.process, entry.data["ask"]]

    # --- generations ----------------------------------------------------------------------------------------

    def _start(self) -> Entry:
        """What the store held at first; nothing, if nobody says."""
        first = min((commit.seen for commit in self.commits), default=math.inf)
        for entry in self.of("stored"):
            if entry.data["generation"] <= first:
                return entry
        return Entry(
            0, "", "stored", {"generation": 0 if first == math.inf else first, "rows": [], "known": first == 0}
        )

    @property
    def top(self) -> int:
        """The newest generation that anybody has told of."""
        told = [entry.data["generation"] for entry in self.of("seen", "stored", "committed", "elsewhere")]
        return max(told, default=0)

    def _written(self) -> dict[int, list[Commit]]:
        written: dict[int, list[Commit]] = defaultdict(list)
        for commit in self.commits:
            if commit.generation is not None:
                written[commit.generation].append(commit)
        for generation in range(self._oldest + 1, self.top + 1):
            if generation not in written:
                unknown = [commit for commit in self.commits if commit.outcome == "unknown"]
                written[generation] = [
                    commit for commit in unknown if commit.seen + 1 == generation and not self._came_to_nothing(commit)
                ]
        return written

    def _came_to_nothing(self, commit: Commit) -> bool:
        """Whether its process was killed at it, and whoever had the lock next has seen that nothing was written."""
        if commit.ended is not None:
            return False
        locked = next((entry for entry in self.of("locked") if entry.t > commit.begun.t), None)
        return locked is not None and any(
            entry.data["generation"] == commit.seen
            for entry in self.by_process[locked.process]
            if entry.kind == "seen" and entry.data.get("begun", entry.t) > locked.t
        )

    def _find_out_what_was_refused(self) -> None:
        """Nobody was told of it, but its generation is another's: so the fence has turned it back."""
        for commit in self.commits:
            if commit.outcome == "unknown" and commit not in self.written.get(commit.seen + 1, [commit]):
                commit.outcome = "refused"

    def _find_out_since_when(self) -> None:
        newest = self._oldest
        for entry in self.of("seen", "stored", "committed", "elsewhere"):
            for generation in range(newest + 1, entry.data["generation"] + 1):
                for commit in self.written[generation]:
                    if len(self.written[generation]) == 1:
                        commit.generation, commit.known = generation, entry.t
            newest = max(newest, entry.data["generation"])

    def known_before(self, t: int) -> int:
        """The newest generation that was known to be committed before ``t``."""
        return max(_newest(self._known, bisect.bisect_left(self._known, (t, -1))), self._oldest)

    def possible_at(self, t: int) -> int:
        """The newest generation that the store can have had at ``t``."""
        at = bisect.bisect_right(self._possible, (t, math.inf))
        return max(_newest(self._possible, at), self._oldest)

    # --- what the store held --------------------------------------------------------------------------------

    def _timelines(self) -> dict[Partition, list[tuple[int, Held | None]]]:
        """By partition, from which generation on it held what; None where that isn't known."""
        rows: dict[Partition, dict[str, str]] = defaultdict(dict)
        timelines: dict[Partition, list[tuple[int, Held | None]]] = defaultdict(list)
        start = self._oldest
        for table, key, partition, value, _ in self.start.data["rows"]:
            rows[table, partition][key] = value
        for name, held in rows.items():
            timelines[name] = [(start, _held(held))]
        for generation in sorted(self.written):
            commits = self.written[generation]
            for commit in commits:
                for name in dict.fromkeys((row[0], row[2]) for row in commit.rows):
                    if name not in timelines:
                        timelines[name] = [(start, _held({}) if self.start.data.get("known", True) else None)]
                    changed = {row[1]: row[3] for row in commit.rows if (row[0], row[2]) == name}
                    rows[name].update(changed)
                    whole = timelines[name][-1][1] is not None or list(changed) == [name[1]]
                    certain = len(commits) == 1 and whole
                    timelines[name].append((generation, _held(rows[name]) if certain else None))
        return timelines

    def held(self, name: Partition, low: int, high: int) -> set[Held | None]:
        """All that a partition held at some time from one generation to another; None among it if that isn't known."""
        timeline = self._held.get(name)
        if timeline is None:
            return {() if self.start.data.get("known", True) else None}
        first = max(bisect.bisect_right(timeline, low, key=lambda point: point[0]) - 1, 0)
        return {held for generation, held in timeline[first:] if generation <= max(high, low)}

    @property
    def partitions(self) -> Iterable[Partition]:
        """All that anything was ever written to."""
        return self._held


def _newest_by_time(told: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    """Each time with the newest generation up to then."""
    told = sorted(told)
    return list(zip((t for t, _ in told), accumulate((generation for _, generation in told), max), strict=True))


def _newest(told: Sequence[tuple[float, int]], before: int) -> int:
    return told[before - 1][1] if before else 0


def _held(rows: dict[str, Any]) -> Held:
    return tuple(sorted(value for value in rows.values() if value))


def _commits(entries: Sequence[Entry]) -> Iterable[Commit]:
    """The commits of one process."""
    begun: Entry | None = None
    for entry in entries:
        match entry.kind:
            case "committing":
                if begun is not None:
                    yield _commit(begun, None)
                begun = entry
            case "committed" | "refused" | "unknown" if begun is not None:
                yield _commit(begun, entry)
                begun = None
            case "elsewhere":
                generation = entry.data["generation"]
                yield Commit(entry.process, entry, entry, "elsewhere", generation - 1, generation, entry.data["rows"])
            case _:
                pass
    if begun is not None:
        yield _commit(begun, None)


def _commit(begun: Entry, ended: Entry | None) -> Commit:
    outcome: Outcome = "unknown"
    generation: int | None = None
    if ended is not None and ended.kind == "refused":
        outcome = "refused"
    elif ended is not None and ended.kind == "committed":
        outcome, generation = "committed", ended.data["generation"]
    return Commit(begun.process, begun, ended, outcome, begun.data["seen"], generation, begun.data["rows"])
