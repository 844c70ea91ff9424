"""Verify in a room: what a sync loop does with a room's new events."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from olmstate.actors import Supervisor
from olmstate.messages import (
    DecryptionError,
    EncryptForRoom,
    EventId,
    JsonObject,
    MalformedMessage,
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
            received = ReceiveVerificationEvent(room_id=room_id, event=event)
            # it can't be decrypted, was redacted, or makes no sense
            with contextlib.suppress(DecryptionError, MalformedMessage):
                await supervisor.ask(received)
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
