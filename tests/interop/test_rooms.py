"""Rooms of olmstate, matrix-nio and matrix-rust-sdk devices on Synapse: every message is read by everyone."""

from __future__ import annotations

from tests.interop.people import People, all_say, meet, sync_all, what_they_read


async def test_three_kinds_of_device_read_each_other(people: People) -> None:
    devices = await people.one_of_each()
    room = await meet(devices)
    said = await all_say(devices, room)
    await sync_all(devices)
    assert [said] * 3 == what_they_read(devices, said)
