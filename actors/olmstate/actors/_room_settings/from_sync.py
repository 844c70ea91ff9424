"""What a sync tells of rooms' encryption (spec: m.room.encryption, m.room.history_visibility).

Pure. What isn't of the right shape tells nothing; nor does an algorithm that we don't know: a room that is encrypted
stays so, whatever is said later.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, count
from typing import Final

import msgspec

from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.steps import Steps
from olmstate.actors._wire.untrusted_json import is_array, object_or_empty
from olmstate.messages import JsonObject, RoomId, RotationPeriod

from .actor import Told

EVENTS_AT_ONCE: Final = 128
SHARED: Final = ("shared", "world_readable")
_PARTS: Final = ("state", "timeline", "org.matrix.msc4222.state_after", "state_after")
"""A client that asks for ``use_state_after`` gets one of the last two in the place of the first."""


def settings_in(sync: JsonObject) -> Steps[dict[RoomId, Told]]:
    """What the rooms that the user is in have said, by their states and timelines."""
    found: dict[RoomId, Told] = {}
    for room_id, _, event in events_of_rooms(sync):
        if event is None:
            yield
        elif event.get("state_key") == "":
            after = _after(found.get(room_id, _NOTHING), event)
            if after != _NOTHING:
                found[room_id] = after
    return found


_NOTHING = Told()


def _after(told: Told, event: JsonObject) -> Told:
    content = object_or_empty(event.get("content"))
    match event.get("type"):
        case "m.room.encryption" if content.get("algorithm") == MEGOLM:
            return msgspec.structs.replace(told, rotation=RotationPeriod.from_content(content))
        case "m.room.history_visibility" if isinstance(content.get("history_visibility"), str):
            return msgspec.structs.replace(told, shared_history=content["history_visibility"] in SHARED)
        case _:
            return told


def events_of_rooms(sync: JsonObject) -> Iterable[tuple[RoomId, JsonObject, JsonObject | None]]:
    """The events of the rooms that the user is in, each with its room; what a room's state is behind them comes last.

    None in the place of an event: it is time for others.
    """
    numbers = count(1)
    for room_id, joined in object_or_empty(object_or_empty(sync.get("rooms")).get("join")).items():
        room = object_or_empty(joined)
        arrays = (object_or_empty(room.get(part)).get("events") for part in _PARTS)
        events = chain.from_iterable(each for each in arrays if is_array(each))
        for event in chain([None], events):  # a room without any takes time, too
            if next(numbers) % EVENTS_AT_ONCE == 0:
                yield RoomId(room_id), room, None
            yield RoomId(room_id), room, object_or_empty(event)
