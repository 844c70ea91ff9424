"""The power fails at any moment; whatever the disk then holds, nothing that was told to anybody is lost or reused.

One process does a round while every write and sync of its is recorded. From the record come the images that a disk
may hold after each step (`tests.faults.disk` says which those are), and a new process lives on each of them.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest

from tests.faults.cores import desks, share
from tests.faults.disk import OPTIONS, SHARED_MEMORY, Disk, Recording, files_below, record
from tests.faults.homeserver import Violated
from tests.faults.strace import attached
from tests.faults.tally import settle
from tests.faults.worker import Failed, Workers
from tests.faults.world import World, copy_world, make_lived_in, make_nothing

SCENARIOS: dict[str, tuple[Callable[[Path], World], bool]] = {
    "first open": (make_nothing, False),
    "upgrade": (make_lived_in, True),
}
"""What is there before, and whether the process is of the next version."""

SAMPLE = 30
"""Images of a scenario in the short form."""
FULL = 800
"""In the long form at least: one after each step, and more."""
CONTROL = 200
"""Images within which the fault of a store that doesn't sync must be found."""


@attrs.frozen(kw_only=True)
class Image:
    """Which image of a recording: the same seed makes the same choices, though of another run's writes."""

    steps: int
    seed: int

    def __str__(self) -> str:
        return f"step {self.steps}, seed {self.seed}"


@attrs.frozen(kw_only=True)
class Lab:
    """Makes images of one recording and lets processes live on them."""

    folder: Path
    recording: Recording
    next_version: bool
    workers: Workers

    def judge(self, images: Sequence[Image]) -> dict[Image, str | None]:
        """What is wrong with each image, or None."""
        return {image: self.judge_one(image) for image in images}

    def judge_one(self, image: Image) -> str | None:
        """What is wrong with one."""
        world = World(self.folder / "image")
        shutil.rmtree(world.folder, ignore_errors=True)
        disk = Disk.after(self.recording, image.steps)
        disk.write_image(world.folder, world.journal.name, random.Random(image.seed))
        self.workers.start(world.store, world.journal, next_version=self.next_version)
        try:
            assert self.workers.go() == 0
        except Failed as failed:
            return str(failed)
        return None


def make_recording(name: str, folder: Path, workers: Workers, *, unsafe: bool = False) -> Recording:
    """What a process does in a round."""
    make, next_version = SCENARIOS[name]
    before = make(folder / "before")
    world = copy_world(before, folder / "recorded")
    output = folder / "trace"
    pid = workers.start(world.store, world.journal, next_version=next_version, unsafe=unsafe)
    with attached(pid, output, [*world.files(), world.journal], *OPTIONS):
        assert workers.go() == 0
    recording = record(before.folder, world.folder, world.journal.name, output)
    _require_model_to_agree(recording, world)
    return recording


def _require_model_to_agree(recording: Recording, world: World) -> None:
    """Read as a process would, the model's disk holds just what the real one does: no call was misunderstood."""
    real = {name: content for name, content in files_below(world.folder) if not name.endswith(SHARED_MEMORY)}
    assert real.pop(world.journal.name) == bytes(Disk.after(recording, len(recording.steps)).told)
    assert real == Disk.after(recording, len(recording.steps)).contents()


def images(recording: Recording, number: int) -> list[Image]:
    """That many, spread over all steps; each step once if there are enough."""
    steps = len(recording.steps)
    chosen = [round(position * steps / number) for position in range(1, number + 1)]
    return [Image(steps=steps, seed=seed) for seed, steps in enumerate(chosen)]


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.usefixtures("strace")
def test_nothing_is_lost_or_reused_when_the_power_fails_at_any_moment(
    name: str,
    full: bool,  # noqa: FBT001 - a fixture
    memory_folder: Path,
) -> None:
    with desks(memory_folder, 2 if full else 1) as places:
        recording = make_recording(name, memory_folder, places[0][1])
        labs = [
            Lab(folder=folder, recording=recording, next_version=SCENARIOS[name][1], workers=workers)
            for folder, workers in places
        ]
        chosen = images(recording, max(FULL, len(recording.steps)) if full else SAMPLE)
        outcomes = share(labs, Lab.judge, chosen)
    steps = len({image.steps for image in outcomes})
    which = f"{len(outcomes)} images after {steps} of {len(recording.steps)} writes and syncs"
    settle(f"power loss: {name}", outcomes, which)


@pytest.mark.usefixtures("strace")
def test_the_harness_finds_fault_with_a_store_that_does_not_sync_its_commits(memory_folder: Path) -> None:
    with desks(memory_folder, 1) as ((folder, workers),):
        recording = make_recording("first open", memory_folder, workers, unsafe=True)
        lab = Lab(folder=folder, recording=recording, next_version=False, workers=workers)
        shuffled = random.Random(0).sample(images(recording, CONTROL), CONTROL)
        found = (wrong for image in shuffled if (wrong := lab.judge_one(image)) is not None)
        assert Violated.__name__ in next(found, "nothing")
