"""The real counterparts, as fixtures: one Synapse for all tests, and for each test the programs that it asks for.

Rule: a missing part may pass unnoticed on a developer's machine, never in CI or in a full run.
Why the clock is real here: other processes don't live in Trio's time, so that jumping it would only time us out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import httpx2
import pytest

from tests.interop import parts
from tests.interop.homeserver import Homeserver
from tests.interop.nio_device import open_nio_program
from tests.interop.people import People
from tests.interop.program import Program
from tests.interop.rust_device import open_rust_program
from tests.interop.synapse import Synapse, running_synapse

MEMORY = Path("/dev/shm")  # noqa: S108 - folders in it are made by tempfile


def found(part: Callable[[], tuple[str, ...]], config: pytest.Config) -> tuple[str, ...]:
    """The part's command; without it fail in CI and under `--full`, and skip elsewhere."""
    try:
        return part()
    except parts.PartMissing as missing:
        if os.environ.get("CI") or config.getoption("--full"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def synapse(pytestconfig: pytest.Config) -> Generator[Synapse]:
    """A homeserver for all tests; each registers users of its own."""
    command = found(parts.synapse, pytestconfig)
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(dir=memory, prefix="olmstate-synapse-") as folder,
        running_synapse(command, Path(folder)) as running,
    ):
        yield running


@pytest.fixture
async def homeserver(synapse: Synapse) -> AsyncGenerator[Homeserver]:
    """The same, with this test's HTTP client."""
    async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
        yield Homeserver(synapse=synapse, client=client)


@pytest.fixture
async def rust(pytestconfig: pytest.Config) -> AsyncGenerator[Program]:
    """matrix-rust-sdk's OlmMachines; make one with `rust_device`."""
    found(parts.rust, pytestconfig)
    async with open_rust_program() as program:
        yield program


@pytest.fixture
async def nio(pytestconfig: pytest.Config) -> AsyncGenerator[Program]:
    """matrix-nio's clients; make one with `nio_device`."""
    found(parts.nio, pytestconfig)
    async with open_nio_program() as program:
        yield program


@pytest.fixture
async def people(homeserver: Homeserver, rust: Program, nio: Program, tmp_path: Path) -> AsyncGenerator[People]:
    """Everybody whom a room with all three kinds of device needs."""
    async with People.on(homeserver, rust, nio, tmp_path) as all_of_them:
        yield all_of_them
