"""Room keys and withheld notices that come in to-device events."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from olmstate.actors._account.operations import own_identity
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import AddRoomKeys, AddWithheld, InboundGroupSessionsActor, NewRoomKey
from olmstate.actors._room_keys.claims import Claim, shared
from olmstate.actors._room_keys.copies import RoomKeyCopy, session_from_room_key
from olmstate.actors._room_keys.notices import Notice, outweighs, read_notice
from olmstate.actors._room_keys.points import tell_of_room_keys, tell_of_sessions
from olmstate.actors._to_device.handlers import DecryptedEvent, PlainEvent
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.untrusted_json import string
from olmstate.messages import (
    MalformedMessage,
    MegolmSessionId,
    RejectedRoomKey,
    RoomId,
    RoomKeysWithheld,
)

from .stored import NoticeName, WithheldRecord

ROOM_KEYS_AT_ONCE = 12
"""Checked without giving other tasks a chance: a millisecond."""
STORED_AT_ONCE = 96
"""Taken in by the actor without giving other tasks a chance, with one look at the store: a millisecond."""
NOTICES_AT_ONCE = 24


async def receive_room_keys(turn: Turn, events: Sequence[DecryptedEvent]) -> None:
    """Keep the room keys in ``m.room_key`` events."""
    new: list[NewRoomKey] = []
    async for some in SlicesOf(events, ROOM_KEYS_AT_ONCE):
        new += [room_key for event in some if (room_key := _room_key(event)) is not None]
    received: dict[tuple[RoomId, MegolmSessionId], None] = {}
    known: set[tuple[RoomId, MegolmSessionId]] = set()
    async for room_keys in SlicesOf(new, STORED_AT_ONCE):
        received |= dict.fromkeys(await keep_room_keys(turn, room_keys))
        known.update((each.room_id, each.session_id) for each in room_keys)
    await tell_of_room_keys(turn, received, known - received.keys())


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


async def receive_notices(turn: Turn, events: Sequence[PlainEvent]) -> None:
    """Keep other users' withheld notices. Those of our own user's devices may be answers to what this one has asked."""
    own = await own_identity(turn)
    notices = await notices_of(events)
    await keep_notices(turn, [each for each in notices if own is None or each.sender != own.user_id])


async def notices_of(events: Sequence[PlainEvent]) -> list[Notice]:
    """What ``m.room_key.withheld`` events say."""
    notices: list[Notice] = []
    async for some in SlicesOf(events, NOTICES_AT_ONCE):
        for plain in some:
            with contextlib.suppress(MalformedMessage):
                notices.append(read_notice(plain.event))
    return notices


async def keep_notices(turn: Turn, notices: Sequence[Notice]) -> None:
    """Keep withheld notices, as far as there is room; of somebody's two for a session the better one counts."""
    withheld: dict[NoticeName, WithheldRecord] = {}
    for notice in notices:
        if outweighs(notice.withheld, withheld.get(notice.name)):
            withheld[notice.name] = notice.withheld
    new: list[NoticeName] = []
    async for some in SlicesOf(withheld, NOTICES_AT_ONCE):
        new += await turn[InboundGroupSessionsActor].ask(AddWithheld(notices={name: withheld[name] for name in some}))
        await tell_of_sessions(turn, {(room_id, session_id) for room_id, session_id, _ in some})
    if new:
        turn.events.append(RoomKeysWithheld(room_keys=tuple((*name, withheld[name].code) for name in new)))
