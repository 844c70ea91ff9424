"""A device is known to its homeserver before others look for it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    DeviceIdentity,
    IdentityKeys,
    MarkKeysPublished,
    NoTransport,
    PrepareOneTimeKeys,
    PublishAccount,
    Request,
    RequestDelayed,
    RequestKind,
    RequestRefused,
    Response,
    SignedDeviceKeys,
    Statistics,
)
from tests.actors.world import World


def uploads(world: World) -> list[Request]:
    return [each for each in world.asked if each.kind is RequestKind.KEYS_UPLOAD]


async def test_once_it_is_published_anybody_can_begin_a_session(world: World, autojump_clock: MockClock) -> None:
    async with world.process(account=False) as device:
        identity = await device.ask(PublishAccount())
        assert identity == await device.ask(IdentityKeys())
        published = world.homeserver.keys.devices[USER, DEVICE]
        assert await device.ask(SignedDeviceKeys()) == published.device_keys
        assert 50 == len(published.one_time_keys)
        assert published.fallback_key is not None


async def test_a_published_device_asks_nobody_and_takes_no_turn(world: World, autojump_clock: MockClock) -> None:
    async with world.process(account=False) as device:
        await device.ask(PublishAccount())
    asked, generation = len(world.asked), world.disk.generation
    async with world.process(transport=False, account=False) as device:
        await device.ask(PublishAccount())
        assert (asked, generation, 0) == (
            len(world.asked),
            world.disk.generation,
            (await device.ask(Statistics())).turns,
        )


async def test_a_device_that_was_published_by_hand_is(world: World) -> None:
    async with world.process(transport=False) as device:
        with pytest.raises(NoTransport):
            await device.ask(PublishAccount())
        keys = await device.ask(PrepareOneTimeKeys())
        await device.ask(MarkKeysPublished(key_ids=keys.key_ids))
        assert await device.ask(IdentityKeys()) == await device.ask(PublishAccount())


async def test_several_processes_publish_one_account_with_one_upload(world: World, autojump_clock: MockClock) -> None:
    identities: list[DeviceIdentity] = []

    async def publish() -> None:
        async with world.process(account=False) as device:
            identities.append(await device.ask(PublishAccount()))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(publish)
    assert 4 == len(identities)
    assert 1 == len(set(identities)) == len(uploads(world))


async def test_it_waits_for_a_server_that_comes_back(world: World, autojump_clock: MockClock) -> None:
    async with world.process(account=False) as device, trio.open_nursery() as nursery:
        world.fail = True
        nursery.start_soon(device.ask, PublishAccount())
        await trio.sleep(10)
        assert 1 == len(uploads(world))
        world.fail = False
    assert world.homeserver.keys.devices[USER, DEVICE].fallback_key is not None


async def test_it_says_when_it_takes_too_long_and_is_published_later(world: World, autojump_clock: MockClock) -> None:
    world.fail = True
    async with world.process(account=False) as device:
        with pytest.raises(RequestDelayed):
            await device.ask(PublishAccount(patience=20))
        assert 2 == len(uploads(world))
        world.fail = False
        await trio.sleep(60)
        assert await device.ask(SignedDeviceKeys()) == world.homeserver.keys.devices[USER, DEVICE].device_keys


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refusal_is_told(status: int, world: World, autojump_clock: MockClock) -> None:
    async def refuse(request: Request) -> Response:
        return Response(status=status, body=b'{"errcode":"M_UNKNOWN"}')

    world.send = refuse  # type: ignore[method-assign] # of the processes to come
    async with world.process(account=False) as device:
        with pytest.raises(RequestRefused) as raised:
            await device.ask(PublishAccount())
        assert status == raised.value.status
