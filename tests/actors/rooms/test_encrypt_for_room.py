"""Encrypting for a room's members, from nothing and when nothing has changed."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.messages import (
    DecryptToDevice,
    DeviceAddress,
    DiscardRoomKey,
    EncryptedRoomEvent,
    EncryptForRoom,
    IdentityKeys,
    JsonObject,
    MalformedContent,
    MarkRequestFailed,
    MarkRequestSent,
    NoTransport,
    PrepareRoomKey,
    ReceiveSync,
    Request,
    RequestDelayed,
    RequestKind,
    RequestRefused,
    Response,
    RoomId,
    RotationPeriod,
    ShareRoomKey,
    Statistics,
    UserId,
)
from tests.actors.world import World
from tests.peer.session import API
from tests.peer.session import RequestRefused as Refused

ROOM = RoomId("!room:example.org")
BOB, CAROL, DAVE = UserId("@bob:example.org"), UserId("@carol:example.org"), UserId("@dave:far.example")
USUAL = RotationPeriod()
HELLO: JsonObject = {"msgtype": "m.text", "body": "hello"}


async def send(
    device: Supervisor, *members: UserId, content: JsonObject = HELLO, rotation: RotationPeriod = USUAL
) -> EncryptedRoomEvent:
    return await device.ask(
        EncryptForRoom(room_id=ROOM, members=members, type="m.room.message", content=content, rotation=rotation)
    )


def changed(*users: UserId) -> ReceiveSync:
    return ReceiveSync(sync={"next_batch": "s1", "device_lists": {"changed": list(users)}}, since="s0")


async def test_everybody_reads_the_first_message_of_a_room_from_nothing(
    world: World, autojump_clock: MockClock
) -> None:
    others = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL)]
    others += [await world.log_in(BOB, "TWO", fallback=True)]
    async with world.process() as device:
        event = await send(device, BOB, CAROL)
        assert [HELLO] * 3 == [await other.read(event) for other in others]


async def test_if_nothing_has_changed_nothing_is_asked_and_no_turn_is_taken(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        await send(device, BOB)
        await trio.sleep(5)  # until the device's own keys are uploaded, and its own user known
        for _ in range(7):
            await send(device, BOB)  # until enough message indices are reserved at a time
        asked, turns = len(world.asked), (await device.ask(Statistics())).turns
        events = [await send(device, BOB) for _ in range(3)]
        assert (asked, turns) == (len(world.asked), (await device.ask(Statistics())).turns)
        assert [HELLO] * 3 == [await bob.read(event) for event in events]
        assert 1 == bob.received


async def test_a_new_device_gets_the_key_and_the_session_goes_on(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        first = await send(device, BOB)
        new = await world.log_in(BOB, "NEW", one_time_keys=1)
        await device.ask(changed(BOB))
        second = await send(device, BOB)
        assert first.session_id == second.session_id
        assert [HELLO, HELLO] == [await bob.read(second), await new.read(second)]
        assert (1, 1) == (bob.received, new.received)
        assert new.room_keys[second.session_id].first_known_index > first.message_index


async def test_a_member_who_joins_gets_the_key_and_the_session_goes_on(world: World, autojump_clock: MockClock) -> None:
    await world.log_in(BOB, one_time_keys=1)
    carol = await world.log_in(CAROL, one_time_keys=1)
    async with world.process() as device:
        first = await send(device, BOB)
        second = await send(device, BOB, CAROL)
        assert first.session_id == second.session_id
        assert HELLO == await carol.read(second)


async def test_a_member_who_left_can_not_read_what_comes_then(world: World, autojump_clock: MockClock) -> None:
    bob, carol = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL)]
    async with world.process() as device:
        await send(device, BOB, CAROL)
        event = await send(device, BOB)
        assert HELLO == await bob.read(event)
        with pytest.raises(KeyError):
            await carol.read(event)


async def test_a_device_that_is_gone_can_not_read_what_comes_then(world: World, autojump_clock: MockClock) -> None:
    bob, lost = await world.log_in(BOB, one_time_keys=1), await world.log_in(BOB, "LOST", one_time_keys=1)
    async with world.process() as device:
        first = await send(device, BOB)
        await lost.sync()
        world.homeserver.log_out(lost.session)
        await device.ask(changed(BOB))
        second = await send(device, BOB)
        assert first.session_id != second.session_id
        assert HELLO == await bob.read(second)
        assert second.session_id not in lost.room_keys


async def test_a_session_is_replaced_when_its_messages_are_used_up(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        events = [await send(device, BOB, rotation=RotationPeriod(messages=3)) for _ in range(7)]
        assert [HELLO] * 7 == [await bob.read(event) for event in events]
        assert 3 == len({event.session_id for event in events}) == bob.received


async def test_nobody_else_in_the_room_is_no_trouble(world: World, autojump_clock: MockClock) -> None:
    async with world.process() as device:
        assert (await send(device)).session_id == (await send(device)).session_id


async def test_a_device_without_keys_to_claim_holds_up_nobody_and_is_not_asked_again_at_once(
    world: World, autojump_clock: MockClock
) -> None:
    bob, mute = await world.log_in(BOB, one_time_keys=1), await world.log_in(BOB, "MUTE")
    async with world.process() as one, world.process() as other:
        event = await send(one, BOB)
        assert HELLO == await bob.read(event)
        asked = len(world.asked_for("/keys/claim"))
        for process in (one, other):
            await process.ask(DiscardRoomKey(room_id=ROOM))
            await send(process, BOB)
        assert asked == len(world.asked_for("/keys/claim"))
        await mute.publish(1)
        await trio.sleep(16)
        event = await send(one, BOB)
        assert [HELLO, HELLO] == [await bob.read(event), await mute.read(event)]
        assert asked + 1 == len(world.asked_for("/keys/claim"))


async def test_what_one_process_delivers_another_waits_for(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB, one_time_keys=50)
    async with world.process() as one, world.process() as two, world.process() as three:
        events: list[EncryptedRoomEvent] = []

        async def send_from(process: Supervisor) -> None:
            events.append(await send(process, BOB))

        async with trio.open_nursery() as nursery:
            for process in (one, two, three):
                nursery.start_soon(send_from, process)
        assert [HELLO] * 3 == [await bob.read(event) for event in events]
        assert 1 == bob.received
        assert 3 == len({event.message_index for event in events})
        assert 1 == len(world.asked_for("/keys/claim"))


async def test_a_share_that_a_dead_process_has_begun_is_finished_by_whoever_sends_next(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=50)
    async with world.process() as one:
        await send(one, BOB)
        await one.ask(DiscardRoomKey(room_id=ROOM))
        world.fail = True
        with trio.move_on_after(5):
            await send(one, BOB)
    sent = len(world.asked_for("/sendToDevice/"))
    world.fail = False
    async with world.process() as other:
        await trio.sleep(20)
        event = await send(other, BOB)
        assert HELLO == await bob.read(event)
        assert 2 == bob.received
        assert sent + 1 == len(world.asked_for("/sendToDevice/"))


async def test_without_a_transport_it_says_so_and_the_requests_are_there(world: World) -> None:
    async with world.process(transport=False) as device:
        with pytest.raises(NoTransport):
            await send(device, BOB)


async def test_content_that_can_not_be_sent_costs_nobody_a_key(world: World, autojump_clock: MockClock) -> None:
    await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        with pytest.raises(MalformedContent):
            await send(device, BOB, content={"body": float("nan")})
        assert [] == world.asked_for("/keys/claim")


async def test_a_key_that_can_not_be_delivered_in_time_is_an_error_and_goes_out_later(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        await send(device)
        real = world.send

        async def stuck(request: Request) -> Response:
            if "sendToDevice" in request.path:
                raise ConnectionResetError
            return await real(request)

        world.send = stuck  # type: ignore[method-assign] # the transport of the process to come
        async with world.process() as other:
            with pytest.raises(RequestDelayed):
                await send(other, BOB)
            world.send = real  # type: ignore[method-assign] # as it was
    async with world.process() as device:
        await trio.sleep(1000)
        assert HELLO == await bob.read(await send(device, BOB))


async def test_what_the_homeserver_refuses_is_an_error(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.log_in(BOB, one_time_keys=1)

    def refuse(_: JsonObject) -> JsonObject:
        raise Refused(404, {"errcode": "M_UNRECOGNIZED"})

    async with world.process() as device:
        monkeypatch.setattr(world.homeserver.keys, "claim", refuse)
        with pytest.raises(RequestRefused):
            await send(device, BOB)


@pytest.mark.parametrize("what", ["query", "claim"])
async def test_a_member_whom_the_homeserver_does_not_like_holds_up_nobody(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    others = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL)]
    await world.log_in(DAVE, one_time_keys=1)
    real = getattr(world.homeserver.keys, what)

    def refuse(*asked: Any) -> JsonObject:  # noqa: ANN401 - of two functions
        if str(DAVE) in json.dumps(asked):
            raise Refused(400, {"errcode": "M_BAD_JSON"})
        answer: JsonObject = real(*asked)
        return answer

    monkeypatch.setattr(world.homeserver.keys, what, refuse)
    async with world.process() as device:
        event = await send(device, BOB, CAROL, DAVE)
        assert [HELLO] * 2 == [await each.read(event) for each in others]
        asked, event = len(world.asked), await send(device, BOB, CAROL, DAVE)
        assert [HELLO] * 2 == [await each.read(event) for each in others]
        assert [] == [request.kind for request in world.asked[asked:] if request.kind is not RequestKind.KEYS_UPLOAD]


async def test_a_room_key_that_is_too_large_for_all_at_once_is_sent_in_parts(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [await world.log_in(f"@user{number}:example.org", one_time_keys=1) for number in range(9)]
    real = world.send

    async def refuse(request: Request) -> Response:
        if request.kind is RequestKind.TO_DEVICE and len(json.loads(request.body)["messages"]) > 2:
            return Response(status=413, body=b"<html>")
        return await real(request)

    world.send = refuse  # type: ignore[method-assign] # of the processes to come
    users = [other.peer.user_id for other in others]
    async with world.process() as one, world.process() as other:
        events = [await send(one, *users), await send(other, *users)]
        assert events[0].session_id == events[1].session_id
        assert [HELLO] * 9 == [await each.read(events[1]) for each in others]
        assert [1] * 9 == [each.received for each in others]


async def test_a_part_of_a_room_key_that_is_delivered_says_nothing_of_the_rest(
    world: World, autojump_clock: MockClock
) -> None:
    others = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL)]
    addresses = [each.peer.address for each in others]
    async with world.process() as device:
        await send(device, BOB, CAROL)
        await device.ask(DiscardRoomKey(room_id=ROOM))
    async with world.process(transport=False) as device:
        share = await device.ask(ShareRoomKey(room_id=ROOM, devices=tuple(addresses)))
        (whole,) = share.requests
        await device.ask(MarkRequestFailed(request_id=whole.request_id, status=413))
        halves = (await device.ask(ShareRoomKey(room_id=ROOM, devices=tuple(addresses)))).requests
        shared: set[DeviceAddress] = set()
        for half in halves:
            assert shared == {*(await device.ask(PrepareRoomKey(room_id=ROOM))).shared_with}
            await device.ask(MarkRequestSent(request_id=half.request_id, response={}))
            shared |= {each for each in addresses if each.user_id in json.loads(half.body)["messages"]}
            assert shared
        assert 2 == len(shared)
        assert shared == {*(await device.ask(PrepareRoomKey(room_id=ROOM))).shared_with}


async def test_what_is_refused_of_a_share_is_an_error_for_whoever_waits_for_it(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that waited for the share took what was left of it for all, and sent what some could not read."""
    monkeypatch.setattr("olmstate.actors._rooms.sharing.DEVICES_A_REQUEST", 1)
    others = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL)]
    real, refused = world.send, trio.Event()

    async def refuse(request: Request) -> Response:
        if request.kind is RequestKind.TO_DEVICE:
            if BOB in request.body.decode():
                refused.set()
                return Response(status=413, body=b'{"errcode": "M_TOO_LARGE"}')
            await trio.sleep(5)
        return await real(request)

    async def be_refused(device: Supervisor) -> None:
        with pytest.raises(RequestRefused):
            await send(device, BOB, CAROL)

    world.send = refuse  # type: ignore[method-assign] # of the processes to come
    async with world.process() as one, world.process() as other, trio.open_nursery() as nursery:
        nursery.start_soon(be_refused, one)
        await refused.wait()
        await trio.sleep(1)
        nursery.start_soon(be_refused, other)
    world.send = real  # type: ignore[method-assign] # as it was
    async with world.process() as device:
        event = await send(device, BOB, CAROL)
        assert [HELLO] * 2 == [await each.read(event) for each in others]


@pytest.mark.parametrize("key", [{}, {"key": "garbage"}, "text", None])
async def test_a_claimed_key_that_is_none_costs_its_own_device_only(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, key: object
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    await world.log_in(CAROL, one_time_keys=1)
    claim = world.homeserver.keys.claim

    def lie(body: JsonObject) -> JsonObject:
        answer = claim(body)
        answer["one_time_keys"][CAROL] = {"DEV": {"signed_curve25519:AAAA": key}}
        return answer

    monkeypatch.setattr(world.homeserver.keys, "claim", lie)
    async with world.process() as device:
        assert HELLO == await bob.read(await send(device, BOB, CAROL))


async def test_a_large_room_is_served_in_requests_of_250_devices(world: World, autojump_clock: MockClock) -> None:
    others = [await world.log_in(f"@user{number}:example.org", one_time_keys=1) for number in range(260)]
    async with world.process() as device:
        event = await send(device, *(other.peer.user_id for other in others))
        bodies = world.asked_for("/sendToDevice/")
        assert [10, 250] == sorted(sum(map(len, body["messages"].values())) for body in bodies)
        assert HELLO == await others[259].read(event)


async def test_a_device_that_can_not_be_reached_is_tried_as_seldom_as_its_back_off_says(
    world: World, autojump_clock: MockClock
) -> None:
    await world.log_in(BOB, one_time_keys=1)
    await world.log_in(BOB, "MUTE")
    async with world.process() as device:
        claimed: list[float] = []
        for second in range(200):
            before, turns = len(world.asked_for("/keys/claim")), (await device.ask(Statistics())).turns
            await send(device, BOB, rotation=RotationPeriod(messages=10_000))
            if len(world.asked_for("/keys/claim")) > before:
                claimed.append(trio.current_time())
            elif second > 5 and claimed[-1] + 2 < trio.current_time():
                used = (await device.ask(Statistics())).turns - turns
                assert used <= 1, second  # message indices are reserved now and then
            await trio.sleep(1)
        waits = [later - earlier for earlier, later in pairwise(claimed)]
        assert [15, 30, 60] == [round(wait) // 15 * 15 for wait in waits[:3]]
        assert 4 == len(claimed)


async def test_a_device_that_could_not_be_reached_gets_the_key_once_it_has_begun_a_session(
    world: World, autojump_clock: MockClock
) -> None:
    await world.log_in(BOB, one_time_keys=1)
    mute = await world.log_in(BOB, "MUTE")
    async with world.process() as device:
        first = await send(device, BOB)
        own = await device.ask(IdentityKeys())
        await trio.sleep(5)
        wanted = {own.user_id: {own.device_id: "signed_curve25519"}}
        answer = await mute.session.request("POST", f"{API}/keys/claim", {"one_time_keys": wanted})
        (key,) = answer["one_time_keys"][own.user_id][own.device_id].values()
        mute.peer.start_session(own, key)
        await device.ask(DecryptToDevice(events=(mute.peer.event(own),)))
        second = await send(device, BOB)
        assert first.session_id == second.session_id
        assert HELLO == await mute.read(second)


async def test_fifty_processes_that_send_one_event_each_at_once_stay_on_one_session(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    events: list[EncryptedRoomEvent] = []
    everybody_is_there, there = trio.Event(), 0

    async def send_once() -> None:
        nonlocal there
        async with world.process() as device:
            there += 1
            if there == 50:
                everybody_is_there.set()
            await everybody_is_there.wait()
            events.append(await send(device, BOB))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(send_once)
    assert 1 == len({event.session_id for event in events})
    assert 50 == len({event.message_index for event in events})
    assert [HELLO] * 50 == [await bob.read(event) for event in events]
    assert 1 == bob.received
