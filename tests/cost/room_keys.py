"""Room keys by the hundred, as an export has them."""

from __future__ import annotations

from olmstate.messages import JsonObject, RoomId
from tests.operations.device import ROOM
from tests.peer.device import PeerDevice
from tests.peer.room_session import RoomSession

SENDER = PeerDevice()


def exported_keys(number: int, room_id: RoomId = ROOM) -> tuple[JsonObject, ...]:
    """So many, each of a session of its own."""
    return tuple(RoomSession(SENDER, room_id).export() for _ in range(number))
