"""The replay guard: which event used which message index of a Megolm session.

Spec: m.megolm.v1.aes-sha2, Replay attacks.

Per session and sender, blocks of 256 indices, each index with a hash of its event's id. A block is loaded by itself: a
session may have a hundred thousand messages. What was decrypted since the last turn waits and is merged under the lock:
if another process was first with an index, its event keeps it.

Event ids are the homeserver's. Of a hash that it can compute, it finds two ids with one value, and shows one message
as both. So the hash is keyed with a key of the store's own.
"""

from __future__ import annotations

import hashlib
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial

import attrs
from vodozemac import MegolmMessage

from olmstate.actors._engine.records import dumps, loads
from olmstate.messages import EventId
from olmstate.storage import Row, RowReader, Table

from .stored import MessageIndicesRecord

BLOCK = 256
NAMES_REMEMBERED = 1024
"""The same as of keys in a store, which names are made of."""
_INDEX_FIRST = b"\x03\x08"
"""Version, and the tag of the index."""
HASH_BYTES = 16
_HASH_LENGTH = 22
"""Of unpadded base64."""
_OLD_HASH_BYTES = 8
_OLD_HASH_LENGTH = 16
"""Of hexadecimal: before, eight bytes without a key were kept. Two ids with one such value were found in minutes."""


@attrs.define
class UsedIndices:
    """Event hashes by message index, of one block of a session's and a sender's, as stored or about to be."""

    events: dict[int, str] = attrs.field(factory=dict[int, str])
    changed: bool = False
    """Differs from what is stored."""


class UsedIndicesCodec:
    """One row a block."""

    def decode(self, partition: bytes, rows: Sequence[Row]) -> UsedIndices:  # noqa: ARG002 - the row knows it
        return UsedIndices(events=loads(rows[0], MessageIndicesRecord).events) if rows else UsedIndices()

    def encode(self, partition: bytes, entry: UsedIndices) -> Iterable[Row]:
        if entry.changed:
            entry.changed = False
            record = MessageIndicesRecord(number=block_of(next(iter(entry.events))), events=entry.events)
            guard, key = partition[: len(partition) // 2], partition[len(partition) // 2 :]
            yield Row(key, guard, dumps(record))


class BlockNames:
    """Under which names blocks are kept: what guards the indices, and which block it is; see `unit_of`."""

    def __init__(self, store: RowReader) -> None:
        """Names in one store."""
        self._key: Callable[..., bytes] = partial(store.key, Table.MESSAGE_INDICES)
        # each event asks for the same name several times, and the next one on its session for it again
        self.of = lru_cache(NAMES_REMEMBERED)(self._name)
        """The name of a block: its number, and whose it is."""

    def _name(self, block: int, *whose: str) -> bytes:
        guard = self._key(*whose)
        return guard + self._key(guard.hex(), str(block))


def block_of(index: int) -> int:
    """The number of the block that a message index is in."""
    return index // BLOCK


def index_of(ciphertext: str) -> int | None:
    """The message index that a Megolm message names; None if it is none.

    All clients write it first (spec: the Megolm specification, Message format), so that the rest needn't be looked at.
    One who writes it twice is taken by the first.
    """
    try:
        head = a2b_base64(ciphertext[:12])
    except ValueError:
        head = b""
    if head[:2] == _INDEX_FIRST:
        index = 0
        for place, octet in enumerate(head[2:7]):
            index |= (octet & 0x7F) << 7 * place
            if octet < 0x80:  # noqa: PLR2004 - the last one
                return index
    try:
        return MegolmMessage.from_base64(ciphertext).message_index()
    except ValueError:
        return None


def steps_between(last: int, index: int) -> int:
    """How many steps a Megolm ratchet goes from one message index to another, at most; from 0, where that is earlier.

    It has four parts, a byte of the index each, and is turned as an odometer is (spec: the Megolm specification).
    """
    if index < last:
        last = 0
    for shift in (24, 16, 8):
        turned = (index >> shift) - (last >> shift)
        if turned:
            return turned + sum((index & ((1 << shift) - 1)).to_bytes(3, "big"))
    return index - last


class EventHashes:
    """What is kept of an event's id, in one store."""

    def __init__(self, store: RowReader) -> None:
        """Hashes with a key of the store's."""
        key = store.key(Table.MESSAGE_INDICES, "event ids")
        self._keyed = hashlib.blake2b(digest_size=HASH_BYTES, key=key)

    def of(self, event_id: EventId, sender: str | None = None) -> str:
        """The hash of an event id; with its sender, where indices aren't kept apart by that."""
        digest = self._keyed.copy()  # quicker than to begin with the key
        digest.update(_bytes(event_id))
        if sender is not None:
            digest.update(b"\0sender\0" + hashlib.blake2b(_bytes(sender)).digest())
        return b2a_base64(digest.digest())[:_HASH_LENGTH].decode()

    def same(self, stored: str, event_id: EventId, sender: str | None = None) -> bool:
        """Whether what is stored is of this event."""
        if len(stored) == _OLD_HASH_LENGTH:
            return stored == hashlib.blake2b(_bytes(event_id), digest_size=_OLD_HASH_BYTES).hexdigest()
        return stored == self.of(event_id, sender)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def merge(used: UsedIndices, pending: dict[int, str]) -> None:
    """Take in what was decrypted meanwhile; an index that is taken stays with the event that has it."""
    for index, event in pending.items():
        if index not in used.events:
            used.events[index] = event
            used.changed = True
