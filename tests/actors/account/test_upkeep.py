"""Keys are uploaded by themselves, and no one-time key is offered twice."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    JsonObject,
    OutgoingRequests,
    ReceiveSync,
    Request,
    RequestGivenUp,
    RequestKind,
    Response,
    SignedDeviceKeys,
    Statistics,
    SyncToken,
)
from tests.actors.world import World
from tests.peer.key_server import PublishedKeys
from tests.peer.session import RequestRefused


def published(world: World) -> PublishedKeys:
    return world.homeserver.keys.devices[USER, DEVICE]


def offered(world: World) -> Counter[str]:
    """How often each one-time key was sent to the homeserver, whatever became of it."""
    uploads = (each for each in world.asked if each.kind is RequestKind.KEYS_UPLOAD)
    bodies = {each.request_id: each.body for each in uploads}
    keys = Counter[str]()
    for body in bodies.values():
        keys.update(parsed(body).get("one_time_keys", {}).keys())
    return keys


def parsed(body: bytes) -> JsonObject:
    found: JsonObject = json.loads(body)
    return found


async def claim(world: World, number: int) -> None:
    for _ in range(number):
        world.homeserver.keys.claim({"one_time_keys": {USER: {DEVICE: "signed_curve25519"}}})


async def sync(world: World, device: Supervisor) -> None:
    since = await device.ask(SyncToken())
    answer = await world.session.sync(since)
    await device.ask(ReceiveSync(sync=answer, since=since))


async def test_a_new_devices_keys_are_uploaded(world: World, autojump_clock: MockClock) -> None:
    async with world.process() as device:
        await trio.sleep(20)
        keys = published(world)
        assert await device.ask(SignedDeviceKeys()) == keys.device_keys
        assert 50 == len(keys.one_time_keys)
        assert keys.fallback_key is not None


async def test_keys_that_were_claimed_are_made_up_for(world: World, autojump_clock: MockClock) -> None:
    async with world.process() as device:
        await trio.sleep(20)
        await claim(world, 20)
        await sync(world, device)
        await trio.sleep(20)
        assert 50 == len(published(world).one_time_keys)
        assert {1} == set(offered(world).values())


async def test_a_fallback_key_that_was_used_is_replaced(world: World, autojump_clock: MockClock) -> None:
    async with world.process() as device:
        await trio.sleep(20)
        first = published(world).fallback_key
        await claim(world, 51)
        await trio.sleep(3600)
        await sync(world, device)
        await trio.sleep(20)
        assert first != published(world).fallback_key


async def test_several_processes_upload_once(world: World, autojump_clock: MockClock) -> None:
    async with world.process() as one, world.process(), world.process():
        await trio.sleep(60)
        await claim(world, 30)
        await sync(world, one)
        await trio.sleep(60)
        assert 50 == len(published(world).one_time_keys)
        assert {1} == set(offered(world).values())
        assert 80 == offered(world).total()


async def test_with_nothing_due_there_is_no_turn(world: World, autojump_clock: MockClock) -> None:
    async with world.process() as device:
        await trio.sleep(20)
        await sync(world, device)
        before, asked = (await device.ask(Statistics())).turns, len(world.asked)
        await trio.sleep(600)
        assert (before, asked) == ((await device.ask(Statistics())).turns, len(world.asked))


async def test_an_upload_whose_answer_is_lost_offers_no_key_again(world: World, autojump_clock: MockClock) -> None:
    real, lost = world.send, 0

    async def lose_the_answer(request: Request) -> Response:
        nonlocal lost
        response = await real(request)
        if request.kind is RequestKind.KEYS_UPLOAD and not lost:
            lost += 1
            await claim(world, 10)  # a homeserver forgets these, and would take them anew
            raise ConnectionResetError
        return response

    world.send = lose_the_answer  # type: ignore[method-assign] # of the processes to come
    async with world.process() as device:
        await trio.sleep(600)
        await sync(world, device)
        await trio.sleep(600)
        assert 1 == lost
        assert {1} == set(offered(world).values())
        assert len(published(world).one_time_keys) >= 50


async def test_an_upload_that_a_killed_process_has_sent_offers_no_key_again(
    world: World, autojump_clock: MockClock
) -> None:
    real = world.send

    async def never_answer(request: Request) -> Response:
        await real(request)
        await trio.sleep_forever()
        raise AssertionError

    world.send = never_answer  # type: ignore[method-assign] # of the process that is killed
    async with world.process():
        await trio.sleep(20)
    world.send = real  # type: ignore[method-assign] # as it was
    await claim(world, 10)
    async with world.process() as device:
        await trio.sleep(600)
        await sync(world, device)
        await trio.sleep(600)
        assert {1} == set(offered(world).values())
        assert len(published(world).one_time_keys) >= 50


async def test_an_upload_that_was_never_sent_is_lost_and_others_are_made(
    world: World, autojump_clock: MockClock
) -> None:
    """Nobody knows that it was not."""
    async with world.process(transport=False) as device:
        (upload,) = [each for each in await device.ask(OutgoingRequests()) if each.kind is RequestKind.KEYS_UPLOAD]
        assert (upload,) == tuple(
            each for each in await device.ask(OutgoingRequests()) if each.kind is RequestKind.KEYS_UPLOAD
        )
    async with world.process() as device:
        await trio.sleep(600)
        await sync(world, device)
        await trio.sleep(60)
        assert 50 == len(published(world).one_time_keys)
        assert not parsed(upload.body)["one_time_keys"].keys() & offered(world).keys()


async def test_a_homeserver_that_is_down_is_asked_less_and_less(world: World, autojump_clock: MockClock) -> None:
    world.fail = True
    async with world.process():
        await trio.sleep(6 * 3600)
        assert 20 < len(world.asked) < 50  # each quarter of an hour, at last
        world.fail = False
        await trio.sleep(3600)
        assert len(published(world).one_time_keys) >= 50


async def test_an_upload_that_an_outage_has_cost_is_made_up_for_with_the_first_answer(
    world: World, autojump_clock: MockClock
) -> None:
    """It waited its pause, though all else that had waited was on its way."""
    async with world.process() as device:
        await trio.sleep(20)
        await claim(world, 20)
        world.fail = True
        await sync(world, device)
        await trio.sleep(1)
        world.fail = False
        await sync(world, device)
        await trio.sleep(2)
        assert 50 == len(published(world).one_time_keys)
        assert {1} == set(offered(world).values())


async def test_uploads_that_never_get_through_are_not_repeated_by_the_answers_of_others(
    world: World, autojump_clock: MockClock
) -> None:
    send = world.send

    async def lose_uploads(request: Request) -> Response:
        if request.kind is RequestKind.KEYS_UPLOAD:
            world.asked.append(request)
            return Response(status=504, body=b"")
        return await send(request)

    async with world.process() as device:
        await trio.sleep(20)
    world.send = lose_uploads  # type: ignore[method-assign] # of the process to come
    async with world.process() as device:
        await claim(world, 20)
        before = len(world.asked)
        for _ in range(360):
            await sync(world, device)
            await trio.sleep(10)
    assert len(world.asked) - before in range(8, 20)


async def test_keys_that_the_homeserver_refuses_are_told_of_and_the_rest_goes_on(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, refused = world.homeserver.keys.upload, 0

    def refuse(user_id: str, device_id: str, body: JsonObject) -> JsonObject:
        nonlocal refused
        if body.get("one_time_keys") and not refused:
            refused += 1
            raise RequestRefused(400, {"errcode": "M_UNKNOWN", "error": "One time key already exists"})
        return upload(user_id, device_id, body)

    monkeypatch.setattr(world.homeserver.keys, "upload", refuse)
    async with world.process() as device:
        with device.subscribe(RequestGivenUp) as events:
            await trio.sleep(600)
            await sync(world, device)
            await trio.sleep(600)
            told = events.receive_nowait()
            assert (RequestKind.KEYS_UPLOAD, 400, "M_UNKNOWN") == (told.kind, told.status, told.errcode)
        assert len(published(world).one_time_keys) >= 50
        assert {1} == set(offered(world).values())
