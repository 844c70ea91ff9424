"""The replay guard: which event used which message index of a Megolm session.

Spec: m.megolm.v1.aes-sha2, Replay attacks.

Per session and sender, blocks of 256 indices, each index with a hash of its event's id. What was decrypted since the
last turn waits and is merged under the lock: if another process was first with an index, its event keeps it.

Event ids are the homeserver's. Of a hash that it can compute, it finds two ids with one value, and shows one message
as both. So the hash is keyed with a key of the store's own.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from collections.abc import Iterable, Sequence

import attrs

from olmstate.actors._engine.records import dumps, loads
from olmstate.messages import EventId
from olmstate.storage import Row, RowReader, Table

from .stored import MessageIndicesRecord

BLOCK = 256
HASH_BYTES = 16
_HASH_LENGTH = 22
"""Of unpadded base64."""
_OLD_HASH_BYTES = 8
_OLD_HASH_LENGTH = 16
"""Of hexadecimal: before, eight bytes without a key were kept. Two ids with one such value were found in minutes."""


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


class EventHashes:
    """What is kept of an event's id, in one store."""

    def __init__(self, store: RowReader) -> None:
        """Hashes with a key of the store's."""
        self._key = store.key(Table.MESSAGE_INDICES, "event ids")

    def of(self, event_id: EventId) -> str:
        """The hash of an event id."""
        digest = hashlib.blake2b(_bytes(event_id), digest_size=HASH_BYTES, key=self._key).digest()
        return b2a_base64(digest)[:_HASH_LENGTH].decode()

    def same(self, stored: str, event_id: EventId) -> bool:
        """Whether what is stored is of this event id."""
        if len(stored) == _OLD_HASH_LENGTH:
            return stored == hashlib.blake2b(_bytes(event_id), digest_size=_OLD_HASH_BYTES).hexdigest()
        return stored == self.of(event_id)


def _bytes(event_id: EventId) -> bytes:
    return event_id.encode("utf-8", "surrogatepass")


def merge(used: UsedIndices, pending: dict[int, str]) -> None:
    """Take in what was decrypted meanwhile; an index that is taken stays with the event that has it."""
    for index, event in pending.items():
        if index not in used.events:
            used.events[index] = event
            used.changed |= {index // BLOCK}
