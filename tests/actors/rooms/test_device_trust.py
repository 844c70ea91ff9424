"""Who is blocked gets no room key, whichever process shares it and whichever has blocked."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    DeviceAddress,
    DeviceId,
    DeviceTrust,
    DeviceTrustChanged,
    EncryptedRoomEvent,
    EncryptForRoom,
    MarkRoomKeyShared,
    RoomId,
    SetDeviceTrust,
    ShareRoomKey,
    UnknownDevice,
    UserId,
)
from tests.actors.world import World
from tests.operations.peer import keys_query

ROOM = RoomId("!room:example.org")
BOB = UserId("@bob:example.org")
HELLO = {"body": "hello"}


async def send(device: Supervisor) -> EncryptedRoomEvent:
    return await device.ask(EncryptForRoom(room_id=ROOM, members=(BOB,), type="m.room.message", content=HELLO))


def trust(device_id: str, trust: DeviceTrust) -> SetDeviceTrust:
    return SetDeviceTrust(user_id=BOB, device_id=DeviceId(device_id), trust=trust)


async def test_a_blocked_device_can_not_read_what_comes_then_and_is_told_again_when_it_is_not_blocked(
    world: World, autojump_clock: MockClock
) -> None:
    bob, lost = await world.log_in(BOB, one_time_keys=1), await world.log_in(BOB, "LOST", one_time_keys=1)
    async with world.process() as device, world.process() as other:
        first = await send(device)
        assert HELLO == await lost.read(first)
        await other.ask(trust("LOST", DeviceTrust.BLOCKED))
        second = await send(device)
        assert first.session_id != second.session_id
        assert HELLO == await bob.read(second)
        with pytest.raises(KeyError):
            await lost.read(second)
        assert second.session_id == (await send(other)).session_id
        await device.ask(trust("LOST", DeviceTrust.IGNORED))
        third = await send(other)
        assert second.session_id == third.session_id
        assert HELLO == await lost.read(third)


async def test_another_decision_than_blocking_replaces_no_session(world: World, autojump_clock: MockClock) -> None:
    await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        first = await send(device)
        for other in (DeviceTrust.VERIFIED, DeviceTrust.IGNORED, DeviceTrust.UNSET):
            await device.ask(trust("DEV", other))
            assert first.session_id == (await send(device)).session_id


async def test_a_key_that_is_shared_by_hand_is_not_for_a_blocked_device(world: World) -> None:
    bob, lost = await world.log_in(BOB), await world.log_in(BOB, "LOST")
    async with world.process(transport=False) as device:
        await device.ask(AddDevices(response=keys_query(bob.peer, lost.peer)))
        share = ShareRoomKey(room_id=ROOM, devices=(bob.peer.address, lost.peer.address))
        first = await device.ask(share)
        assert (bob.peer.address, lost.peer.address) == first.missing
        marked = MarkRoomKeyShared(room_id=ROOM, session_id=first.session_id, devices=(lost.peer.address,))
        await device.ask(marked)
        await device.ask(trust("LOST", DeviceTrust.BLOCKED))
        second = await device.ask(share)
        assert first.session_id != second.session_id
        assert (bob.peer.address,) == second.missing


async def test_subscribers_hear_of_a_decision_once(world: World) -> None:
    bob = await world.log_in(BOB)
    async with world.process(transport=False) as device:
        with pytest.raises(UnknownDevice):
            await device.ask(trust("DEV", DeviceTrust.VERIFIED))
        await device.ask(AddDevices(response=keys_query(bob.peer)))
        with device.subscribe(DeviceTrustChanged) as events:
            for _ in range(2):
                await device.ask(trust("DEV", DeviceTrust.VERIFIED))
            heard = await events.receive()
            assert DeviceAddress(user_id=BOB, device_id=DeviceId("DEV")) == DeviceAddress(
                user_id=heard.user_id, device_id=heard.device_id
            )
            assert DeviceTrust.VERIFIED is heard.trust
            assert 0 == events.statistics().current_buffer_used
