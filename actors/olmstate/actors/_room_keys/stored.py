"""What the inbound group sessions actor stores."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Curve25519Key, DeviceId, Ed25519Key, RoomId, UserId
from olmstate.storage import Table


class CopyRecord(QuietStruct, kw_only=True, frozen=True):
    """One copy of a room key; see `RoomKeyCopy`."""

    session_key: str
    """As it is exported at its first known index: a quarter of a pickle, and all of it that `RoomKeyCopy` lacks."""
    sender_key: Curve25519Key
    sender_ed25519: Ed25519Key
    sender: UserId | None
    sender_device: DeviceId | None
    imported: bool
    signed: bool
    forwarding_chain: list[str]


class RoomKeyRecord(Record, kw_only=True, frozen=True):
    """A room key: its room, for exports, and its copies."""

    table: ClassVar[Table] = Table.INBOUND_GROUP_SESSIONS

    room_id: RoomId
    copies: list[CopyRecord]


class WithheldRecord(Record, kw_only=True, frozen=True):
    """A withheld notice."""

    table: ClassVar[Table] = Table.WITHHELD_ROOM_KEYS

    code: str


class MessageIndicesRecord(Record, kw_only=True, frozen=True):
    """A block of message indices that were used."""

    table: ClassVar[Table] = Table.MESSAGE_INDICES

    number: int
    """Which block it is."""
    events: dict[int, str]
    """Hashes of event ids by index; see `EventHashes`."""
