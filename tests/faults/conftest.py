"""What the harnesses with real processes share: tools that may be missing, and a quick disk.

Rule: a missing tool may pass unnoticed on a developer's machine, never in CI or in a full run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.strace import StraceMissing, find
from tests.faults.worker import Workers
from tests.faults.world import World, make_lived_in

MEMORY = Path("/dev/shm")  # noqa: S108 - folders in it are made by tempfile


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether the long form was asked for."""
    return bool(pytestconfig.getoption("--full"))


@pytest.fixture
def strace(full: bool) -> str:  # noqa: FBT001 - a fixture
    """Strace; without it fail in CI and under `--full`, and skip elsewhere."""
    try:
        return find()
    except StraceMissing as missing:
        if os.environ.get("CI") or full:
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Processes that live on a store."""
    with Workers.open() as started:
        yield started


@pytest.fixture
def world(memory_folder: Path) -> World:
    """A device that has done a round, and was closed."""
    return make_lived_in(memory_folder / "world")


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is such: a process that dies leaves the same files there, and no disk is slow."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="olmstate-") as folder:
        yield Path(folder)
