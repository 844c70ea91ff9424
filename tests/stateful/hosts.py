"""Where a test's supervisors live: in this process, or each in a process of its own. Both are asked in the same way.

Owns: `LocalHost`, `RemoteHost` and what they are told (`Open`, `SetClock`).
Rule: nothing happens by itself. What is written behind waits for the next turn however long that is, and the wall
clock stands still until it is set, so that a model can tell what the answer must be.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
import trio

from olmstate.actors import Options, Supervisor, open_supervisor
from olmstate.messages import Json, Message
from olmstate.storage import Table
from tests.stateful.frames import FrameReader, write_frame

R = TypeVar("R")

WORKER = Path(__file__).with_name("worker.py")


@attrs.frozen(kw_only=True)
class Open:
    """Open a supervisor on a store."""

    folder: str
    user_id: str
    device_id: str
    key: bytes = attrs.field(repr=False)
    now: int = 1_700_000_000_000
    """Milliseconds since 1970, until `SetClock`."""
    capacity: int | None = None
    """Of every cache; None: the default."""


@attrs.frozen
class Close:
    """Close it."""


@attrs.frozen
class SetClock:
    """What its wall clock says from now on."""

    now: int


class Host(ABC):
    """A place for one supervisor at a time."""

    @abstractmethod
    async def do(self, request: object) -> Json:
        """Do what is asked, which is one of the above or a message."""

    async def ask(self, message: Message[R]) -> R:
        """Send a message to the supervisor."""
        return cast("R", await self.do(message))


class LocalHost(Host):
    """A supervisor in this process."""

    def __init__(self, nursery: trio.Nursery) -> None:
        """Run it in ``nursery``."""
        self._nursery = nursery
        self._now = 0
        self._supervisor: Supervisor | None = None
        self._close = trio.Event()
        self._closed = trio.Event()

    async def do(self, request: object) -> Json:
        """See `Host`."""
        match request:
            case Open():
                await self._nursery.start(self._run, request)
            case Close():
                self._close.set()
                await self._closed.wait()
            case SetClock(now=now):
                self._now = now
            case _:
                assert self._supervisor is not None
                return await self._supervisor.ask(cast("Message[Json]", request))
        return None

    async def _run(self, request: Open, *, task_status: trio.TaskStatus[None]) -> None:
        self._now = request.now
        self._close, self._closed = trio.Event(), trio.Event()
        options = Options(
            capacities={} if request.capacity is None else dict.fromkeys(Table, request.capacity),
            write_behind=1e9,
            lock_timeout=60,
            drain=60,
            wall_clock=lambda: self._now,
        )
        async with open_supervisor(
            request.folder, user_id=request.user_id, device_id=request.device_id, key=request.key, options=options
        ) as self._supervisor:
            task_status.started()
            await self._close.wait()
        self._supervisor = None
        self._closed.set()


class RemoteHost(Host):
    """A supervisor in a process of its own; `open_remote_host` makes one."""

    def __init__(self, process: trio.Process) -> None:
        """Over a worker that was just started; `run` must run meanwhile."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._frames = FrameReader(process.stdout)
        self._sending = trio.Lock()
        self._answers: dict[int, trio.MemorySendChannel[tuple[bool, Any]]] = {}
        self._asked = 0
        self._pid = 0
        self._started = trio.Event()

    async def run(self) -> None:
        """Hand out the answers until the worker ends."""
        try:
            while True:
                number, good, value = await self._frames.read()
                if number == 0:
                    self._pid = value
                    self._started.set()
                else:
                    self._answers.pop(number).send_nowait((good, value))
        except EOFError:
            for waiting in self._answers.values():
                waiting.close()

    async def do(self, request: object) -> Json:
        """See `Host`."""
        await self._started.wait()
        self._asked += 1
        send, receive = trio.open_memory_channel[tuple[bool, Any]](1)
        number = self._asked
        self._answers[number] = send
        async with self._sending:
            await write_frame(self._stdin, (number, request))
        good, value = await receive.receive()
        if not good:
            raise value
        return value

    async def kill(self) -> None:
        """Kill the process while nothing is under way; another one takes its place, with nothing open."""
        assert not self._answers
        await self._started.wait()
        self._started = trio.Event()
        os.kill(self._pid, signal.SIGKILL)
        await self._started.wait()


@asynccontextmanager
async def open_remote_hosts(number: int) -> AsyncGenerator[list[RemoteHost], None]:
    """Several processes, for as long as the block runs."""
    processes: list[trio.Process] = []
    try:
        async with trio.open_nursery() as nursery:
            hosts: list[RemoteHost] = []
            for _ in range(number):
                process = await trio.lowlevel.open_process(
                    [sys.executable, str(WORKER)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                )
                processes.append(process)
                hosts.append(RemoteHost(process))
                nursery.start_soon(hosts[-1].run)
            yield hosts
            for process in processes:
                assert process.stdin is not None
                await process.stdin.aclose()
    finally:
        with trio.CancelScope(shield=True):
            for process in processes:
                assert process.stdin is not None
                assert process.stdout is not None
                await process.stdin.aclose()  # it ends, and so does what it has forked
                await process.stdout.aclose()
                await process.wait()
