"""The system refuses a call, once or from then on; that is a typed error, and nothing is lost or reused after it.

The same as `test_kill_points`, but the call fails: as on a disk that breaks, is full, or was mounted read-only under
the feet of the process.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from tests.faults.cores import desks, share
from tests.faults.strace import Point, attached, points
from tests.faults.tally import settle
from tests.faults.worker import Failed, Workers
from tests.faults.world import World, copy_world, make_lived_in

ERRORS = {
    "openat": ("EACCES", "EMFILE", "EROFS", "EIO"),
    "mkdir": ("ENOSPC", "EROFS"),
    "rename": ("EIO", "EROFS"),
    "unlink": ("EACCES", "EROFS"),
    "pwrite64": ("EIO", "ENOSPC", "EDQUOT", "EROFS"),
    "ftruncate": ("EIO", "EROFS"),
    "fsync": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "fcntl": ("EIO", "ENOLCK"),
}
"""What a call may answer. Not ``flock``: half of its calls let a lock go, and no kernel ever refuses that."""
SAMPLE, FULL = 30, 320
ONCE = 8
"""Calls that are refused once, in the short form; the long one refuses each."""


@attrs.frozen(kw_only=True)
class Refusal:
    """Which call is refused, and how."""

    point: Point
    error: str
    for_ever: bool
    """Every later call of its kind is refused too."""

    @property
    def options(self) -> tuple[str, str]:
        """Strace's."""
        when = f"{self.point.number}{'+' if self.for_ever else ''}"
        return "-e", f"inject={self.point.call}:error={self.error}:when={when}"


@attrs.frozen
class Patient:
    """Lets a process live in one copy of a world after another, and fall ill."""

    beginning: World
    folder: Path
    workers: Workers
    task: str = "suffer"
    options: tuple[str, ...] = ()
    """Of strace: which calls are traced."""

    def points(self) -> list[Point]:
        """All calls of a round in which none is refused."""
        self._suffer(copy_world(self.beginning, self.folder / "world"))
        return points(self.folder / "trace")

    def refuse(self, refusals: Sequence[Refusal]) -> dict[Refusal, str | None]:
        """What is wrong after each, or None."""
        return {refusal: self._refuse_one(refusal) for refusal in refusals}

    def _refuse_one(self, refusal: Refusal) -> str | None:
        world = copy_world(self.beginning, self.folder / "world")
        try:
            self._suffer(world, *refusal.options)
            self.workers.start(world.store, world.journal)
            assert self.workers.go() == 0
        except Failed as failed:
            return str(failed)
        return None

    def _suffer(self, world: World, *options: str) -> None:
        pid = self.workers.start(world.store, world.journal, self.task)
        with attached(pid, self.folder / "trace", world.files(), *self.options, *options):
            assert self.workers.go() == 0


def _chosen(found: Sequence[Point], number: int) -> list[Refusal]:
    """So many different ones; each kind of call as often as the others, while it has any left."""
    rng = random.Random(number)
    by_call = [_refusals([point for point in found if point.call == call]) for call in sorted(ERRORS)]
    for refusals in by_call:
        rng.shuffle(refusals)
    in_turn = (refusal for row in itertools.zip_longest(*by_call) for refusal in row if refusal is not None)
    return list(itertools.islice(in_turn, number))


def _refusals(found: Sequence[Point]) -> list[Refusal]:
    """All that can befall one kind of call."""
    return [
        Refusal(point=point, error=error, for_ever=for_ever)
        for point in found
        for error in ERRORS[point.call]
        for for_ever in (False, True)
    ]


@pytest.mark.usefixtures("strace")
def test_a_call_that_is_refused_is_a_typed_error_and_nothing_is_lost_or_reused_after_it(
    full: bool,  # noqa: FBT001 - a fixture
    memory_folder: Path,
) -> None:
    beginning = make_lived_in(memory_folder / "beginning")
    with desks(memory_folder, 2 if full else 1) as places:
        patients = [Patient(beginning, folder, workers) for folder, workers in places]
        chosen = _chosen(patients[0].points(), FULL if full else SAMPLE)
        outcomes = share(patients, Patient.refuse, chosen)
    settle("system calls that fail", outcomes, f"{len(outcomes)} calls, seed {FULL if full else SAMPLE}")


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("calls", ["pread64,read", "openat"])
def test_one_call_that_is_refused_while_reading_costs_one_answer_at_most_and_is_never_called_damage(
    full: bool,  # noqa: FBT001 - a fixture
    memory_folder: Path,
    calls: str,
) -> None:
    # a read that failed once was told as damage, with the advice to restore a backup, which loses keys; and SQLite
    # opens a file read-only that it can't open otherwise just then, which was so for the handle's whole life
    beginning = make_lived_in(memory_folder / "beginning")
    with desks(memory_folder, 2 if full else 1) as places:
        patients = [
            Patient(beginning, folder, workers, "persist", ("-e", f"trace={calls}")) for folder, workers in places
        ]
        found = patients[0].points()
        errors = ["EIO"] if "read" in calls else ["EIO", "EACCES", "EMFILE", "EROFS"]
        chosen = [Refusal(point=point, error=error, for_ever=False) for point in found for error in errors]
        if not full:
            chosen = random.Random(ONCE).sample(chosen, min(ONCE, len(chosen)))
        outcomes = share(patients, Patient.refuse, chosen)
    settle(f"refused once: {calls}", outcomes, f"{len(outcomes)} of {len(found)} calls")
