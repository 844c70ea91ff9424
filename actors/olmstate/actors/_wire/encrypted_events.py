"""Which events of a sync's response are for `DecryptRoomEvents`.

Pure. What isn't of the right shape is passed over.
"""

from __future__ import annotations

from olmstate.messages import JsonObject, RoomId

from .algorithms import ENCRYPTED
from .untrusted_json import is_array, is_object, object_or_empty


def encrypted_events(sync: JsonObject) -> tuple[tuple[RoomId, JsonObject], ...]:
    """The encrypted events of the joined rooms' timelines in a /sync response, each with its room, in their order.

    What was redacted has nothing in it any more, and isn't among them.

    Args:
        sync: Parsed.

    Raises:
        TypeError: It isn't.
    """
    if not is_object(sync):
        raise TypeError(f"sync must be a parsed JSON object, not {type(sync).__name__}")
    return tuple(
        (RoomId(room_id), event)
        for room_id, room in object_or_empty(object_or_empty(sync.get("rooms")).get("join")).items()
        if is_array(events := object_or_empty(object_or_empty(room).get("timeline")).get("events"))
        for event in events
        if is_object(event) and event.get("type") == ENCRYPTED and object_or_empty(event.get("content"))
    )
