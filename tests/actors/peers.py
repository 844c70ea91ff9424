"""A peer's room key as it comes to the actor that keeps it."""

from __future__ import annotations

from olmstate.actors._room_keys.actor import NewRoomKey
from olmstate.actors._room_keys.claims import Claim
from olmstate.actors._room_keys.copies import RoomKeyCopy, session_from_room_key
from tests.operations.peer import Room


def new_room_key(room: Room, *, exported: bool = False) -> NewRoomKey:
    """From the present index on; as its maker sends it, or as an export has it."""
    session = session_from_room_key(room.group.session_key.to_base64(), room.session_id)
    claim = Claim(
        sender_key=room.maker.curve25519, ed25519=room.maker.ed25519, sender=None if exported else room.maker.user_id
    )
    copy = RoomKeyCopy(session=session, signed=not exported, exported=(claim,) if exported else ())
    return NewRoomKey(room_id=room.room_id, session_id=room.session_id, copy=copy, claim=None if exported else claim)
