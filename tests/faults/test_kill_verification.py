"""Two devices that verify each other, or send each other secrets, are killed at each system call on their stores.

Whoever comes after them goes on: no step is lost, none is done twice, nobody is half verified, each secret is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from olmstate.messages import VerificationMethod
from tests.faults import gossiping, verifying
from tests.faults.cores import desks, share
from tests.faults.strace import Point, attached, kill_at_each, points
from tests.faults.tally import settle
from tests.faults.test_kill_points import REACHED, sample
from tests.faults.two_devices import Devices, files
from tests.faults.worker import Workers

SAMPLE = 6
"""Points in the short form, beside one of each kind of call."""


@attrs.define
class Killer:
    """Lets both devices die in one copy of a beginning after another."""

    task: str
    """The worker's."""
    go_on: Callable[[Path], Awaitable[None]]
    devices: Devices
    beginning: Path
    folder: Path
    workers: Workers

    def run(self, *options: str) -> int:
        """Let them do it under strace, then go on; how their process has ended."""
        world = self.folder / "world"
        shutil.rmtree(world, ignore_errors=True)
        shutil.copytree(self.beginning, world)
        pid = self.workers.start(world, self.folder / "journal", self.task)
        with attached(pid, self.folder / "trace", files(world, self.devices), *options):
            status = self.workers.go()
        trio.run(self.go_on, world)
        return status

    def points(self) -> list[Point]:
        """All calls of a run in which nobody dies."""
        assert 0 == self.run()
        return points(self.folder / "trace")

    def kill(self, chosen: Sequence[Point]) -> dict[Point, str | None]:
        """See `kill_at_each`."""
        return kill_at_each(chosen, self.run)


@pytest.mark.parametrize("method", [VerificationMethod.SAS, VerificationMethod.SCAN_QR])
@pytest.mark.usefixtures("strace")
def test_both_verify_each_other_wherever_their_processes_are_killed(
    method: VerificationMethod,
    full: bool,  # noqa: FBT001 - a fixture
    memory_folder: Path,
) -> None:
    beginning = memory_folder / "beginning"
    trio.run(verifying.prepare, beginning, method)
    killer = partial(Killer, "verify", verifying.play, verifying.BOTH, beginning)
    kill_at_each_call(killer, memory_folder, f"kill -9 in a verification: {method.value}", full=full)


@pytest.mark.parametrize("task", ["gossip", "recover"])
@pytest.mark.usefixtures("strace")
def test_a_new_device_has_all_secrets_wherever_processes_are_killed(
    task: str,
    full: bool,  # noqa: FBT001 - a fixture
    memory_folder: Path,
) -> None:
    beginning = memory_folder / "beginning"
    trio.run(gossiping.prepare, beginning)
    killer = partial(Killer, task, getattr(gossiping, task), gossiping.BOTH, beginning)
    kill_at_each_call(killer, memory_folder, f"kill -9 while secrets come: {task}", full=full)


def kill_at_each_call(killer: Callable[[Path, Workers], Killer], folder: Path, harness: str, *, full: bool) -> None:
    """Or, in the short form, at a sample of them."""
    with desks(folder, 2 if full else 1) as places:
        killers = [killer(place, workers) for place, workers in places]
        found = killers[0].points()
        chosen = found if full else sample(found, SAMPLE)
        outcomes = share(killers, Killer.kill, chosen)
    settle(harness, outcomes, f"{len(outcomes)} of {len(found)} calls")
    assert len(outcomes) >= len(chosen) * REACHED, "too few of the points were ever reached"
