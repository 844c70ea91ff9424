"""Everything that can be asked, in any order, of several supervisors on one store, against a plain model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from olmstate.actors._account.actor import AccountActor
from olmstate.actors._engine.actor import Invalidate, Notice
from olmstate.actors._engine.runner import Runner
from olmstate.actors._rooms.actor import OutboundGroupSessionsActor, OutboundSession, Reservation
from tests.stateful.fleet import Fleet
from tests.stateful.hosts import LocalHost, open_remote_hosts
from tests.stateful.machine import DeviceMachine

EXAMPLES = 40
EXAMPLES_IN_CI = 200


def run_machine(fleet: Fleet, chosen: settings) -> None:
    """Run the machine on ``fleet``; in a thread, since it is not written for Trio."""

    class OnFleet(DeviceMachine):
        pass

    OnFleet.fleet = fleet
    run_state_machine_as_test(OnFleet, settings=chosen)


@pytest.fixture
def chosen(pytestconfig: pytest.Config) -> settings:
    """Always the same examples, more of them in CI; in the long form, always others."""
    full = bool(pytestconfig.getoption("--full"))
    return settings(
        max_examples=EXAMPLES_IN_CI if full or settings().max_examples >= EXAMPLES_IN_CI else EXAMPLES,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=not full,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


async def test_two_supervisors_in_one_process_answer_as_the_model_does(tmp_path: Path, chosen: settings) -> None:
    async with trio.open_nursery() as nursery:
        fleet = Fleet([LocalHost(nursery) for _ in range(2)], tmp_path, capacities=(None, 2))
        await trio.to_thread.run_sync(run_machine, fleet, chosen)


async def test_four_processes_answer_as_the_model_does(tmp_path: Path, chosen: settings) -> None:
    async with open_remote_hosts(4) as hosts:
        fleet = Fleet(hosts, tmp_path, capacities=(None, 0, 1))
        await trio.to_thread.run_sync(run_machine, fleet, chosen)


# --- the machine itself: what is broken, it must find


def deaf(patch: pytest.MonkeyPatch) -> None:
    """Supervisors whose actors don't hear of others' writes."""
    notify = Runner._notify  # pyright: ignore[reportPrivateUsage]

    def only_own(self: Runner, notice: Notice) -> None:
        if not isinstance(notice, Invalidate) or not notice.partitions:
            notify(self, notice)

    patch.setattr(Runner, "_notify", only_own)


def greedy(patch: pytest.MonkeyPatch) -> None:
    """Supervisors that begin with the indices that others have reserved."""
    unpickle = OutboundGroupSessionsActor._unpickle  # pyright: ignore[reportPrivateUsage]

    def from_the_start(self: OutboundGroupSessionsActor, session: OutboundSession) -> Reservation:
        return unpickle(self, msgspec.structs.replace(session, reserved=0))

    patch.setattr(OutboundGroupSessionsActor, "_unpickle", from_the_start)


def wasteful(patch: pytest.MonkeyPatch) -> None:
    """Supervisors that make new one-time keys though nobody knows what became of the last ones."""
    make_keys = AccountActor._make_keys  # pyright: ignore[reportPrivateUsage]

    def make_all(self: AccountActor, now: int) -> object:
        self._current().keys.settle(landed=False)  # pyright: ignore[reportPrivateUsage]
        return make_keys(self, now)

    patch.setattr(AccountActor, "_make_keys", make_all)


@pytest.mark.parametrize("fault", [deaf, greedy, wasteful])
async def test_a_broken_supervisor_is_found(
    fault: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, chosen: settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    until_found = settings(chosen, phases=[Phase.generate], report_multiple_bugs=False)

    with pytest.RaisesGroup(Exception):
        async with trio.open_nursery() as nursery:
            fleet = Fleet([LocalHost(nursery) for _ in range(2)], tmp_path)
            await trio.to_thread.run_sync(run_machine, fleet, until_found)
