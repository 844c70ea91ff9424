"""Who has left, by what a sync tells: then a room's key is replaced before anything more is sent (spec 1.19: Megolm).

A member who left may have had the key though nobody here gave it to them: by an invitation that carried the room's
history, say. So any leave that is seen ends the room's session, whoever is named to have the key. A join doesn't, nor
does a change of name. A timeline that has a gap may have had a join and a leave in it: there, every membership but a
join counts as both.

Pure. What isn't of the right shape tells nothing.
"""

from __future__ import annotations

from typing import Final

from olmstate.actors._room_settings.from_sync import events_of_rooms
from olmstate.actors._wire.steps import Steps
from olmstate.actors._wire.untrusted_json import object_or_empty
from olmstate.messages import JsonObject, RoomId

_WERE_IN: Final = ("join", "invite", None)
"""What somebody was who leaves by a leave; who knocked and was refused was never in. None: the server doesn't say."""


def rooms_with_leaves(sync: JsonObject) -> Steps[tuple[RoomId, ...]]:
    """The rooms in which a sync's response shows that somebody has left, and those that the user has left."""
    rooms = object_or_empty(sync.get("rooms"))
    found: dict[RoomId, None] = {RoomId(room_id): None for room_id in object_or_empty(rooms.get("leave"))}
    for room_id, room, event in events_of_rooms(sync):
        if event is None:
            yield
        elif event.get("type") == "m.room.member":
            limited = object_or_empty(room.get("timeline")).get("limited") is True
            if _is_leave(event, limited=limited):
                found[room_id] = None
    return tuple(found)


def _is_leave(event: JsonObject, *, limited: bool) -> bool:
    membership = object_or_empty(event.get("content")).get("membership")
    if limited and membership in ("invite", "knock"):
        return True
    before = object_or_empty(object_or_empty(event.get("unsigned")).get("prev_content")).get("membership")
    return membership in ("leave", "ban") and (limited or before in _WERE_IN)
