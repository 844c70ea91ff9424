"""The replay guard: which event used which message index of a Megolm session.

Spec: m.megolm.v1.aes-sha2, Replay attacks.

Per session and sender, blocks of 256 indices, each index with a hash of its event's id. What was decrypted since the
last turn waits and is merged under the lock: if another process was first with an index, its event keeps it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import attrs

from olmstate.actors._engine.records import dumps, loads
from olmstate.messages import EventId
from olmstate.storage import Row, RowReader, Table

from .stored import MessageIndicesRecord

BLOCK = 256
HASH_BYTES = 8


@attrs.define
class UsedIndices:
    """Event hashes by message index, of one session and sender, as stored or about to be."""

    events: dict[int, str] = attrs.field(factory=dict[int, str])
    changed: frozenset[int] = frozenset()
    """Blocks that differ from what is stored: none of nearly all sessions, for which a set each would be large."""


class UsedIndicesCodec:
    """One row a block."""

    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> UsedIndices:  # noqa: ARG002 - rows know it
        used = UsedIndices()
        for row in rows:
            used.events.update(loads(row, MessageIndicesRecord).events)
        return used

    def encode(self, partition: bytes, entry: UsedIndices) -> Iterable[Row]:
        for number in entry.changed:
            events = {index: event for index, event in entry.events.items() if index // BLOCK == number}
            key = self._store.key(Table.MESSAGE_INDICES, partition.hex(), str(number))
            yield Row(key, partition, dumps(MessageIndicesRecord(number=number, events=events)))
        entry.changed = frozenset()


def event_hash(event_id: EventId) -> str:
    """What is kept of an event id."""
    return hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).hexdigest()


def merge(used: UsedIndices, pending: dict[int, str]) -> None:
    """Take in what was decrypted meanwhile; an index that is taken stays with the event that has it."""
    for index, event in pending.items():
        if index not in used.events:
            used.events[index] = event
            used.changed |= {index // BLOCK}
