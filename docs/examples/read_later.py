"""Decrypt events once their room keys come."""

from __future__ import annotations

from collections.abc import Callable

from olmstate.actors import Supervisor
from olmstate.messages import (
    DecryptedRoomEvent,
    DecryptRoomEvents,
    JsonObject,
    RoomId,
    RoomKeysReceived,
)


async def read_later(
    supervisor: Supervisor,
    unread: list[tuple[RoomId, JsonObject]],
    show: Callable[[DecryptedRoomEvent], None],
) -> None:
    """Show each of ``unread`` once its key is there, whoever has received it."""
    with supervisor.subscribe(RoomKeysReceived) as events:
        while unread:
            results = await supervisor.ask(DecryptRoomEvents(events=tuple(unread)))
            for event, result in zip(tuple(unread), results, strict=True):
                if isinstance(result, DecryptedRoomEvent):
                    unread.remove(event)
                    show(result)
            if unread:
                await events.receive()
