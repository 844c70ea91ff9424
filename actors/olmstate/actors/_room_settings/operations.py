"""Taking in what rooms say of their encryption, from the program or from a sync."""

from __future__ import annotations

from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.messages import RoomId, SetRoomSettings, UnsupportedAlgorithm

from .actor import PutSettings, RoomSettingsActor, Told

ROOMS_AT_ONCE = 24
"""Looked up without giving other tasks a chance."""


async def set_room_settings(turn: Turn, command: SetRoomSettings) -> None:
    """Store what the program says of a room."""
    settings = command.settings
    if settings.algorithm != MEGOLM:
        raise UnsupportedAlgorithm(room_id=command.room_id, algorithm=settings.algorithm)
    told = Told(rotation=settings.rotation, shared_history=settings.shared_history)
    await turn[RoomSettingsActor].ask(PutSettings(rooms={command.room_id: told}))


async def receive_settings(turn: Turn, rooms: dict[RoomId, Told]) -> None:
    """Store what a sync says of rooms."""
    async for some in SlicesOf(rooms.items(), ROOMS_AT_ONCE):
        await turn[RoomSettingsActor].ask(PutSettings(rooms=dict(some)))
