"""Everything that can be asked, in any order, of several supervisors on one store, against a plain model."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.fleet import Fleet
from tests.stateful.hosts import LocalHost, open_remote_hosts
from tests.stateful.machine import DeviceMachine

EXAMPLES = 40
EXAMPLES_IN_CI = 200


def run_machine(fleet: Fleet, examples: int) -> None:
    """Run the machine on ``fleet``; in a thread, since it is not written for Trio."""

    class OnFleet(DeviceMachine):
        pass

    OnFleet.fleet = fleet
    run_state_machine_as_test(
        OnFleet,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            database=None,
            derandomize=True,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.fixture
def examples(pytestconfig: pytest.Config) -> int:
    """How many examples: all of them in CI and in the long form."""
    thorough = pytestconfig.getoption("--full") or settings().max_examples >= EXAMPLES_IN_CI
    return EXAMPLES_IN_CI if thorough else EXAMPLES


async def test_two_supervisors_in_one_process_answer_as_the_model_does(tmp_path: Path, examples: int) -> None:
    async with trio.open_nursery() as nursery:
        fleet = Fleet([LocalHost(nursery) for _ in range(2)], tmp_path, capacities=(None, 2))
        await trio.to_thread.run_sync(run_machine, fleet, examples)


async def test_four_processes_answer_as_the_model_does(tmp_path: Path, examples: int) -> None:
    async with open_remote_hosts(4) as hosts:
        fleet = Fleet(hosts, tmp_path, capacities=(None, 0, 1))
        await trio.to_thread.run_sync(run_machine, fleet, examples)
