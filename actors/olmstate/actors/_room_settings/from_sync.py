"""What a sync tells of rooms' encryption (spec: m.room.encryption, m.room.history_visibility).

Pure. What isn't of the right shape tells nothing; nor does an algorithm that we don't know: a room that is encrypted
stays so, whatever is said later.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    number = 0
    for room_id, room in object_or_empty(object_or_empty(sync.get("rooms")).get("join")).items():
        number += 1
        if number % EVENTS_AT_ONCE == 0:
            yield
        for event in events_of(object_or_empty(room)):
            number += 1
            if number % EVENTS_AT_ONCE == 0:
                yield
            if event.get("state_key") != "":
                continue
            before = found.get(RoomId(room_id), _NOTHING)
            after = _after(before, event)
            if after != _NOTHING:
                found[RoomId(room_id)] = after
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


def events_of(room: JsonObject) -> Iterable[JsonObject]:
    """A room's events in a sync's response; what its state is behind them comes last."""
    for part in _PARTS:
        events = object_or_empty(room.get(part)).get("events")
        if is_array(events):
            yield from map(object_or_empty, events)
