"""What a room event may say: any bytes, truly encrypted on a session that is known."""

from __future__ import annotations

from collections.abc import Iterable

from vodozemac import GroupSession

from olmstate.messages import DecryptRoomEvent, MalformedMessage, MismatchedRoom
from tests.faults.fuzz.device import ROOM, Device, lived, on_device
from tests.faults.fuzz.sealed import PICKLE_KEY
from tests.faults.fuzz.target import Target, dump


def _seeds() -> Iterable[bytes]:
    payload = {"type": "m.room.message", "content": {"body": "hello"}, "room_id": ROOM}
    yield dump(payload)
    yield dump({**payload, "content": {"body": "\ud800", "m.relates_to": {"event_id": "$e"}}, "event_id": "$mine"})
    yield from (b"", b"{}", b"\xff", b"[" * 200, b'{"type":1}')


def _run(data: bytes) -> None:
    group = GroupSession.from_pickle(lived().group.pickle(PICKLE_KEY), PICKLE_KEY)
    event = lived().bob.megolm_event(group, data, event_id="$fuzz")

    async def decrypt(device: Device) -> None:
        async with device.refusing(MalformedMessage, MismatchedRoom):
            outcome = await device.supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
            assert outcome.encryption_info.claimed_sender == lived().bob.user_id

    on_device(decrypt)


TARGET = Target(seeds=_seeds, run=_run)
