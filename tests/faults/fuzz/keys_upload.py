"""Answers to /keys/upload, and the rotation periods of a room's m.room.encryption."""

from __future__ import annotations

from collections.abc import Iterable

from olmstate.actors._account.actor import PUBLISHED_KEYS
from olmstate.actors._wire.untrusted_json import is_object
from olmstate.messages import (
    JsonObject,
    MalformedMessage,
    MarkKeysPublished,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    RotateRoomKey,
    RotationPeriod,
)
from tests.faults.fuzz.device import ROOM, Device, on_device
from tests.faults.fuzz.target import Target, dump, parse


def _seeds() -> Iterable[bytes]:
    for count in (0, 1, 50, 1000):
        counts = {"signed_curve25519": count, "curve25519": 10}
        yield dump({"one_time_key_counts": counts, "rotation_period_msgs": 100, "rotation_period_ms": 604_800_000})
    yield dump({"one_time_key_counts": {}, "rotation_period_msgs": 1, "rotation_period_ms": 1})
    for wrong in ("5", -1_000_000, True):
        yield dump({"one_time_key_counts": {"signed_curve25519": wrong}})
    yield dump({"one_time_key_counts": [], "rotation_period_msgs": 100.5})
    yield dump({"rotation_period_ms": True})


def _run(data: bytes) -> None:
    answer = parse(data)
    told: JsonObject = answer if is_object(answer) else {}
    rotation = RotationPeriod.from_content(told)

    async def take_in(device: Device) -> None:
        supervisor = device.supervisor
        keys = await supervisor.ask(PrepareOneTimeKeys())
        async with device.refusing(MalformedMessage):
            counts = told.get("one_time_key_counts")
            await supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=counts))
        made = await supervisor.ask(RotateRoomKey(room_id=ROOM, rotation=rotation))
        device.disk.write_from_elsewhere(keys_known=False)  # what was stored must be read again
        assert len((await supervisor.ask(PrepareOneTimeKeys())).one_time_keys) <= PUBLISHED_KEYS
        assert made.session_id == (await supervisor.ask(PrepareRoomKey(room_id=ROOM, rotation=rotation))).session_id

    on_device(take_in)


TARGET = Target(seeds=_seeds, run=_run)
