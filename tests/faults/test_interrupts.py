"""Ctrl-C at a random moment, once or twice, in programs and in commands: each ends, and the store can be used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import attrs
import pytest

from tests.faults.cores import share
from tests.faults.tally import settle

SHORT = 20
LONG = 500


@attrs.frozen
class Interrupter:
    """A process that runs programs and interrupts them."""

    jobs: IO[str]
    results: IO[str]
    programs: tuple[str, ...]

    def judge(self, seeds: Sequence[int]) -> dict[int, str | None]:
        """What was wrong for each seed, which stands for a program, too."""
        return {seed: self._judge(seed) for seed in seeds}

    def _judge(self, seed: int) -> str | None:
        program = self.programs[seed % len(self.programs)]
        self.jobs.write(json.dumps({"program": program, "seed": seed}) + "\n")
        self.jobs.flush()
        wrong: str | None = json.loads(self.results.readline())["wrong"]
        return None if wrong is None else f"{program}: {wrong}"


@contextmanager
def interrupter(folder: Path) -> Generator[Interrupter]:
    """One, which works in ``folder``."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.faults.interrupted", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Interrupter(process.stdin, process.stdout, tuple(json.loads(process.stdout.readline())))
        process.stdin.close()
        assert 0 == process.wait()


def test_a_program_that_is_interrupted_ends_and_leaves_a_store_that_can_be_used(memory_folder: Path) -> None:
    with interrupter(memory_folder / "one") as one:
        outcomes = one.judge(range(SHORT))
    assert [None] * SHORT == list(outcomes.values())


@pytest.mark.full
def test_500_programs_that_are_interrupted_end(memory_folder: Path) -> None:
    with interrupter(memory_folder / "one") as one, interrupter(memory_folder / "two") as two:
        outcomes = share([one, two], Interrupter.judge, range(LONG))
    settle("interrupts", outcomes, f"seeds 0 to {LONG - 1}")
