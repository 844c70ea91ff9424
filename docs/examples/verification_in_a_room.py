"""Verify in a room: what a sync loop does with a room's new events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from olmstate.actors import Supervisor
from olmstate.messages import (
    EncryptForRoom,
    EventId,
    JsonObject,
    MarkVerificationMessageSent,
    ReceiveVerificationEvent,
    RoomId,
    UserId,
    VerificationMessages,
)

Send = Callable[[RoomId, str, str, JsonObject], Awaitable[EventId]]
"""``PUT /rooms/{roomId}/send/{eventType}/{txnId}``; the event's id in its answer."""


async def after_sync(
    supervisor: Supervisor,
    room_id: RoomId,
    events: list[JsonObject],
    members: tuple[UserId, ...],
    send: Send,
) -> None:
    for event in events:
        if "state_key" not in event:
            await supervisor.ask(ReceiveVerificationEvent(room_id=room_id, event=event))
    while messages := await supervisor.ask(VerificationMessages()):
        for message in messages:
            encrypt = EncryptForRoom(
                room_id=message.room_id,
                members=members,
                type=message.type,
                content=message.content,
            )
            content = (await supervisor.ask(encrypt)).content
            transaction_id = message.transaction_id
            event_id = await send(
                message.room_id, "m.room.encrypted", transaction_id, content
            )
            sent = MarkVerificationMessageSent(
                transaction_id=transaction_id, event_id=event_id
            )
            await supervisor.ask(sent)
