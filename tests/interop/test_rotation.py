"""Each reason for which olmstate replaces a room's key: both keys are read by matrix-nio and the OlmMachine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import pytest

from olmstate.messages import DeviceTrust, RoomId, SetDeviceTrust
from tests.interop.device import Device
from tests.interop.olmstate_device import OlmstateDevice
from tests.interop.people import People, all_say, meet, sync_all, what_they_read
from tests.interop.test_rooms import sessions_of
from tests.peer.session import API

WEEK = 604_800_000


class Room:
    """A sender, three readers of three kinds, and a device that has the first key."""

    def __init__(self, sender: OlmstateDevice, readers: list[Device], other: Device) -> None:
        self.sender = sender
        self.readers = readers
        self.other = other
        """Of an OlmMachine; its user has no other device."""
        self.room_id = RoomId("")

    async def put_state(self, event_type: str, content: dict[str, object]) -> None:
        path = f"{API}/rooms/{quote(self.room_id)}/state/{event_type}/"
        await self.sender.session.request("PUT", path, content)


async def a_member_leaves(room: Room) -> None:
    await room.other.session.leave(room.room_id)


async def a_member_is_thrown_out(room: Room) -> None:
    await room.sender.session.kick(room.room_id, room.other.session.user_id)


async def a_device_logs_out(room: Room) -> None:
    await room.other.session.request("POST", f"{API}/logout", {})


async def a_device_is_blocked(room: Room) -> None:
    user_id, device_id = room.other.session.user_id, room.other.session.device_id
    await room.sender.device.ask(SetDeviceTrust(user_id=user_id, device_id=device_id, trust=DeviceTrust.BLOCKED))


async def the_settings_change(room: Room) -> None:
    await room.put_state("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 50})


async def history_is_shared_no_more(room: Room) -> None:
    await room.put_state("m.room.history_visibility", {"history_visibility": "joined"})


async def its_time_is_up(room: Room) -> None:
    room.sender.later += WEEK


async def nothing(room: Room) -> None:
    await room.put_state("m.room.name", {"name": "another"})


GONE = (a_member_leaves, a_member_is_thrown_out, a_device_logs_out, a_device_is_blocked)
REASONS = (*GONE, the_settings_change, history_is_shared_no_more, its_time_is_up, nothing)


@pytest.mark.parametrize("happens", REASONS)
async def test_what_is_sent_before_and_after_a_new_key_is_read(
    happens: Callable[[Room], Awaitable[None]], people: People
) -> None:
    sender = await people.olmstate()
    readers: list[Device] = [await people.rust(), await people.nio(), await people.olmstate()]
    room = Room(sender, readers, await people.rust())
    everybody = [sender, *readers, room.other]
    room.room_id = room_id = await meet(everybody)
    before = await all_say([sender], room_id, "before")
    await sync_all(everybody)
    assert [before] * 5 == what_they_read(everybody, before)

    await happens(room)
    there = [sender, *readers] if happens is a_device_logs_out else everybody
    await sync_all(there)
    after = await all_say([sender], room_id, "after")
    await sync_all(there)

    said = before | after
    assert [said] * 3 == what_they_read(readers, said)
    assert (1 if happens is nothing else 2) == len(sessions_of(sender, to=readers[0]))
    if happens in GONE:
        assert [before] == what_they_read([room.other], said)


async def test_a_session_is_used_for_as_many_messages_as_its_room_says(people: People) -> None:
    sender, reader = await people.olmstate(), await people.nio()
    room_id = await meet([sender, reader], encryption={"rotation_period_msgs": 3})
    said = {event_id: body for _ in range(7) for event_id, body in (await all_say([sender], room_id)).items()}
    await sync_all([sender, reader])
    assert [said] == what_they_read([reader], said)
    assert 3 == len(sessions_of(sender, to=reader))
