"""Devices that get no room key are told so once, and why."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors._withheld import actor
from olmstate.actors._withheld.actor import TellNoOlm, WithheldNoticesActor
from olmstate.actors.testing import ActorsUnderTest, MemoryDisk, MemoryStore, run_actor
from olmstate.messages import (
    AddDevices,
    DeviceAddress,
    DeviceId,
    DeviceTrust,
    DiscardRoomKey,
    EncryptedRoomEvent,
    EncryptForRoom,
    IdentityKeys,
    OutgoingRequests,
    RoomId,
    SetDeviceTrust,
    ShareRoomKey,
    SharingStrategy,
    UserId,
)
from tests.actors.world import World
from tests.operations.peer import keys_query

ROOM = RoomId("!room:example.org")
BOB = UserId("@bob:example.org")
HELLO = {"body": "hello"}
TRUSTED = SharingStrategy.ONLY_TRUSTED_DEVICES


async def send(device: Supervisor, strategy: SharingStrategy = SharingStrategy.ALL_DEVICES) -> EncryptedRoomEvent:
    message = EncryptForRoom(room_id=ROOM, members=(BOB,), type="m.room.message", content=HELLO, strategy=strategy)
    return await device.ask(message)


def block(device_id: str) -> SetDeviceTrust:
    return SetDeviceTrust(user_id=BOB, device_id=DeviceId(device_id), trust=DeviceTrust.BLOCKED)


def told(notice: dict[str, Any]) -> tuple[str, str | None, str | None]:
    return notice["code"], notice.get("room_id"), notice.get("session_id")


async def test_a_blocked_device_is_told_once_a_session_over_all_processes_and_restarts(
    world: World, autojump_clock: MockClock
) -> None:
    await world.log_in(BOB, one_time_keys=1)
    lost = await world.log_in(BOB, "LOST", one_time_keys=1)
    sessions: list[str] = []
    async with world.process() as device, world.process() as other:
        await send(device)
        await device.ask(block("LOST"))
        sessions.append((await send(device)).session_id)
        await send(other)
        own = await device.ask(IdentityKeys())
    async with world.process() as device:
        assert sessions == [(await send(device)).session_id]
        await device.ask(DiscardRoomKey(room_id=ROOM))
        sessions.append((await send(device)).session_id)
    async with world.process():
        await lost.sync()
    assert [("m.blacklisted", ROOM, session_id) for session_id in sessions] == [told(each) for each in lost.withheld]
    for notice in lost.withheld:
        assert ("m.megolm.v1.aes-sha2", own.curve25519) == (notice["algorithm"], notice["sender_key"])
        assert isinstance(notice["reason"], str)


async def test_a_device_that_the_strategy_leaves_out_is_told_and_told_again_when_the_reason_is_another(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        first = await send(device, TRUSTED)
        await send(device, TRUSTED)
        await device.ask(block("DEV"))
        assert first.session_id == (await send(device, TRUSTED)).session_id
        await send(device, TRUSTED)
        await trio.sleep(1)  # until they are delivered: nobody waits for that
        await bob.sync()
    assert ["m.unverified", "m.blacklisted"] == [each["code"] for each in bob.withheld]


async def test_a_device_without_a_session_is_told_once_whatever_happens_until_one_has_worked(
    world: World, autojump_clock: MockClock
) -> None:
    bob, mute = await world.log_in(BOB, one_time_keys=1), await world.log_in(BOB, "MUTE")
    async with world.process() as device, world.process() as other:
        for process in (device, other, device):
            await process.ask(DiscardRoomKey(room_id=ROOM))
            await send(process)
        await trio.sleep(1)
        await mute.sync()
        await bob.sync()
        assert [("m.no_olm", None, None)] == [told(each) for each in mute.withheld]
        assert [] == bob.withheld


async def test_after_a_session_has_worked_a_device_may_be_told_again() -> None:
    actors = ActorsUnderTest(MemoryStore(MemoryDisk()))
    one, two = (DeviceAddress(user_id=BOB, device_id=DeviceId(name)) for name in ("ONE", "TWO"))
    async with run_actor(actors[WithheldNoticesActor]) as notices:
        assert (one, two) == await notices.ask(TellNoOlm(without=(one, two), reached=()))
        await actors.commit()
        assert () == await notices.ask(TellNoOlm(without=(one, two), reached=()))
        await notices.ask(TellNoOlm(without=(), reached=(one,)))
        await actors.commit()
        assert (one,) == await notices.ask(TellNoOlm(without=(one, two), reached=()))


async def test_who_has_very_many_devices_without_a_session_is_not_told_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each device that anybody published was a row for good, and all are loaded at once."""
    monkeypatch.setattr(actor, "MOST_TOLD", 4)
    actors = ActorsUnderTest(MemoryStore(MemoryDisk()))
    bobs = tuple(DeviceAddress(user_id=BOB, device_id=DeviceId(name)) for name in ("ONE", "TWO"))
    mallory = UserId("@mallory:elsewhere.example")
    many = tuple(DeviceAddress(user_id=mallory, device_id=DeviceId(f"{number}")) for number in range(9))
    async with run_actor(actors[WithheldNoticesActor]) as notices:
        assert bobs[:1] == await notices.ask(TellNoOlm(without=bobs[:1], reached=()))
        for _ in range(2):
            assert 3 >= len(await notices.ask(TellNoOlm(without=many, reached=())))
            await actors.commit()
        assert () == await notices.ask(TellNoOlm(without=(*many, bobs[0]), reached=()))
        assert bobs[1:] == await notices.ask(TellNoOlm(without=bobs, reached=()))


async def test_notices_of_a_share_by_hand_are_among_the_requests(world: World) -> None:
    bob = await world.log_in(BOB)
    async with world.process(transport=False) as device:
        await device.ask(AddDevices(response=keys_query(bob.peer)))
        share = ShareRoomKey(room_id=ROOM, devices=(bob.peer.address,), strategy=TRUSTED)
        session_id = (await device.ask(share)).session_id
        assert session_id == (await device.ask(share)).session_id
        to_all: ShareRoomKey = attrs.evolve(share, strategy=SharingStrategy.ALL_DEVICES)
        assert (bob.peer.address,) == (await device.ask(to_all)).missing
        notices = [each for each in await device.ask(OutgoingRequests()) if "withheld" in each.path]
        contents = [json.loads(each.body)["messages"][BOB]["DEV"] for each in notices]
        assert [("m.unverified", ROOM, session_id), ("m.no_olm", None, None)] == [told(each) for each in contents]
