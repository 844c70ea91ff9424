"""Two devices that verify each other are killed at each system call that touches their stores, and verify each other.

Whoever comes after them goes on: no step is lost, none is done twice, and nobody is half verified.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio

from olmstate.messages import VerificationMethod
from tests.faults.cores import desks, share
from tests.faults.strace import Point, attached, kill_at_each, points
from tests.faults.tally import settle
from tests.faults.test_kill_points import REACHED, sample
from tests.faults.verifying import files, play, prepare
from tests.faults.worker import Workers

SAMPLE = 6
"""Points in the short form, beside one of each kind of call."""


@attrs.define
class Killer:
    """Lets both devices die in one copy of a beginning after another."""

    beginning: Path
    folder: Path
    workers: Workers

    def run(self, *options: str) -> int:
        """Let them verify under strace, then go on; how their process has ended."""
        world = self.folder / "world"
        shutil.rmtree(world, ignore_errors=True)
        shutil.copytree(self.beginning, world)
        pid = self.workers.start(world, self.folder / "journal", "verify")
        with attached(pid, self.folder / "trace", files(world), *options):
            status = self.workers.go()
        trio.run(play, world)
        return status

    def points(self) -> list[Point]:
        """All calls of a verification in which nobody dies."""
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
    trio.run(prepare, beginning, method)
    with desks(memory_folder, 2 if full else 1) as places:
        killers = [Killer(beginning, folder, workers) for folder, workers in places]
        found = killers[0].points()
        chosen = found if full else sample(found, SAMPLE)
        outcomes = share(killers, Killer.kill, chosen)
    settle(f"kill -9 in a verification: {method.value}", outcomes, f"{len(outcomes)} of {len(found)} calls")
    assert len(outcomes) >= len(chosen) * REACHED, "too few of the points were ever reached"
