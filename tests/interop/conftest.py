"""The real counterparts, as fixtures: one Synapse and one process of each library for all tests.

A test of a room asks for `people` and says who does what when; nobody syncs by themselves:

    async def test_somebody_reads_somebody(people: People) -> None:
        alice, bob = await people.olmstate(), await people.rust()      # or .nio(), or .one_of_each()
        room = await meet([alice, bob])                                # created, joined, synced
        said = await all_say([alice], room)
        await sync_all([alice, bob])
        assert [said] == what_they_read([bob], said)

`open_fault_proxy` goes between a device and Synapse: `homeserver.through(proxy.url, session)`. `RustDevice.ask` and
`.do` have all commands of `node/*.mjs`, `NioDevice.ask` those of `nio_program.py`. What needs neither Synapse nor
matrix-nio runs quicker on `tests.peer.homeserver`, which is in memory and has the same sessions.

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
from tests.interop.people import People
from tests.interop.program import Process, Program, running_program
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


@pytest.fixture(scope="session")
def rust_process(pytestconfig: pytest.Config) -> Generator[Process]:
    """matrix-rust-sdk's OlmMachines, for all tests."""
    with running_program("OlmMachine", found(parts.rust, pytestconfig)) as process:
        yield process


@pytest.fixture(scope="session")
def nio_process(pytestconfig: pytest.Config) -> Generator[Process]:
    """matrix-nio's clients, for all tests."""
    with running_program("matrix-nio", found(parts.nio, pytestconfig)) as process:
        yield process


@pytest.fixture
async def rust(rust_process: Process) -> AsyncGenerator[Program]:
    """OlmMachines of this test; make one with `rust_device`."""
    async with rust_process.used() as program:
        yield program


@pytest.fixture
async def nio(nio_process: Process) -> AsyncGenerator[Program]:
    """matrix-nio's clients of this test; make one with `nio_device`."""
    async with nio_process.used() as program:
        yield program


@pytest.fixture
async def people(homeserver: Homeserver, rust: Program, nio: Program, tmp_path: Path) -> AsyncGenerator[People]:
    """Everybody whom a room with all three kinds of device needs."""
    async with People.on(homeserver, rust, nio, tmp_path) as all_of_them:
        yield all_of_them
