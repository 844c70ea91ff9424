"""Lanes stay abreast, and the slowest never waits."""

from __future__ import annotations

import pytest
import trio

from olmstate.cli.demo._pace import SLACK, Pace


async def test_all_lanes_get_to_the_end_and_none_runs_ahead() -> None:
    lanes = {"few": 7, "many": 1000, "some": 50}
    pace = Pace(lanes)
    largest_lead = 0.0

    async def go(lane: str) -> None:
        nonlocal largest_lead
        for _ in range(lanes[lane]):
            await pace.keep(lane)
            largest_lead = max(largest_lead, pace.part(lane) - min(map(pace.part, lanes)))
            await trio.lowlevel.checkpoint()
            pace.done(lane)

    async with trio.open_nursery() as nursery:
        for lane in lanes:
            nursery.start_soon(go, lane)

    assert [1.0, 1.0, 1.0] == [pace.part(lane) for lane in lanes]
    assert largest_lead <= SLACK + 1e-9


@pytest.mark.parametrize("steps", [0, 1])
async def test_a_lane_with_next_to_nothing_to_do_holds_nobody_up(steps: int) -> None:
    pace = Pace({"nothing": steps, "something": 10})
    pace.done("nothing", steps)

    for _ in range(10):
        await pace.keep("something")
        pace.done("something")

    assert pace.part("something") == 1.0
