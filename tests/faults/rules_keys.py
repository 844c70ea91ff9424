"""Rules of the device's keys, of what is stored before it leaves, and of the sync token."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from tests.faults.evidence import Evidence, Finding
from tests.faults.history import Entry

ACCOUNT, SYNC, OLM = "account", "sync", "olm_sessions"
INBOUND = "inbound_group_sessions"


def one_session_a_one_time_key(evidence: Evidence) -> Iterator[Finding]:
    """A one-time key makes one session; a fallback key may make more."""
    fallback = {entry.data["key"] for entry in evidence.of("uploaded") if entry.data["fallback"]}
    fallback.update(entry.data["key"] for entry in evidence.of("fallback"))
    first: dict[str, Entry] = {}
    for entry in evidence.of("one_time_key"):
        before = first.setdefault(entry.data["key"], entry)
        if before.data["session"] != entry.data["session"] and entry.data["key"] not in fallback:
            yield Finding("it has made two", (before, entry))


def one_key_a_key_id(evidence: Evidence) -> Iterator[Finding]:
    """A key id stands for one public key, and no key is handed out for upload once it was used up."""
    by_id: dict[str, Entry] = {}
    by_key: dict[str, Entry] = {}
    used = {entry.data["key"]: entry for entry in reversed(evidence.of("one_time_key"))}
    for entry in evidence.of("uploaded"):
        for first, name in ((by_id, entry.data["key_id"]), (by_key, entry.data["key"])):
            before = first.setdefault(name, entry)
            if (before.data["key_id"], before.data["key"]) != (entry.data["key_id"], entry.data["key"]):
                yield Finding("a key id and a public key don't belong together", (before, entry))
        use = used.get(entry.data["key"])
        if use is not None and not entry.data["fallback"] and use.t < evidence.ask_of(entry).asked.t:
            yield Finding("it was used up before", (use, entry))


def a_one_time_key_is_offered_once(evidence: Evidence) -> Iterator[Finding]:
    """Somebody may have claimed it the first time: a homeserver forgets claimed keys, and would give it once more."""
    first: dict[str, Entry] = {}
    for entry in evidence.of("uploaded"):
        before = first.setdefault(entry.data["key"], entry)
        if before is not entry and not entry.data["fallback"]:
            yield Finding("it was handed out before", (before, entry))


def one_identity(evidence: Evidence) -> Iterator[Finding]:
    """The device's identity never changes."""
    entries = evidence.of("identity")
    for entry in entries:
        if any(entry.data[name] != entries[0].data[name] for name in ("curve25519", "ed25519")):
            yield Finding("the device is another one", (entries[0], entry))


# --- durable before it leaves -------------------------------------------------------------------------------


def durable_before_it_leaves(evidence: Evidence) -> Iterator[Finding]:
    """What a reply tells, or an event announces, was committed before."""
    stored = _Stored(evidence)
    for entry in evidence.of("sent", "decrypted", "one_time_key"):
        if entry.data.get("protocol") != "megolm" and not _committed_meanwhile(evidence, entry, OLM):
            yield Finding("no commit has stored the Olm session's step", (entry,))
    for entry, table, value in _told(evidence):
        if not stored.before(table, value, entry.t) and not _read_from_the_store(evidence, entry, value):
            yield Finding(f"{value} is not stored in {table}", (entry,))


def _read_from_the_store(evidence: Evidence, entry: Entry, value: str) -> bool:
    """Whether another process may have heard an event from the store, before the one that has committed it was told."""
    return entry.kind == "announced" and any(
        commit.process != entry.process
        and commit.begun.t < entry.t
        and commit.known < math.inf
        and value in commit.values(INBOUND)
        for commit in evidence.commits
    )


def _told(evidence: Evidence) -> Iterator[tuple[Entry, str, str]]:
    """What was told, and where it must be stored."""
    for entry in evidence.of("uploaded"):
        yield entry, ACCOUNT, entry.data["key"]
    for entry in evidence.of("identity"):
        yield entry, ACCOUNT, "account"
    for entry in evidence.of("room_key"):
        if "ask" in entry.data:
            # to read with: the outbound session may have been replaced in the same turn, and is never used then
            yield entry, INBOUND, entry.data["session"]
    for entry in evidence.of("announced"):
        for session in entry.data["sessions"]:
            yield entry, INBOUND, session


class _Stored:
    """Since when each value is stored for sure."""

    def __init__(self, evidence: Evidence) -> None:
        self._since: dict[tuple[str, str], float] = {}
        for entry in evidence.of("stored"):
            self._add(entry.data["rows"], entry.t)
        for commit in evidence.commits:
            self._add(commit.rows, commit.known)
        self._add(evidence.start.data["rows"], -1)

    def _add(self, rows: Iterable[Iterable[object]], since: float) -> None:
        for table, _, _, value, more in rows:
            values = [value]
            if isinstance(more, dict):
                values.extend(more.get("keys", {}).values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            for name in values:
                self._since[str(table), str(name)] = min(since, self._since.get((str(table), str(name)), math.inf))

    def before(self, table: str, value: str, t: int) -> bool:
        return self._since.get((table, value), math.inf) < t


def _committed_meanwhile(evidence: Evidence, entry: Entry, table: str) -> bool:
    """Whether its own process has committed something in ``table`` while what led to ``entry`` was asked.

    What is in a stored request, ``digest`` is None, may have been stored before, by a process that has died.
    """
    stored = entry.kind == "sent" and entry.data["digest"] is None
    asked = 0 if stored else evidence.ask_of(entry).asked.t
    return any(
        (stored or commit.process == entry.process)
        and asked < commit.known < entry.t
        and any(row[0] == table for row in commit.rows)
        for commit in evidence.commits
    )


# --- sync ---------------------------------------------------------------------------------------------------


def the_token_is_never_ahead(evidence: Evidence) -> Iterator[Finding]:
    """With a token that is stored, or before it, all room keys that its response has brought are stored."""
    batches = {entry.data["token"]: entry for entry in evidence.of("batch")}
    commits = sorted(
        ((generation, commit) for generation, found in evidence.written.items() for commit in found),
        key=lambda found: found[0],
    )
    stored = {row[3] for row in evidence.start.data["rows"] if row[0] == INBOUND}
    for _, commit in commits:
        stored.update(commit.values(INBOUND))
        for token in commit.values(SYNC):
            batch = batches.get(token)
            missing = [] if batch is None else [key for key in batch.data["room_keys"] if key not in stored]
            if batch is not None and missing:
                yield Finding(f"{token} was committed without the room keys {missing}", (batch, commit.begun))


RULES = (
    one_session_a_one_time_key,
    one_key_a_key_id,
    a_one_time_key_is_offered_once,
    one_identity,
    durable_before_it_leaves,
    the_token_is_never_ahead,
)
