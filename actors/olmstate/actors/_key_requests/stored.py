"""What the key requests actor stores."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec

from olmstate.actors._engine.records import Record
from olmstate.messages import DeviceId, MegolmSessionId, RoomId, UserId
from olmstate.storage import Table


class KeyRequestRecord(Record, kw_only=True, frozen=True):
    """A room key that this device has asked for."""

    table: ClassVar[Table] = Table.KEY_REQUESTS

    request_id: str
    room_id: RoomId
    session_id: MegolmSessionId
    made: int
    """Milliseconds since 1970."""
    number: int
    """Of the request in its store: the oldest go first."""
    devices: list[DeviceId]
    refused: dict[DeviceId, str] = msgspec.field(default_factory=dict[DeviceId, str])
    sender: UserId | None = None
    """Whose events are to be read. None: of several users, or nobody has said."""
    message_index: int = 0
    """The first one that is to be read."""
    answered: bool = False
    """A device has forwarded what seems to be it."""


class WaitingRecord(Record, kw_only=True, frozen=True):
    """Something that another device has asked for, and that waits for an Olm session with it: base of each kind."""

    device_id: DeviceId
    request_id: str


WaitingName: TypeAlias = tuple[DeviceId, str]
"""The device that asks, and the id of its request."""


def name_of(record: WaitingRecord) -> WaitingName:
    """Which request it is."""
    return record.device_id, record.request_id


class WaitingForwardRecord(WaitingRecord, kw_only=True, frozen=True):
    """A room key."""

    table: ClassVar[Table] = Table.WAITING_FORWARDS

    room_id: RoomId
    session_id: MegolmSessionId
