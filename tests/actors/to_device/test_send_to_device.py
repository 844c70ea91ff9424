"""An app's events for devices: stored with the step of the session, and delivered whatever becomes of the process."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.messages import (
    DeviceAddress,
    DeviceId,
    DeviceTrust,
    IdentityKeys,
    Json,
    JsonObject,
    MalformedContent,
    MarkRequestSent,
    NoTransport,
    OutgoingRequests,
    Request,
    RequestGivenUp,
    RequestKind,
    RequestRefused,
    RequestVerification,
    Response,
    SendToDevice,
    SentToDevice,
    SetDeviceTrust,
    UpdateDevices,
    UserId,
)
from tests.actors.world import Other, World
from tests.peer.session import API
from tests.peer.session import RequestRefused as Refusal

LETTER = "org.example.letter"
BOB, CAROL, DAVE = UserId("@bob:example.org"), UserId("@carol:example.org"), UserId("@dave:far.example")


def letter(*devices: Other | DeviceAddress, n: Json = 1, patience: float = 30) -> SendToDevice:
    addresses = tuple(each.peer.address if isinstance(each, Other) else each for each in devices)
    return SendToDevice(devices=addresses, type=LETTER, content={"n": n}, patience=patience)


async def read(other: Other) -> list[Json]:
    """What has come since the last time."""
    answer = await other.session.sync(other.since)
    other.since = answer["next_batch"]
    payloads = [
        other.peer.read(event["content"])
        for event in answer["to_device"]["events"]
        if event["type"] == "m.room.encrypted"
    ]
    return [payload["content"]["n"] for payload in payloads if payload["type"] == LETTER]


async def test_devices_are_learned_keys_claimed_and_the_event_delivered(
    world: World, autojump_clock: MockClock
) -> None:
    bob, carol = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL)]
    async with world.process() as device:
        assert SentToDevice(delivered=True, missing=()) == await device.ask(letter(bob, carol, bob))
        assert [[1], [1]] == [await read(bob), await read(carol)]
        await trio.sleep(5)  # until the device's own keys are uploaded
        asked = len(world.asked)
        await device.ask(letter(bob, n=2))
        assert [RequestKind.TO_DEVICE] == [request.kind for request in world.asked[asked:]]
    assert [[2], []] == [await read(bob), await read(carol)]


async def test_who_can_not_be_written_to_is_named_and_holds_up_nobody(world: World, autojump_clock: MockClock) -> None:
    bob, blocked = await world.log_in(BOB, one_time_keys=1), await world.log_in(BOB, "BLOCKED", one_time_keys=1)
    mute = await world.log_in(CAROL)
    unknown = DeviceAddress(user_id=BOB, device_id=DeviceId("UNKNOWN"))
    async with world.process() as device:
        own = await device.ask(IdentityKeys())
        itself = DeviceAddress(user_id=own.user_id, device_id=own.device_id)
        await device.ask(letter(bob))
        await device.ask(SetDeviceTrust(user_id=BOB, device_id=DeviceId("BLOCKED"), trust=DeviceTrust.BLOCKED))
        others = blocked.peer.address, mute.peer.address, unknown, itself
        assert SentToDevice(delivered=True, missing=others) == await device.ask(letter(bob, *others, n=2))
        asked = len(world.asked)
        assert SentToDevice(delivered=True, missing=others) == await device.ask(letter(*others))
        await trio.sleep(5)
        assert RequestKind.TO_DEVICE not in {request.kind for request in world.asked[asked:]}
    assert [[1, 2], [], []] == [await read(other) for other in (bob, blocked, mute)]
    counts = (await blocked.session.request("POST", f"{API}/keys/upload", {}))["one_time_key_counts"]
    assert {"signed_curve25519": 1} == counts, "a key was claimed for nothing"


async def test_what_can_not_be_sent_costs_nobody_a_key(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        with pytest.raises(MalformedContent):
            await device.ask(letter(bob, n=float("nan")))
        assert {RequestKind.KEYS_QUERY, RequestKind.KEYS_CLAIM}.isdisjoint({request.kind for request in world.asked})


async def test_what_is_not_delivered_in_time_is_stored_and_delivered_later(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        await device.ask(letter(bob, n=1))
        world.fail = True
        assert SentToDevice(delivered=False, missing=()) == await device.ask(letter(bob, n=2, patience=5))
        assert SentToDevice(delivered=False, missing=()) == await device.ask(letter(bob, n=3, patience=5))
        world.fail = False
        await trio.sleep(120)
        assert [1, 2, 3] == await read(bob)  # in the order in which they were sent
        assert () == await device.ask(OutgoingRequests())


async def test_events_for_a_device_arrive_in_their_order_though_the_first_takes_longer(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    send, delays = World.send, [0, 10, 0]

    async def slow(self: World, request: Request) -> Response:
        if request.kind is RequestKind.TO_DEVICE:
            await trio.sleep(delays.pop(0))
        return await send(self, request)

    monkeypatch.setattr(World, "send", slow)
    async with world.process() as device:
        await device.ask(letter(bob, n=1))
        async with trio.open_nursery() as nursery:
            for n in (2, 3):
                nursery.start_soon(device.ask, letter(bob, n=n))
                await trio.sleep(1)
    assert [1, 2, 3] == await read(bob)


async def test_a_refusal_is_told(world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    send = World.send

    async def refusing(self: World, request: Request) -> Response:
        if request.kind is RequestKind.TO_DEVICE:
            return Response(status=400, body=b'{"errcode": "M_UNKNOWN"}')
        return await send(self, request)

    monkeypatch.setattr(World, "send", refusing)
    async with world.process() as device:
        with pytest.raises(RequestRefused):
            await device.ask(letter(bob))


async def test_a_device_whose_claim_is_refused_holds_up_nobody_and_is_left_alone(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim was refused for all, and made again at each send."""
    bob, carol, dave = [await world.log_in(user, one_time_keys=2) for user in (BOB, CAROL, DAVE)]
    claim, asked = world.homeserver.keys.claim, list[list[str]]()

    def refuse(body: JsonObject) -> JsonObject:
        asked.append(list(body["one_time_keys"]))
        if BOB in body["one_time_keys"]:
            raise Refusal(400, {"errcode": "M_INVALID_PARAM"})
        return claim(body)

    monkeypatch.setattr(world.homeserver.keys, "claim", refuse)
    left_out = SentToDevice(delivered=True, missing=(bob.peer.address,))
    async with world.process() as device, world.process() as other:
        with device.subscribe(RequestGivenUp) as events, trio.fail_after(10):
            assert left_out == await device.ask(letter(carol, bob, dave))
            given_up = events.receive_nowait()
        assert (RequestKind.KEYS_CLAIM, (bob.peer.address,)) == (given_up.kind, given_up.devices)
        before = len(asked)
        for process in (device, other):
            assert left_out == await process.ask(letter(carol, bob, dave, n=2))
        assert before == len(asked)
        await trio.sleep(15)
        assert left_out == await other.ask(letter(carol, bob, n=3))
        assert [[BOB]] == asked[before:]
        assert [[1, 2, 2, 3], [1, 2, 2]] == [await read(carol), await read(dave)]
        monkeypatch.setattr(world.homeserver.keys, "claim", claim)
        await trio.sleep(30)
        assert SentToDevice(delivered=True, missing=()) == await other.ask(letter(bob, n=4))
    assert [4] == await read(bob)


def refuse_to_device(
    monkeypatch: pytest.MonkeyPatch, status: int, is_refused: Callable[[JsonObject], bool], errcode: str = "M_UNKNOWN"
) -> list[Request]:
    """Refuse requests by what they have for each user; the list gets those that were."""
    send, refused = World.send, list[Request]()

    async def refusing(self: World, request: Request) -> Response:
        if request.kind is RequestKind.TO_DEVICE and is_refused(json.loads(request.body)["messages"]):
            refused.append(request)
            return Response(status=status, body=json.dumps({"errcode": errcode}).encode())
        return await send(self, request)

    monkeypatch.setattr(World, "send", refusing)
    return refused


async def test_a_request_that_is_too_large_is_sent_in_parts(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody got anything, though each event is small."""
    others = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL, DAVE)]
    refused = refuse_to_device(monkeypatch, 413, lambda messages: len(messages) > 1)
    async with world.process() as device:
        with device.subscribe(RequestGivenUp) as events:
            assert SentToDevice(delivered=True, missing=()) == await device.ask(letter(*others))
            assert 0 == events.statistics().current_buffer_used
        assert () == await device.ask(OutgoingRequests())
    assert [[1], [1], [1]] == [await read(other) for other in others]
    assert 2 == len(refused)


async def test_an_event_that_is_sent_in_parts_arrives_before_later_ones(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts went out behind what had been sent to the same devices meanwhile."""
    others = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL, DAVE)]
    refused = refuse_to_device(monkeypatch, 413, lambda messages: not world.fail and len(messages) > 1)
    async with world.process() as device:
        await device.ask(letter(*others, n=0))
        world.fail = True
        assert not (await device.ask(letter(*others, n=1, patience=1))).delivered
        for each in others:
            assert not (await device.ask(letter(each, n=2, patience=1))).delivered
        world.fail = False
        await trio.sleep(60)
        assert () == await device.ask(OutgoingRequests())
    assert 4 == len(refused)
    assert [[0, 1, 2]] * 3 == [await read(other) for other in others]


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_is_refused_for_one_device_reaches_the_others_and_says_what_was_given_up(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, *, restarted: bool
) -> None:
    others = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL, DAVE)]
    given_up = RequestGivenUp(
        kind=RequestKind.TO_DEVICE,
        status=400,
        errcode="M_UNKNOWN",
        error=None,
        event_type=LETTER,
        devices=(others[1].peer.address,),
    )
    async with world.process() as device:
        await device.ask(letter(*others))
        refuse_to_device(monkeypatch, 400, lambda messages: CAROL in messages)
        if restarted:  # nobody waits any more
            world.fail = True
            assert not (await device.ask(letter(*others, n=2, patience=1))).delivered
    async with world.process() as device:
        with device.subscribe(RequestGivenUp) as events:
            if restarted:
                world.fail = False
                await trio.sleep(60)
            else:
                with pytest.raises(RequestRefused) as error:
                    await device.ask(letter(*others, n=2))
                assert (RequestKind.TO_DEVICE, 400) == (error.value.kind, error.value.status)
            assert given_up == events.receive_nowait()
            assert 0 == events.statistics().current_buffer_used
        assert () == await device.ask(OutgoingRequests())
    assert [[1, 2], [1], [1, 2]] == [await read(other) for other in others]


async def test_more_refusals_than_are_kept_do_not_make_it_a_success(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the whole had gone first, though each part's is one of it, too."""
    monkeypatch.setattr("olmstate.actors._requests.courier.REFUSALS_KEPT", 5)
    others = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL, DAVE, "@eve:example.org")]
    refused = refuse_to_device(monkeypatch, 400, lambda messages: messages.keys() != {"@eve:example.org"})
    async with world.process() as device:
        with pytest.raises(RequestRefused):
            await device.ask(letter(*others))
    assert 6 == len(refused)
    assert [[], [], [], [1]] == [await read(other) for other in others]


@pytest.mark.parametrize("devices", [(), (DeviceId("ONE"),)])
async def test_what_the_library_sends_by_itself_is_named_too(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, devices: tuple[DeviceId, ...]
) -> None:
    """Nobody waits for it: the app was told no more than that something for devices was given up."""
    one, two = [await world.log_in(BOB, name) for name in ("ONE", "TWO")]
    refuse_to_device(monkeypatch, 400, lambda messages: "ONE" in messages[BOB])
    async with world.process() as device:
        await device.ask(UpdateDevices(users=(BOB,)))
        with device.subscribe(RequestGivenUp) as events:
            await device.ask(RequestVerification(user_id=BOB, devices=devices))
            await trio.sleep(5)
            given_up = events.receive_nowait()
            assert 0 == events.statistics().current_buffer_used
    assert ("m.key.verification.request", (one.peer.address,)) == (given_up.event_type, given_up.devices)
    answer = await two.session.sync(None)
    others = [] if devices else ["m.key.verification.request"]
    assert others == [event["type"] for event in answer["to_device"]["events"]]


async def test_a_homeserver_that_knows_no_such_request_is_not_asked_in_parts(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [await world.log_in(user, one_time_keys=1) for user in (BOB, CAROL)]
    refused = refuse_to_device(monkeypatch, 404, lambda _: True, "M_UNRECOGNIZED")
    async with world.process() as device:
        with device.subscribe(RequestGivenUp) as events:
            with pytest.raises(RequestRefused):
                await device.ask(letter(*others))
            assert {other.peer.address for other in others} == {*events.receive_nowait().devices}
    assert 1 == len(refused)


# --- whatever becomes of the process ------------------------------------------------------------------------


async def outgoing(device: Supervisor) -> tuple[Request, ...]:
    return tuple(each for each in await device.ask(OutgoingRequests()) if each.kind is RequestKind.TO_DEVICE)


async def test_by_hand_it_is_among_the_outgoing_requests_the_same_after_a_restart(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        await device.ask(letter(bob))
    assert [1] == await read(bob)
    async with world.process(transport=False) as device:
        assert SentToDevice(delivered=False, missing=()) == await device.ask(letter(bob, n=2))
        (request,) = await outgoing(device)
    async with world.process(transport=False) as device:
        assert (request,) == await outgoing(device)
        for _ in range(2):  # the homeserver passes over the second
            await world.session.request(request.method, request.path, json.loads(request.body))
        await device.ask(MarkRequestSent(request_id=request.request_id, response={}))
        assert () == await outgoing(device)
    assert [2] == await read(bob)


async def test_by_hand_nothing_is_stored_before_all_devices_can_be_written_to(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process(transport=False) as device:
        for kind in (RequestKind.KEYS_QUERY, RequestKind.KEYS_CLAIM):
            with pytest.raises(NoTransport):
                await device.ask(letter(bob))
            (request,) = [each for each in await device.ask(OutgoingRequests()) if each.kind is kind]
            assert () == await outgoing(device)
            answer = await world.session.request(request.method, request.path, json.loads(request.body))
            await device.ask(MarkRequestSent(request_id=request.request_id, response=answer))
        assert SentToDevice(delivered=False, missing=()) == await device.ask(letter(bob))
        assert 1 == len(await outgoing(device))


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_killed_process_has_its_event_delivered_once_by_another(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    send, killed = World.send, trio.CancelScope()

    async def fatal(self: World, request: Request) -> Response:
        if request.kind is RequestKind.TO_DEVICE and not killed.cancel_called:
            if lost == "answer":
                await send(self, request)
            killed.cancel()
            await trio.sleep_forever()
        return await send(self, request)

    monkeypatch.setattr(World, "send", fatal)
    with killed:
        async with world.process() as device:
            await device.ask(letter(bob))
    assert killed.cancelled_caught
    async with world.process() as device:
        await trio.sleep(60)
        assert () == await outgoing(device)
    sent = [request for request in world.asked if request.kind is RequestKind.TO_DEVICE]
    assert 1 == len({(request.path, request.body) for request in sent})
    assert [1] == await read(bob)
