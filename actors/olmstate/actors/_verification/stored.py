"""How verifications are stored, and what has come of them."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import DeviceId, Ed25519Key, UserId
from olmstate.storage import Table

from .record import Flow


class WaitingEventRecord(QuietStruct, kw_only=True, frozen=True):
    """An event that can't be judged before its sender's devices were queried."""

    type: str
    content: bytes
    """JSON, as it came."""
    sender_device: str | None
    """Of an encrypted event."""
    came: int
    """Milliseconds since 1970."""
    room_id: str | None = None
    """None: to-device."""
    event_id: str | None = None
    """In a room."""
    timestamp: int | None = None
    """In a room: ``origin_server_ts``, milliseconds since 1970."""


class RoomMessageRecord(QuietStruct, kw_only=True, frozen=True):
    """A message that is to be sent to the flow's room, until it is known to be there."""

    transaction_id: str
    type: str
    content: bytes
    """JSON."""


class VerificationRecord(Record, kw_only=True, frozen=True):
    """A flow, and what waits to go into it."""

    table: ClassVar[Table] = Table.VERIFICATIONS

    user_id: UserId
    """The peer's."""
    flow_id: str
    """The flow's id; of our own request in a room, the transaction id of it."""
    flow: Flow | None = None
    """None: its first event waits."""
    waiting: tuple[WaitingEventRecord, ...] = ()
    """In the order in which they came."""
    unsent: tuple[RoomMessageRecord, ...] = ()
    """To go out one after another."""

    @property
    def due_at(self) -> int:
        """When to look again, if nothing else happens; milliseconds since 1970."""
        return self.waiting[0].came + WAITING_LIFETIME if self.flow is None else self.flow.due_at


class VerifiedDeviceRecord(Record, kw_only=True, frozen=True):
    """A fingerprint key that this device's user has verified, whoever has it now."""

    table: ClassVar[Table] = Table.VERIFIED_DEVICES

    user_id: UserId
    device_id: DeviceId
    """Whose key it was."""
    ed25519: Ed25519Key
    verified: int
    """Milliseconds since 1970."""


WAITING_LIFETIME = 10 * 60 * 1000
"""ms; an event whose sender's devices can't be learned by then is passed over."""
