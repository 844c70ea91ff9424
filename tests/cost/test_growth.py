"""Work grows with its own input, at most as fast, and with nothing else; counted in calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from olmstate.actors import Supervisor
from olmstate.messages import CreateAccount, Message
from tests.cost.asks import ASKS, fill
from tests.cost.conftest import opened
from tests.cost.longest_step import longest_step

SMALL, LARGE = 20, 200
FEW = 5


async def cost_of(supervisor: Supervisor, message: Message[Any]) -> int:
    async with longest_step() as counted:
        await supervisor.ask(message)
    return counted.total


@pytest.mark.parametrize("name", ASKS)
async def test_ten_times_the_input_is_ten_times_the_work(name: str, alice: Supervisor) -> None:
    small = await cost_of(alice, await ASKS[name](alice, SMALL))
    large = await cost_of(alice, await ASKS[name](alice, LARGE))
    assert large < 10**1.1 * small


@pytest.mark.parametrize("name", ASKS)
async def test_ten_times_the_store_is_no_more_work(name: str, tmp_path: Path) -> None:
    costs: list[int] = []
    for size in (SMALL, LARGE):
        async with opened(tmp_path / f"{size}") as supervisor:
            await supervisor.ask(CreateAccount())
            await fill(supervisor, size)
            message = await ASKS[name](supervisor, FEW)
        async with opened(tmp_path / f"{size}") as supervisor:
            await supervisor.ask(await ASKS["Devices"](supervisor, 1))  # it is awake
            costs.append(await cost_of(supervisor, message))
    assert costs[1] < 10**0.1 * costs[0]
