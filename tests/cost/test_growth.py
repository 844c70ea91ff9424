"""Work grows with its own input, at most as fast, and with nothing else; counted in calls."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from olmstate.actors._engine.cache import Cache
from olmstate.actors._room_keys.message_indices import BLOCK, UsedIndices, UsedIndicesCodec, merge
from olmstate.actors._wire.steps import at_once
from olmstate.messages import AddDevices, CreateAccount
from olmstate.storage import Table
from tests.cost.asks import ASKS, OF_ONE_SIZE, fill
from tests.cost.conftest import opened
from tests.cost.longest_step import lines_of, longest_step
from tests.simulation.messages import all_messages

SMALL, LARGE = 12, 120
FEW = 5
NOTHING = AddDevices(response={"device_keys": {}})
"""A turn, that writes what a query before it has left to be written."""


async def cost_of(name: str, size: int, folder: Path, *, filled: int = 0) -> int:
    """What an ask of a size costs with nothing cached, and what comes after it."""
    async with opened(folder) as supervisor:
        await supervisor.ask(CreateAccount())
        if filled:
            await fill(supervisor, filled)
        message = await ASKS[name](supervisor, size)
    async with opened(folder) as supervisor:
        await supervisor.ask(NOTHING)  # it is awake
        async with longest_step() as counted:
            await supervisor.ask(message)
            await supervisor.ask(NOTHING)
    return counted.total


def test_every_message_is_asked_with_more_or_has_no_more() -> None:
    sized = {name.partition(",")[0] for name in ASKS}
    fixed = [cls.__name__ for cls in OF_ONE_SIZE]
    assert sorted([*sized, *fixed]) == sorted(cls.__name__ for cls in all_messages())


@pytest.mark.parametrize("name", ASKS)
async def test_ten_times_the_input_is_ten_times_the_work(name: str, tmp_path: Path) -> None:
    small = await cost_of(name, SMALL, tmp_path / "small")
    large = await cost_of(name, LARGE, tmp_path / "large")
    assert large < 10**1.1 * small


@pytest.mark.parametrize("name", ASKS)
async def test_ten_times_the_store_is_no_more_work(name: str, tmp_path: Path) -> None:
    small = await cost_of(name, FEW, tmp_path / "small", filled=SMALL)
    large = await cost_of(name, FEW, tmp_path / "large", filled=LARGE)
    assert large < 10**0.1 * small


async def test_one_more_event_of_a_long_session_costs_no_more_than_of_a_short_one(tmp_path: Path) -> None:
    name = "DecryptRoomEvent, of a long session"
    small, large = [await cost_of(name, size, tmp_path / f"{size}") for size in (2, 200)]
    assert large < 1.1 * small


def test_indices_that_are_far_apart_are_written_in_time_that_grows_with_their_number() -> None:
    """In lines, since a loop in a comprehension makes no calls."""
    costs = [lines_of(partial(_write, number)) for number in (40, 400)]
    assert costs[1] < 10**1.1 * costs[0]


def _write(number: int) -> None:
    cache = Cache[UsedIndices](Table.MESSAGE_INDICES, UsedIndicesCodec(), 0)
    for block in range(number):
        unit = block.to_bytes(32, "big")
        at_once(cache.fill({unit: ()}) if cache.missing([unit], committed=False) else cache.fill({}))
        merge(cache.change(unit), {block * BLOCK: "a hash"})
    assert number == len(at_once(cache.changed_rows()))
