"""What the outbound group sessions actor stores."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from olmstate.actors._engine.records import Record
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Curve25519Key, DeviceId, MegolmSessionId, UserId
from olmstate.storage import Table


class RotationRecord(QuietStruct, kw_only=True, frozen=True):
    """When a session is due for replacement."""

    messages: int
    milliseconds: int


class OutboundSessionRecord(Record, kw_only=True, frozen=True):
    """A room's outbound session; see `OutboundSession`."""

    table: ClassVar[Table] = Table.OUTBOUND_GROUP_SESSIONS

    pickle: str
    session_id: MegolmSessionId
    made: int
    """Milliseconds since 1970."""
    rotation: RotationRecord
    shared: bool = False
    reserved: int = 0
    epoch: int = 0
    shared_history: bool = False


class RecipientsRecord(Record, kw_only=True, frozen=True):
    """Some recipients of a room key: those of one `Offer`, or of one `MarkShared`."""

    table: ClassVar[Table] = Table.ROOM_KEY_RECIPIENTS

    offered: list[tuple[UserId, DeviceId, Curve25519Key]] = msgspec.field(
        default_factory=list[tuple[UserId, DeviceId, Curve25519Key]]
    )
    session_key: str = ""
    """What was offered to them."""
    withheld: list[tuple[UserId, DeviceId, str]] = msgspec.field(default_factory=list[tuple[UserId, DeviceId, str]])
    """Who was told that they don't get it, and the code that says why."""
    devices: list[tuple[UserId, DeviceId]] = msgspec.field(default_factory=list[tuple[UserId, DeviceId]])
