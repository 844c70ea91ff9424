"""Room events of any shape, alone and among good ones."""

from __future__ import annotations

from collections.abc import Iterable

from olmstate.actors._wire.untrusted_json import is_object
from olmstate.messages import (
    DecryptedRoomEvent,
    DecryptRoomEvent,
    DecryptRoomEvents,
    Json,
    MalformedMessage,
    MismatchedRoom,
    MismatchedSender,
    MissingRoomKey,
    ReplayedMessage,
    RoomId,
    RoomKeyWithheld,
    UnknownMessageIndex,
)
from tests.faults.fuzz.device import RECEIVED, ROOM, Device, lived, on_device, recording
from tests.faults.fuzz.target import Target, dump, parse
from tests.recordings.recording import room_events

DOCUMENTED = (
    *(MissingRoomKey, RoomKeyWithheld, UnknownMessageIndex, ReplayedMessage),
    *(MismatchedRoom, MismatchedSender, MalformedMessage),
)
LARGEST = 4000


def _seeds() -> Iterable[bytes]:
    for sync in recording().syncs[: RECEIVED + 2]:
        for arrived in room_events(sync)[-6:]:
            seed = dump({"room_id": arrived.room_id, "event": arrived.event})
            if len(seed) <= LARGEST:
                yield seed


def _run(data: bytes) -> None:
    given = parse(data)
    room_id, event = ROOM, given
    if is_object(given) and isinstance(given.get("room_id"), str):
        room_id, event = RoomId(given["room_id"]), given.get("event")

    async def decrypt(device: Device) -> None:
        await _decrypt(device, room_id, event)

    on_device(decrypt)


async def _decrypt(device: Device, room_id: RoomId, event: Json) -> None:
    alone: list[DecryptedRoomEvent] = []
    async with device.refusing(*DOCUMENTED):
        alone.append(await device.supervisor.ask(DecryptRoomEvent(room_id=room_id, event=event)))
    good = (ROOM, lived().room_event)
    outcomes = await device.supervisor.ask(DecryptRoomEvents(events=(good, (room_id, event), good)))
    first, second, third = outcomes
    assert isinstance(first, DecryptedRoomEvent)
    assert isinstance(third, DecryptedRoomEvent)
    assert alone == [second] or (not alone and isinstance(second, DOCUMENTED)), (alone, second)


TARGET = Target(seeds=_seeds, run=_run)
