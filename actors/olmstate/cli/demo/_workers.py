"""The demo's processes, from the parent's side: started, asked, killed, and started again.

Rule: a process is ended by its own id and by nothing else, and none outlives the demo. One that ends though nobody has
killed it has crashed, and is a problem of the report's.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import click
import trio
from trio.lowlevel import ParkingLot

from olmstate.messages import Json, JsonObject

from ._calls import Calls, HungUp, Lines, Refused, Serve
from ._report import Problem, Report
from ._settings import Settings

PATIENCE = 120.0
"""Seconds after which a request that isn't answered means that the demo hangs."""
MOST_CRASHES = 20
"""A program that can't even start is not started for ever."""
LOG_TAIL = 2000
"""Bytes of a crashed process's last words that are shown."""


@attrs.define
class Counts:
    """What a supervisor has counted since it was opened."""

    whole: int = 0
    by_key: int = 0
    lock_waits: int = 0
    longest_lock_wait: float = 0.0

    @classmethod
    def of(cls, statistics: JsonObject) -> Counts:
        """From `Statistics`."""
        caches = statistics["caches"].values()
        return cls(
            # one that drops everything drops it in every cache
            whole=max(cache["invalidated_whole"] for cache in caches),
            by_key=sum(cache["invalidated"] for cache in caches),
            lock_waits=statistics["lock_waits"],
            longest_lock_wait=statistics["longest_lock_wait"],
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.whole + other.whole,
            self.by_key + other.by_key,
            self.lock_waits + other.lock_waits,
            max(self.longest_lock_wait, other.longest_lock_wait),
        )


class WorkerProcess:
    """A place for one process at a time."""

    def __init__(self, number: int, settings: Settings, serve: Serve, log: Path, became_ready: ParkingLot) -> None:
        """Nothing is started yet; who waits in ``became_ready`` is woken whenever it is."""
        self.number = number
        self._settings = settings
        self._serve = serve
        self._log = log
        self._became_ready = became_ready
        self._process: trio.Process | None = None
        self._calls: Calls | None = None
        self._killed = False
        self.ready = False
        """Whether it answers."""
        self.before = Counts()
        """Of earlier processes in this place."""
        self.now = Counts()
        """Of the present one, when it was last asked."""

    @property
    def pid(self) -> int | None:
        """The present process, if there is one that answers."""
        return self._process.pid if self._process is not None and self.ready else None

    async def call(self, method: str, /, **arguments: Json) -> Json:
        """Ask it.

        Raises:
            HungUp: It is not there, or was killed before it answered.
            Refused: It answered with an error.
            click.ClickException: It doesn't answer at all.
        """
        if self._calls is None:
            await trio.lowlevel.checkpoint()
            raise HungUp
        with trio.move_on_after(PATIENCE):
            return await self._calls.call(method, **arguments)
        raise click.ClickException(f"process {self.pid} has not answered {method} for {PATIENCE:.0f} s")

    async def wait_ready(self) -> None:
        """Until it answers, at first or again."""
        while not self.ready:
            await self._became_ready.park()

    def kill(self) -> None:
        """SIGKILL, now."""
        if self._process is not None:
            self._killed = True
            self._process.kill()

    async def sample(self) -> None:
        """Ask what it has counted."""
        with contextlib.suppress(HungUp, Refused):  # what it had counted last has to do
            self.now = Counts.of(await self.call("statistics"))

    async def hang_up(self) -> None:
        """Let it end."""
        if self._process is not None and self._process.stdin is not None:
            await self._process.stdin.aclose()

    async def live_once(self) -> str | None:
        """Run one process until it ends; None, or its last words if nobody had killed it."""
        self._killed = False
        with self._log.open("wb") as log:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "olmstate.cli.demo._worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which ends its processes itself
            )
        self._process = process
        try:
            await self._talk(process)
            await process.wait()
        finally:
            self.ready = False
            self._calls = self._process = None
            self.before, self.now = self.before + self.now, Counts()
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
                for stream in (process.stdin, process.stdout):
                    if stream is not None:
                        await stream.aclose()
        if self._killed or process.returncode == 0:
            return None
        last_words = self._log.read_bytes()[-LOG_TAIL:].decode("utf-8", "replace").strip()
        return f"process {process.pid} ended with {process.returncode}: {last_words or 'it said nothing'}"

    async def _talk(self, process: trio.Process) -> None:
        """Serve its calls until it hangs up."""
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("it was started with pipes")
        calls = Calls(process.stdin, Lines(process.stdout), self._serve)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(calls.run)
            try:
                await process.stdin.send_all(self._settings.line())
                await calls.call("ping")
            except (HungUp, trio.BrokenResourceError):
                return
            self._calls = calls
            self.ready = True
            self._became_ready.unpark_all()


class Workers:
    """All of them; `running` is where they live."""

    def __init__(self, number: int, settings: Settings, serve: Serve, logs: Path, report: Report) -> None:
        """Nothing is started yet."""
        self._became_ready = ParkingLot()
        self.all: Sequence[WorkerProcess] = [
            WorkerProcess(each, settings, serve, logs / f"worker-{each}.log", self._became_ready)
            for each in range(number)
        ]
        self._report = report
        self._stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep them running in the block."""
        async with trio.open_nursery() as nursery:
            for worker in self.all:
                nursery.start_soon(self._keep_alive, worker)
            await self._all_ready()
            yield
            await self._all_ready()  # one that is just starting would not hear that it may end
            self._stopping = True
            await self.sample()
            for worker in self.all:
                await worker.hang_up()

    async def _all_ready(self) -> None:
        for worker in self.all:
            await worker.wait_ready()

    async def _keep_alive(self, worker: WorkerProcess) -> None:
        while not self._stopping:
            last_words = await worker.live_once()
            if last_words is not None:
                self._report.found(Problem.CRASHES, last_words)
                if self._report.problems[Problem.CRASHES] > MOST_CRASHES:
                    raise click.ClickException(f"the processes crash again and again: {last_words}")

    async def pick(self, rng: random.Random, *, other_than: WorkerProcess | None = None) -> WorkerProcess:
        """A random one that answers; another one than that, if there is another at all."""
        wanted = [worker for worker in self.all if worker is not other_than] or self.all
        while not (ready := [worker for worker in wanted if worker.ready]):
            await self._became_ready.park()
        return rng.choice(ready)

    async def anyone(self, rng: random.Random, method: str, /, **arguments: Json) -> Json:
        """Ask a random one, and another if that is killed: for what does no harm when it is done twice.

        Raises:
            Refused: It answered with an error.
        """
        while True:
            worker = await self.pick(rng)
            try:
                return await worker.call(method, **arguments)
            except HungUp:
                continue

    async def sample(self) -> None:
        """Take over into the report what all of them have counted."""
        async with trio.open_nursery() as nursery:
            for worker in self.all:
                nursery.start_soon(worker.sample)
        total = sum((worker.before + worker.now for worker in self.all), Counts())
        self._report.invalidations_whole = total.whole
        self._report.invalidations_by_key = total.by_key
        self._report.lock_waits = total.lock_waits
        self._report.longest_lock_wait = total.longest_lock_wait
