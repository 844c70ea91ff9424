"""``m.room_key.withheld``: whatever stands in one, it says at most why a key isn't there, and outweighs none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from olmstate.actors._wire.untrusted_json import is_object
from olmstate.messages import (
    DecryptRoomEvents,
    DecryptToDevice,
    Json,
    MissingRoomKey,
    ParkEvents,
    RoomKeyWithheld,
)
from tests.faults.fuzz.device import ROOM, Device, lived, on_device
from tests.faults.fuzz.target import Target, dump, parse
from tests.peer.names import JsonObject

SESSION: Final = "a session that never comes"
MOST_CODE: Final = 255
MOST_REASON: Final = 1_000


def _notice(**changes: Json) -> JsonObject:
    content = {"algorithm": "m.megolm.v1.aes-sha2", "room_id": ROOM, "session_id": SESSION, "code": "m.unverified"}
    return {"type": "m.room_key.withheld", "sender": lived().bob.user_id, "content": {**content, **changes}}


def _seeds() -> Iterable[bytes]:
    yield dump(_notice(reason="not yet", sender_key=lived().bob.curve25519))
    yield dump(_notice(session_id=lived().group.session_id))
    yield dump(_notice(code="x" * 256))
    yield dump({**_notice(), "content": {"code": "m.no_olm", "sender_key": lived().bob.curve25519}})
    yield dump({**_notice(), "content": None})


def _run(data: bytes) -> None:
    event = parse(data)
    # as long as a homeserver lets it be what it says, it is one
    notice: Json = {**event, "type": "m.room_key.withheld"} if is_object(event) else event
    missing = {
        **lived().room_event,
        "event_id": "$missing",
        "content": {**lived().room_event["content"], "session_id": SESSION},
    }

    async def receive(device: Device) -> None:
        ask = device.supervisor.ask
        await ask(DecryptToDevice(events=(notice, notice)))
        (error,) = await ask(DecryptRoomEvents(events=((ROOM, missing),)))
        assert isinstance(error, MissingRoomKey | RoomKeyWithheld), error
        if isinstance(error, RoomKeyWithheld):
            assert len(error.code) <= MOST_CODE
            assert len(error.reason or "") <= MOST_REASON
        await ask(ParkEvents(events=((ROOM, missing),)))
        await ask(DecryptToDevice(events=(notice,)))

    on_device(receive)


TARGET = Target(seeds=_seeds, run=_run)
