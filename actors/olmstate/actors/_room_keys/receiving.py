"""Room keys and withheld notices that come in to-device events."""

from __future__ import annotations

from collections.abc import Sequence

from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import AddRoomKeys, AddWithheld, InboundGroupSessionsActor, NewRoomKey
from olmstate.actors._room_keys.claims import Claim, shared
from olmstate.actors._room_keys.copies import RoomKeyCopy, session_from_room_key
from olmstate.actors._room_keys.points import tell_of_room_keys, tell_of_sessions
from olmstate.actors._to_device.handlers import DecryptedEvent, PlainEvent
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.untrusted_json import json_object, string
from olmstate.messages import (
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    RejectedRoomKey,
    RoomId,
    RoomKeysWithheld,
    UserId,
)

ROOM_KEYS_AT_ONCE = 12
"""Checked without giving other tasks a chance: a millisecond."""
NOTICES_AT_ONCE = 24


async def receive_room_keys(turn: Turn, events: Sequence[DecryptedEvent]) -> None:
    """Keep the room keys in ``m.room_key`` events."""
    received: dict[tuple[RoomId, MegolmSessionId], None] = {}
    async for some in SlicesOf(events, ROOM_KEYS_AT_ONCE):
        new = [room_key for event in some if (room_key := _room_key(event)) is not None]
        received |= dict.fromkeys(await keep_room_keys(turn, new))
    await tell_of_room_keys(turn, received)


async def keep_room_keys(turn: Turn, room_keys: Sequence[NewRoomKey]) -> Sequence[tuple[RoomId, MegolmSessionId]]:
    """Store room keys. The sessions of those that are new, or better than what was there."""
    if not room_keys:
        return ()
    changes = await turn[InboundGroupSessionsActor].ask(AddRoomKeys(room_keys=tuple(room_keys)))
    kept = zip(room_keys, changes, strict=True)
    return [(room_key.room_id, room_key.session_id) for room_key, change in kept if change != "known"]


def _room_key(event: DecryptedEvent) -> NewRoomKey | None:
    """The room key in an ``m.room_key``, or None: it was decrypted, but is no key."""
    payload, content = event.payload, event.payload.content
    try:
        if content.get("algorithm") != MEGOLM:
            return None
        session_id = MegolmSessionId(string(content, "session_id"))
        return NewRoomKey(
            room_id=RoomId(string(content, "room_id")),
            session_id=session_id,
            copy=RoomKeyCopy(session=session_from_room_key(string(content, "session_key"), session_id), signed=True),
            claim=shared(Claim(sender_key=event.olm.sender_key, ed25519=payload.ed25519, sender=payload.sender)),
        )
    except (MalformedMessage, RejectedRoomKey):
        return None


async def receive_withheld(turn: Turn, events: Sequence[PlainEvent]) -> None:
    """Keep withheld notices; of somebody's two for a session the first counts."""
    codes: dict[tuple[RoomId, MegolmSessionId, UserId], str] = {}
    async for some in SlicesOf(events, NOTICES_AT_ONCE):
        for plain in some:
            try:
                session, code = _withheld(plain.event)
            except MalformedMessage:
                continue
            codes.setdefault(session, code)
    new: list[tuple[RoomId, MegolmSessionId, UserId]] = []
    async for notices in SlicesOf(codes.items(), NOTICES_AT_ONCE):
        new += await turn[InboundGroupSessionsActor].ask(AddWithheld(codes=dict(notices)))
        await tell_of_sessions(turn, {(room_id, session_id) for (room_id, session_id, _), _ in notices})
    if new:
        turn.events.append(RoomKeysWithheld(room_keys=tuple((*ids, codes[ids]) for ids in new)))


def _withheld(event: JsonObject) -> tuple[tuple[RoomId, MegolmSessionId, UserId], str]:
    """Which session it is of, and why (spec: m.room_key.withheld); one without a session says nothing of any."""
    content = json_object(event, "content")
    room_id, session_id = RoomId(string(content, "room_id")), MegolmSessionId(string(content, "session_id"))
    return (room_id, session_id, UserId(string(event, "sender"))), string(content, "code")
