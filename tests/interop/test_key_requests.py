"""Room keys that a user's devices ask each other for, through Synapse: olmstate's and an OlmMachine's."""

from __future__ import annotations

import trio

from olmstate.messages import (
    DecryptRoomEvent,
    DeviceId,
    DeviceTrust,
    EventsReadable,
    ParkEvents,
    RequestRoomKeys,
    RoomKeyRequestRefused,
    RoomKeyRequests,
    SenderState,
    SetDeviceTrust,
    UpdateDevices,
    UserId,
)
from tests.interop.device import Device
from tests.interop.olmstate_device import OlmstateDevice
from tests.interop.people import People, all_say, meet, sync_all, what_they_read
from tests.interop.rust_device import RustDevice

MOST_ROUNDS = 60
"""Of syncs, until what must come is given up: requests go out in the background, and Synapse takes its time."""


def own(device: Device) -> tuple[UserId, DeviceId]:
    return device.session.user_id, device.session.device_id


async def olmstate_trusts(device: OlmstateDevice, other: Device) -> None:
    user_id, device_id = own(other)
    await device.device.ask(UpdateDevices(users=(user_id,)))
    await device.device.ask(SetDeviceTrust(user_id=user_id, device_id=device_id, trust=DeviceTrust.VERIFIED))


async def rust_trusts(device: RustDevice, other: Device) -> None:
    user_id, device_id = own(other)
    await device.ask("set_local_trust", user_id=user_id, device_id=device_id, trust="verified")


async def sync_until_read(reader: Device, others: list[Device]) -> None:
    for _ in range(MOST_ROUNDS):
        await sync_all([*others, reader])
        if not reader.ears.unread:
            return
        await trio.sleep(0.1)


async def ask_for_all(reader: OlmstateDevice) -> None:
    """Park all that can't be read, and ask for the keys."""
    events = tuple(reader.waiting.values())
    assert len(events) == len((await reader.device.ask(ParkEvents(events=events))).parked)
    asked = await reader.device.ask(RequestRoomKeys(events=events))
    assert 1 == len(asked.devices)


async def test_an_olmstate_device_gives_another_what_it_asks_for(people: People) -> None:
    sender, first = await people.rust(), await people.olmstate()
    room = await meet([sender, first])
    said = await all_say([sender], room)
    await sync_all([sender, first])
    second = await people.olmstate(await people.homeserver.log_in(first.session.user_id))
    await sync_all([first, second])
    assert set(said) == set(second.ears.unread)
    await olmstate_trusts(first, second)
    await olmstate_trusts(second, first)
    with second.device.subscribe(EventsReadable) as readable:
        await ask_for_all(second)
        await sync_until_read(second, [first])
        assert {(room, event_id) for event_id in said} == set(readable.receive_nowait().events)
    assert [said] == what_they_read([second], said)
    assert () == await second.device.ask(RoomKeyRequests())
    (heard,) = (second.events[event_id] for event_id in said)
    read = await second.device.ask(DecryptRoomEvent(room_id=room, event=heard[1]))
    assert (True, SenderState.INSECURE_SOURCE) == (read.encryption_info.forwarded, read.encryption_info.sender_state)


async def test_an_olmstate_device_is_told_that_it_is_not_trusted(people: People) -> None:
    sender, first = await people.rust(), await people.olmstate()
    room = await meet([sender, first])
    said = await all_say([sender], room)
    await sync_all([sender, first])
    second = await people.olmstate(await people.homeserver.log_in(first.session.user_id))
    await sync_all([first, second])
    await olmstate_trusts(second, first)
    await first.device.ask(UpdateDevices(users=(first.session.user_id,)))
    await ask_for_all(second)
    with second.device.subscribe(RoomKeyRequestRefused) as refusals:
        for _ in range(MOST_ROUNDS):
            await sync_all([first, second])
            if refusals.statistics().current_buffer_used:
                break
            await trio.sleep(0.1)
        refusal = refusals.receive_nowait()
    assert (room, own(first)[1], "m.unverified") == (refusal.room_id, refusal.device_id, refusal.code)
    assert set(said) == set(second.ears.unread)


async def test_an_olmmachine_gives_an_olmstate_device_what_it_asks_for(people: People) -> None:
    sender, first = await people.nio(), await people.rust()
    await first.ask("set_room_key_requests", forwarding=True)
    room = await meet([sender, first])
    said = await all_say([sender], room)
    await sync_all([sender, first])
    second = await people.olmstate(await people.homeserver.log_in(first.session.user_id))
    await sync_all([first, second])
    await rust_trusts(first, second)
    await olmstate_trusts(second, first)
    await ask_for_all(second)
    await sync_until_read(second, [first])
    assert [said] == what_they_read([second], said)
    assert () == await second.device.ask(RoomKeyRequests())


async def test_an_olmstate_device_gives_an_olmmachine_what_it_asks_for(people: People) -> None:
    sender, first = await people.nio(), await people.olmstate()
    room = await meet([sender, first])
    said = await all_say([sender], room)
    await sync_all([sender, first])
    second = await people.rust(await people.homeserver.log_in(first.session.user_id))
    await second.ask("set_room_key_requests", requests=True)
    # asked by itself, at the first event that it can't read: whom it trusts must be known by then
    await second.track(first.session.user_id)
    await rust_trusts(second, first)
    await sync_all([first, second])
    await olmstate_trusts(first, second)
    await sync_until_read(second, [first])
    assert [said] == what_they_read([second], said)
