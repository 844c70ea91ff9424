"""Trouble from outside: somebody removes or replaces the lock's files while they are in use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio

from olmstate.messages import RotateRoomKey, Statistics, StoreBusy, StorePoisoned
from olmstate.storage.lock.line import PLACES
from tests.faults.client import BUSY, OPTIONS, SHARED, check, look, open_client, send
from tests.faults.homeserver import Homeserver
from tests.faults.world import World

TWO_HOLDERS = "one at a time"
"""The rule that falls with the lock file."""


def _replace(path: Path) -> None:
    path.unlink()
    path.touch(mode=0o600)


@pytest.mark.parametrize("meddle", [Path.unlink, _replace])
async def test_a_turn_whose_lock_file_was_removed_or_replaced_ends_with_nothing_written(
    world: World, meddle: Callable[[Path], None]
) -> None:
    homeserver = world.homeserver()

    async def halfway() -> None:
        meddle(world.store / "lock")
        await _somebody_else_works(world, homeserver)

    async with open_client(world.store, homeserver, halfway=halfway) as (supervisor, _):
        with pytest.raises(StorePoisoned, match="lock file"):
            await supervisor.ask(RotateRoomKey(room_id=BUSY))
        with pytest.raises(StorePoisoned, match="lock file"):
            await send(supervisor, homeserver, SHARED, 1)
    await look(world.store, homeserver)
    homeserver.judge(TWO_HOLDERS)


async def test_who_waits_for_a_lock_file_that_was_replaced_waits_for_who_holds_it(world: World) -> None:
    homeserver = world.homeserver()
    impatient = attrs.evolve(OPTIONS, lock_timeout=0.2)
    async with open_client(world.store, homeserver, options=impatient) as (other, _):

        async def halfway() -> None:
            _replace(world.store / "lock")
            with pytest.raises(StoreBusy):
                await other.ask(RotateRoomKey(room_id=BUSY))

        async with open_client(world.store, homeserver, halfway=halfway) as (supervisor, _):
            with pytest.raises(StorePoisoned, match="lock file"):
                await supervisor.ask(RotateRoomKey(room_id=BUSY))
        await other.ask(RotateRoomKey(room_id=BUSY))
        await send(other, homeserver, BUSY, 1)
    homeserver.judge()


async def test_a_lock_file_that_is_back_in_its_place_unnoticed_is_made_up_for_by_the_fence(world: World) -> None:
    homeserver = world.homeserver()
    lock, aside = world.store / "lock", world.store / "aside"

    async def halfway() -> None:
        lock.rename(aside)
        await _somebody_else_works(world, homeserver)
        aside.rename(lock)

    async with open_client(world.store, homeserver, halfway=halfway) as (supervisor, store):
        await send(supervisor, homeserver, BUSY, 30)
        assert (await supervisor.ask(Statistics())).fenced == 1
        await check(supervisor, store, homeserver)
    homeserver.judge(TWO_HOLDERS)


async def _somebody_else_works(world: World, homeserver: Homeserver) -> None:
    """Take what is the lock for who comes now, and send in the same room."""
    async with open_client(world.store, homeserver) as (other, _):
        await send(other, homeserver, BUSY, 10)


@pytest.mark.parametrize("meddle", [Path.unlink, _replace])
async def test_without_its_turn_file_the_lock_is_only_less_fair(world: World, meddle: Callable[[Path], None]) -> None:
    homeserver = world.homeserver()
    async with (
        open_client(world.store, homeserver) as (first, _),
        open_client(world.store, homeserver) as (second, _),
        trio.open_nursery() as nursery,
    ):
        for supervisor in (first, second):
            for _ in range(2):
                nursery.start_soon(send, supervisor, homeserver, SHARED, 30)
        for _ in range(5):
            await send(first, homeserver, SHARED, 3)
            for place in PLACES:
                meddle(world.store / place)
            await send(second, homeserver, SHARED, 3)
    homeserver.log.write("calm")
    homeserver.judge()
