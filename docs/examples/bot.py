"""A part of a bot, as one would test it."""

from __future__ import annotations

import logging

from olmstate.actors import Supervisor
from olmstate.messages import EncryptedRoomEvent, EncryptRoomEvent, RoomId, StoreBusy

logger = logging.getLogger(__name__)


async def say(supervisor: Supervisor, room_id: RoomId, text: str) -> EncryptedRoomEvent:
    """Encrypt a text for a room, however long another process holds the store."""
    content = {"msgtype": "m.text", "body": text}
    while True:
        try:
            return await supervisor.ask(
                EncryptRoomEvent(
                    room_id=room_id, type="m.room.message", content=content
                )
            )
        except StoreBusy as busy:
            logger.warning("%s", busy)
