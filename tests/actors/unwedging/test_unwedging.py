"""Olm sessions that one side can't use any more, and the room keys that were lost with them."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors._unwedging import operations
from olmstate.messages import (
    DeviceIdentity,
    DeviceTrust,
    DiscardRoomKey,
    EncryptedRoomEvent,
    EncryptForRoom,
    IdentityKeys,
    JsonObject,
    ReceiveSync,
    RoomId,
    SetDeviceTrust,
    SyncToken,
    UpdateDevices,
    UserId,
)
from tests.actors.world import Other, World
from tests.operations.peer import Peer
from tests.peer.session import API

ROOM = RoomId("!room:example.org")
BOB, CAROL = UserId("@bob:example.org"), UserId("@carol:example.org")
HELLO: JsonObject = {"msgtype": "m.text", "body": "hello"}
HOUR = 3600


async def send(device: Supervisor, *members: UserId) -> EncryptedRoomEvent:
    return await device.ask(EncryptForRoom(room_id=ROOM, members=members, type="m.room.message", content=HELLO))


def undecryptable(sender: Peer, device: DeviceIdentity) -> JsonObject:
    """A message on a session that this device has never had."""
    somebody = Peer(UserId("@somebody:example.org"))
    (key,) = somebody.one_time_key().values()
    return sender.event(device, session=sender.start_session(somebody.identity, key))


async def receive(device: Supervisor, *events: JsonObject) -> None:
    """Take events in that can't be decrypted, or that came in clear."""
    since = await device.ask(SyncToken())
    await device.ask(ReceiveSync(sync={"next_batch": "s", "to_device": {"events": events}}, since=since))


async def sync(world: World, device: Supervisor) -> None:
    since = await device.ask(SyncToken())
    await device.ask(ReceiveSync(sync=await world.session.sync(since), since=since))


async def begin_session(other: Other, device: DeviceIdentity) -> None:
    """Have another's device lose its sessions, and begin a new one."""
    other.peer.sessions.clear()
    wanted = {device.user_id: {device.device_id: "signed_curve25519"}}
    answer = await other.session.request("POST", f"{API}/keys/claim", {"one_time_keys": wanted})
    (key,) = answer["one_time_keys"][device.user_id][device.device_id].values()
    other.peer.start_session(device, key)
    await other.session.send_to_device(
        "m.room.encrypted", {device.user_id: {device.device_id: other.peer.event(device)["content"]}}
    )


def claims(world: World) -> int:
    return len(world.asked_for("/keys/claim"))


async def read_all(other: Other) -> list[str]:
    """The types of what a device was sent."""
    answer = await other.session.sync(other.since)
    other.since = answer["next_batch"]
    return [other.peer.read(event["content"])["type"] for event in answer["to_device"]["events"]]


# --- this device can't decrypt ------------------------------------------------------------------------------


async def test_a_known_device_whose_message_can_not_be_decrypted_gets_a_new_session_with_a_dummy_on_it(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        own = await device.ask(IdentityKeys())
        await device.ask(UpdateDevices(users=(BOB,)))
        await receive(device, undecryptable(bob.peer, own))
        await trio.sleep(5)
        assert 1 == claims(world)
        assert ["m.dummy"] == await read_all(bob)


async def test_a_session_that_is_seconds_old_is_replaced_too(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB, one_time_keys=2)
    async with world.process() as device:
        own = await device.ask(IdentityKeys())
        await send(device, BOB)
        await receive(device, undecryptable(bob.peer, own))
        await trio.sleep(5)
        assert 2 == claims(world)
        assert ["m.room_key", "m.dummy"] == await read_all(bob)


async def test_a_device_gets_one_new_session_an_hour_over_all_processes(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=9)
    async with world.process() as one, world.process() as other:
        own = await one.ask(IdentityKeys())
        await one.ask(UpdateDevices(users=(BOB,)))
        for process in (one, other, one, other):
            await receive(process, undecryptable(bob.peer, own))
            await trio.sleep(HOUR / 5)
        assert 1 == claims(world)
        await trio.sleep(HOUR / 5 + 1)  # an hour after the claim was answered
        await receive(other, undecryptable(bob.peer, own))
        await trio.sleep(5)
        assert 2 == claims(world)
        assert ["m.dummy"] * 2 == await read_all(bob)


async def test_what_one_process_has_begun_another_ends(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        own = await device.ask(IdentityKeys())
        await device.ask(UpdateDevices(users=(BOB,)))
    async with world.process(transport=False) as device:
        await receive(device, undecryptable(bob.peer, own))
    assert 0 == claims(world)
    async with world.process():
        await trio.sleep(5)
        assert ["m.dummy"] == await read_all(bob)


async def test_a_device_without_a_key_to_claim_is_tried_again_when_its_next_message_fails(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB)
    async with world.process() as device:
        own = await device.ask(IdentityKeys())
        await device.ask(UpdateDevices(users=(BOB,)))
        await receive(device, undecryptable(bob.peer, own))
        await trio.sleep(1)
        await receive(device, undecryptable(bob.peer, own))  # backed off
        await trio.sleep(20)
        assert (1, []) == (claims(world), await read_all(bob))
        await bob.publish(one_time_keys=1)
        await receive(device, undecryptable(bob.peer, own))
        await trio.sleep(5)
        assert (2, ["m.dummy"]) == (claims(world), await read_all(bob))


async def test_a_session_that_another_reason_brings_has_the_dummy_too(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB)
    async with world.process() as device:
        own = await device.ask(IdentityKeys())
        await device.ask(UpdateDevices(users=(BOB,)))
        await receive(device, undecryptable(bob.peer, own))
        await trio.sleep(60)
        await bob.publish(one_time_keys=1)
        await send(device, BOB)
        await trio.sleep(5)
        assert ["m.dummy", "m.room_key"] == sorted(await read_all(bob))


async def test_nobody_makes_this_device_claim_keys_of_devices_that_it_does_not_know(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    await world.log_in(CAROL, one_time_keys=1)
    async with world.process() as device:
        own = await device.ask(IdentityKeys())
        await receive(device, undecryptable(bob.peer, own))
        await device.ask(UpdateDevices(users=(BOB, CAROL)))
        await trio.sleep(1)
        unknown = Peer(BOB)
        await receive(device, undecryptable(unknown, own), {**undecryptable(bob.peer, own), "sender": "@x:example.org"})
        await trio.sleep(5)
        assert 0 == claims(world)


async def test_a_device_that_has_no_session_with_this_one_is_given_one(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB, one_time_keys=2)
    async with world.process() as device:
        await device.ask(UpdateDevices(users=(BOB,)))
        content = {"algorithm": "m.megolm.v1.aes-sha2", "sender_key": bob.peer.curve25519, "code": "m.no_olm"}
        notice = {"type": "m.room_key.withheld", "sender": BOB, "content": content}
        await receive(
            device, {**notice, "content": {**content, "sender_key": 7}}, {**notice, "content": {"code": "m.no_olm"}}
        )
        await receive(device, notice, {**notice, "content": {**content, "code": "m.blacklisted"}})
        await receive(device, notice)
        await trio.sleep(5)
        assert (1, ["m.dummy"]) == (claims(world), await read_all(bob))


# --- the other side has lost what it had --------------------------------------------------------------------


async def test_who_begins_a_new_session_is_sent_again_the_room_key_that_it_may_have_lost(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        events = [await send(device, BOB) for _ in range(3)]
        await trio.sleep(5)
        await bob.sync()
        bob.room_keys.clear()
        await begin_session(bob, await device.ask(IdentityKeys()))
        await sync(world, device)
        await trio.sleep(5)
        assert [HELLO] * 3 == [await bob.read(event) for event in events]


async def test_a_blocked_device_that_begins_a_new_session_is_sent_nothing_again(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        await send(device, BOB)
        await trio.sleep(5)
        await bob.sync()
        await device.ask(SetDeviceTrust(user_id=BOB, device_id=bob.peer.device_id, trust=DeviceTrust.BLOCKED))
        await begin_session(bob, await device.ask(IdentityKeys()))
        await sync(world, device)
        await trio.sleep(5)
        assert [] == await read_all(bob)


async def test_a_room_key_that_is_sent_again_begins_where_its_device_was_first_sent_it(
    world: World, autojump_clock: MockClock
) -> None:
    await world.log_in(BOB, one_time_keys=1)
    carol = await world.log_in(CAROL, one_time_keys=1)
    async with world.process() as device:
        before = await send(device, BOB)
        after = await send(device, BOB, CAROL)
        await send(device, BOB, CAROL)
        await trio.sleep(5)
        await carol.sync()
        carol.room_keys.clear()
        await begin_session(carol, await device.ask(IdentityKeys()))
        await sync(world, device)
        await trio.sleep(5)
        assert HELLO == await carol.read(after)
        assert before.message_index < after.message_index
        assert after.message_index == carol.room_keys[after.session_id].first_known_index


async def test_the_room_key_comes_in_the_turn_that_saw_the_new_session_whoever_sends_it(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        event = await send(device, BOB)
        await trio.sleep(5)
        own = await device.ask(IdentityKeys())
    await bob.sync()
    bob.room_keys.clear()
    await begin_session(bob, own)
    async with world.process(transport=False) as device:
        await sync(world, device)
    async with world.process():
        await trio.sleep(5)
    assert HELLO == await bob.read(event)


@pytest.mark.parametrize("why", ["rotated", "gone"])
async def test_a_key_that_is_not_for_the_device_any_more_is_not_sent_again(
    why: str, world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        await send(device, BOB)
        await trio.sleep(5)
        await bob.sync()
        if why == "rotated":
            await device.ask(DiscardRoomKey(room_id=ROOM))
        await begin_session(bob, await device.ask(IdentityKeys()))
        if why == "gone":
            world.homeserver.log_out(bob.session)
            await device.ask(ReceiveSync(sync={"next_batch": "s", "device_lists": {"changed": [BOB]}}, since="x"))
            await device.ask(UpdateDevices(users=(BOB,)))
        asked = len(world.asked_for("/sendToDevice/"))
        await sync(world, device)
        await trio.sleep(5)
        assert asked == len(world.asked_for("/sendToDevice/"))


async def test_room_keys_are_sent_again_four_times_an_hour(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        await send(device, BOB)
        await trio.sleep(5)
        await bob.sync()
        own = await device.ask(IdentityKeys())
        for _ in range(6):
            await begin_session(bob, own)
            await sync(world, device)
            await trio.sleep(5)
            await bob.sync()
        assert 1 + 4 == bob.received
        await trio.sleep(HOUR)
        await begin_session(bob, own)
        await sync(world, device)
        await trio.sleep(5)
        await bob.sync()
        assert 1 + 5 == bob.received


async def test_what_waits_for_a_device_with_a_name_alike_is_not_anothers(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is whatever its owner has chosen: what waited for "DEV again" counted as what waits for "DEV"."""
    monkeypatch.setattr(operations, "MOST_WAITING", 1)
    bob = await world.log_in(BOB, one_time_keys=1)
    alike = await world.log_in(BOB, f"{bob.peer.device_id} again", one_time_keys=1)
    async with world.process() as device:
        event = await send(device, BOB)
        await trio.sleep(5)
        await bob.sync()
        bob.room_keys.clear()
        own = await device.ask(IdentityKeys())
        world.fail = True
        for other in (alike, bob):
            await begin_session(other, own)
            await sync(world, device)
        world.fail = False
        await trio.sleep(HOUR)
        assert HELLO == await bob.read(event)
