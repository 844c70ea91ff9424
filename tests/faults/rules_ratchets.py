"""Rules of what is encrypted and decrypted."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vodozemac import InboundGroupSession, MegolmMessage, SessionKey

from tests.faults.evidence import Evidence, Finding
from tests.faults.history import Entry, digest

OUTBOUND = "outbound_group_sessions"


def _sent(evidence: Evidence, protocol: str) -> list[Entry]:
    return [entry for entry in evidence.of("sent") if entry.data["protocol"] == protocol]


def one_step_one_message(evidence: Evidence) -> Iterator[Finding]:
    """A message index of a Megolm session, a counter of an Olm ratchet key: each leaves once."""
    first: dict[tuple[Any, ...], Entry] = {}
    for entry in evidence.of("sent"):
        data = entry.data
        step = (
            (data["session"], data["index"]) if data["protocol"] == "megolm" else (data["ratchet_key"], data["counter"])
        )
        before = first.setdefault(step, entry)
        # a stored request leaves until it is answered, and each time the same message is in it
        if before is not entry and (data["protocol"] == "megolm" or data["hash"] != before.data["hash"]):
            yield Finding(f"{step} left twice", (before, entry))


@dataclasses.dataclass(frozen=True)
class _Told:
    """That a room's outbound session was stored, with the index that whoever loads it goes on from."""

    t: float
    entry: Entry
    room: str
    session: str | None
    """None: it was forgotten."""
    following: int
    sure: bool


def stored_index_is_beyond(evidence: Evidence) -> Iterator[Finding]:
    """A message's index is below the stored next index when it leaves, and at any time from then on."""
    sessions: dict[str, str] = {}
    stored: dict[str, float] = defaultdict(int)
    released: dict[str, Entry] = {}
    sent = [_Told(entry.t, entry, "", entry.data["session"], -1, sure=True) for entry in _sent(evidence, "megolm")]
    for told in sorted([*_told(evidence), *sent], key=lambda told: told.t):
        if told.entry.kind == "sent":
            session, index = told.entry.data["session"], told.entry.data["index"]
            if index >= stored[session]:
                text = f"index {stored[session]} is what would be used next"
                yield Finding(text, (told.entry,))
            if session not in released or released[session].data["index"] < index:
                released[session] = told.entry
            continue
        before = sessions.get(told.room)
        if before is not None and before != told.session and told.sure:
            stored[before] = math.inf  # nobody loads it any more
        if told.session is None:
            continue
        sessions[told.room] = told.session
        stored[told.session] = told.following
        last = released.get(told.session)
        if told.sure and last is not None and told.following <= last.data["index"]:
            text = f"index {told.following} is stored as the next of {told.session}"
            yield Finding(text, (last, told.entry))


def _told(evidence: Evidence) -> Iterator[_Told]:
    for commit in evidence.commits:
        if commit.outcome != "refused":
            sure = commit.known < math.inf
            yield from _rows_told(commit.known if sure else commit.begun.t, commit.begun, commit.rows, sure=sure)
    for entry in evidence.of("stored"):
        yield from _rows_told(entry.t, entry, entry.data["rows"], sure=True)


def _rows_told(t: float, entry: Entry, rows: Iterable[Sequence[Any]], *, sure: bool) -> Iterator[_Told]:
    for table, key, _, session, more in rows:
        if table == OUTBOUND:
            yield _Told(t, entry, key, session, more["next"] if more else 0, sure)


def a_reader_reads_all(evidence: Evidence) -> Iterator[Finding]:
    """An independent reader decrypts every message that left, and finds what was to be said."""
    yield from _megolm_reader(evidence)
    read = {entry.data["hash"]: entry for entry in evidence.of("read")}
    for entry in _sent(evidence, "olm"):
        found = read.get(entry.data["hash"])
        if found is None:
            yield Finding("nobody could decrypt it", (entry,))
        elif entry.data["digest"] not in (None, found.data["digest"]):
            yield Finding("the reader found something else", (entry, found))


def _megolm_reader(evidence: Evidence) -> Iterator[Finding]:
    sessions: dict[str, InboundGroupSession] = {}
    for entry in sorted(evidence.of("room_key"), key=lambda entry: int(entry.data["index"])):
        if entry.data["session"] not in sessions:
            sessions[entry.data["session"]] = InboundGroupSession(SessionKey(entry.data["session_key"]))
    for entry in _sent(evidence, "megolm"):
        session = sessions.get(entry.data["session"])
        if session is None:
            yield Finding("nobody was given the session's key", (entry,))
            continue
        try:
            decrypted = session.decrypt(MegolmMessage.from_base64(entry.data["ciphertext"]))
        except ValueError as error:
            yield Finding(f"it can't be decrypted: {error}", (entry,))
            continue
        content = digest(json.loads(decrypted.plaintext)["content"])
        if (decrypted.message_index, content) != (entry.data["index"], entry.data["digest"]):
            yield Finding("the reader found something else", (entry,))


def a_key_reads_what_follows(evidence: Evidence) -> Iterator[Finding]:
    """Whoever was given a Megolm session's key can read all that is asked to be sent on it from then on."""
    sent: dict[str, list[Entry]] = defaultdict(list)
    for entry in _sent(evidence, "megolm"):
        sent[entry.data["session"]].append(entry)
    for key in evidence.of("room_key"):
        for entry in sent[key.data["session"]]:
            if entry.data["index"] < key.data["index"] and evidence.ask_of(entry).asked.t > key.t:
                text = f"{key.data['reader']} has the key from index {key.data['index']} on"
                yield Finding(text, (key, entry))


def decrypted_once(evidence: Evidence) -> Iterator[Finding]:
    """An Olm message is decrypted once in all; a Megolm index is one event's, in the view of a process."""
    olm: dict[str, Entry] = {}
    megolm: dict[tuple[Any, ...], Entry] = {}
    for entry in evidence.of("decrypted"):
        if entry.data["protocol"] == "olm":
            before = olm.setdefault(entry.data["hash"], entry)
            if before is not entry:
                yield Finding("an Olm message was decrypted twice", (before, entry))
        else:
            index = entry.process, entry.data["session"], entry.data["index"]
            before = megolm.setdefault(index, entry)
            if before.data["event"] != entry.data["event"]:
                yield Finding("two events have one message index", (before, entry))


RULES = (
    one_step_one_message,
    stored_index_is_beyond,
    a_reader_reads_all,
    a_key_reads_what_follows,
    decrypted_once,
)
