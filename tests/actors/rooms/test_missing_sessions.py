"""MissingSessions: whom to claim keys of, for those who go step by step."""

from __future__ import annotations

import json

import trio
from trio.testing import MockClock

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    CreateOlmSessions,
    DeviceAddress,
    DeviceId,
    EncryptForRoom,
    EncryptRoomEvent,
    MarkRequestSent,
    MissingSessions,
    RoomId,
    SessionsMissing,
    ShareRoomKey,
    UpdateDevices,
    UserId,
)
from tests.actors.world import World
from tests.peer.session import API

ROOM = RoomId("!room:example.org")
BOB, CAROL, OWN = UserId("@bob:example.org"), UserId("@carol:example.org"), UserId(USER)
NOBODY = DeviceAddress(user_id=CAROL, device_id=DeviceId("NOBODY"))


async def test_all_steps_by_hand_bring_a_message_to_every_device(world: World, autojump_clock: MockClock) -> None:
    others = [await world.log_in(BOB, one_time_keys=1), await world.log_in(USER, "TWO", fallback=True)]
    async with world.process() as device:
        await device.ask(UpdateDevices(users=(BOB, OWN)))
        missing = await device.ask(MissingSessions(users=(BOB,)))
        assert {other.peer.address for other in others} == set(missing.devices)
        assert missing.claim is not None
        answer = await world.session.request("POST", f"{API}/keys/claim", missing.claim)
        await device.ask(CreateOlmSessions(one_time_keys=answer))
        assert SessionsMissing(devices=(), claim=None) == await device.ask(MissingSessions(users=(BOB,)))
        share = await device.ask(ShareRoomKey(room_id=ROOM, users=(BOB,)))
        for request in share.requests:
            response = await world.session.request(request.method, request.path, json.loads(request.body))
            await device.ask(MarkRequestSent(request_id=request.request_id, response=response))
        sent = await device.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={"body": "hi"}))
        for other in others:
            assert {"body": "hi"} == await other.read(sent)
        assert [] == [notice for other in others for notice in other.withheld]


async def test_devices_are_named_one_by_one_and_this_one_and_unknown_ones_are_none(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    await world.log_in(BOB, "OTHER", one_time_keys=1)
    itself = DeviceAddress(user_id=OWN, device_id=DeviceId(DEVICE))
    async with world.process() as device:
        await device.ask(UpdateDevices(users=(BOB, OWN)))
        missing = await device.ask(MissingSessions(devices=(bob.peer.address, NOBODY, itself)))
        assert (bob.peer.address,) == missing.devices
        assert missing.claim is not None
        assert {BOB: {"DEV": "signed_curve25519"}} == missing.claim["one_time_keys"]
        assert SessionsMissing(devices=(), claim=None) == await device.ask(MissingSessions())


async def test_who_is_asked_already_or_has_failed_lately_is_left_out_of_the_claim(
    world: World, autojump_clock: MockClock
) -> None:
    await world.log_in(BOB)  # has no key
    async with world.process() as device, world.process(transport=False) as other, trio.open_nursery() as nursery:
        await device.ask(UpdateDevices(users=(BOB, OWN)))
        message = EncryptForRoom(room_id=ROOM, members=(BOB,), type="m.test", content={})
        nursery.start_soon(device.ask, message)
        await trio.sleep(0.05)  # of the tenth of a second that the answer takes
        assert 1 == sum("/keys/claim" in each.path for each in world.asked)
        for seconds, claimed in ((0, False), (5, False), (30, True)):
            await trio.sleep(seconds)
            missing = await other.ask(MissingSessions(users=(BOB,)))
            assert 1 == len(missing.devices)
            assert claimed == (missing.claim is not None)
