"""A process that lives a device's life on a store until it is done, or killed.

    python worker.py        reads tasks, JSON lines, from its standard input until that ends

Each task is done by a forked child, which needn't import everything again. It waits for a line "go", so that it can be
traced from its first step; `Workers` is the other end.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Self, TypeVar

import attrs
import trio

from olmstate.messages import JsonObject, RotateRoomKey, SchemaTooNew, StoreError
from olmstate.storage.sqlite import (
    connection,  # pyright: ignore[reportPrivateUsage]
    store,  # pyright: ignore[reportPrivateUsage]
)
from olmstate.storage.sqlite.folder import DATABASE
from tests.faults.client import BUSY, SHARED, live, open_client, send
from tests.faults.gossiping import gossip, recover
from tests.faults.homeserver import Homeserver
from tests.faults.next_version import next_version
from tests.faults.persisting import persist
from tests.faults.verifying import play

T = TypeVar("T")

WORKER = Path(__file__)
FAILURE = "failure"
"""A file beside the journal: why the process has failed."""


STOPPED = -1000
"""Instead of a status."""
LONGEST = 300
"""Seconds that a task may take: some two, and many times that under strace on a busy machine."""


class Failed(AssertionError):
    """The process has ended with an exception."""


async def _inline(function: Callable[..., T], *args: object, **_: object) -> T:
    await trio.lowlevel.checkpoint()
    return function(*args)


def _one_thread() -> None:
    """Do everything in one thread: strace counts calls by thread, and orders them only within one."""
    store.SLOW_COMMIT = math.inf
    trio.to_thread.run_sync = _inline  # type: ignore[assignment]
    trio.from_thread.check_cancelled = lambda: None


def _unsafe_synchronous() -> None:
    """SQLite's NORMAL: a commit is not synced. What the power loss harness must find fault with."""
    pragmas = connection._PRAGMAS_WRITE  # pyright: ignore[reportPrivateUsage]
    unsafe = tuple(pragma.replace("synchronous = FULL", "synchronous = NORMAL") for pragma in pragmas)
    assert unsafe != pragmas
    connection._PRAGMAS_WRITE = unsafe  # type: ignore[assignment] # pyright: ignore[reportPrivateUsage]


# --- what it may be told to do ------------------------------------------------------------------------------


async def _live(folder: Path, homeserver: Homeserver) -> None:
    await live(folder, homeserver)
    homeserver.judge()


async def _suffer(folder: Path, homeserver: Homeserver) -> None:
    """Live; whatever the system refuses must end in a typed error of the store's."""
    try:
        await live(folder, homeserver)
    except* StoreError:
        pass
    homeserver.judge()


async def _persist(folder: Path, homeserver: Homeserver) -> None:
    """Live; one call that the system refuses costs one answer, and then everything works."""
    await persist(folder, homeserver)
    homeserver.judge()


async def _freeze(folder: Path, homeserver: Homeserver) -> None:
    """Be stopped in the midst of a turn."""

    async def stop() -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    async with open_client(folder, homeserver, halfway=stop) as (supervisor, _):
        await supervisor.ask(RotateRoomKey(room_id=BUSY))


async def _send(folder: Path, homeserver: Homeserver) -> None:
    """Open the store, send in a room that is shared already, close it; a later version's store is left alone."""
    for _ in range(OPENS):
        with contextlib.suppress(SchemaTooNew):
            async with open_client(folder, homeserver) as (supervisor, _):
                await send(supervisor, homeserver, SHARED, SENT)


async def _send_and_copy(folder: Path, homeserver: Homeserver) -> None:
    """Send, and copy the store's files all the while, as a backup program in the same process would."""
    async with open_client(folder, homeserver) as (supervisor, _):
        for _ in range(OPENS * SENT):
            await send(supervisor, homeserver, SHARED, 1)
            for file in folder.glob(f"{DATABASE}*"):
                # closing the copy's descriptor cancels every lock that SQLite has on that file in this process
                file.read_bytes()


async def _send_and_fork(folder: Path, homeserver: Homeserver) -> None:
    """Fork in the midst of a turn: the child unwinds as if it had the parent's store, the parent goes on."""
    parent = os.getpid()

    async def fork() -> None:
        child = os.fork()
        if child == 0:
            raise Unwound
        assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222 - nothing else is to happen meanwhile

    try:
        async with open_client(folder, homeserver, halfway=fork) as (supervisor, _):
            await supervisor.ask(RotateRoomKey(room_id=BUSY))
            assert os.getpid() == parent
            await send(supervisor, homeserver, SHARED, SENT)
    except BaseException:
        if os.getpid() == parent:
            raise
        os._exit(0)


class Unwound(Exception):
    """Raised in a forked child, to have it leave all blocks that its parent is in."""


async def _verify(folder: Path, homeserver: Homeserver) -> None:
    """Two devices verify each other, both in this process; they have a homeserver of their own."""
    del homeserver
    await play(folder)


async def _gossip(folder: Path, homeserver: Homeserver) -> None:
    """One device sends another secrets: the same."""
    del homeserver
    await gossip(folder)


async def _recover(folder: Path, homeserver: Homeserver) -> None:
    """A device takes secrets out of secret storage: the same."""
    del homeserver
    await recover(folder)


OPENS, SENT = 5, 12
TASKS = {
    task.__name__.strip("_"): task
    for task in (_live, _suffer, _persist, _freeze, _send, _send_and_copy, _send_and_fork, _verify, _gossip, _recover)
}


def _do(task: JsonObject) -> None:
    if task["one_thread"]:
        _one_thread()
    if task["unsafe"]:
        _unsafe_synchronous()
    with next_version() if task["next_version"] else nullcontext():
        trio.run(TASKS[task["do"]], Path(task["folder"]), Homeserver(Path(task["journal"])))


# --- one process after another ------------------------------------------------------------------------------


def _line() -> str:
    """The next line of the standard input, and no byte more: what follows is for another process."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line.decode()


def main() -> None:
    """Do one task after another."""
    faulthandler.register(signal.SIGALRM, chain=True)  # where it was when its time was up
    while line := _line():
        child = os.fork()
        if child == 0:
            signal.alarm(LONGEST)
            try:
                _line()
                _do(json.loads(line))
            except BaseException:  # noqa: BLE001 - whatever it was, the test shows it
                Path(json.loads(line)["journal"]).with_name(FAILURE).write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        while True:
            _, status = os.waitpid(child, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            print(STOPPED, flush=True)
        print(os.waitstatus_to_exitcode(status), flush=True)


@attrs.define
class Workers:
    """Starts workers, one at a time."""

    _process: subprocess.Popen[str]
    _failure: Path = Path()

    @classmethod
    @contextmanager
    def open(cls) -> Generator[Self]:
        """For as long as the block runs."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                yield cls(process)
            finally:
                process.kill()

    def start(
        self,
        folder: Path,
        journal: Path,
        do: str = "live",
        *,
        next_version: bool = False,
        unsafe: bool = False,
        one_thread: bool = True,
    ) -> int:
        """Make a process that waits for `go`; its id.

        Args:
            folder: The store's.
            journal: The homeserver's.
            do: One of `TASKS`.
            next_version: It is of the next version.
            unsafe: It doesn't sync its commits.
            one_thread: It does everything in one thread.
        """
        self._failure = journal.with_name(FAILURE)
        task = {
            "folder": str(folder),
            "journal": str(journal),
            "do": do,
            "next_version": next_version,
            "unsafe": unsafe,
            "one_thread": one_thread,
        }
        self._write(task)
        return self._read()

    def go(self) -> int:
        """Let the process do its work; how it has ended: 0, or less the number of the signal that killed it.

        `STOPPED` if it was stopped; then `wait` says how it has ended.

        Raises:
            Failed: It has failed.
        """
        self.let_go()
        return self.wait()

    def let_go(self) -> None:
        """Let the process do its work, and don't wait for it."""
        self._write("go")

    def wait(self) -> int:
        """How the process has ended, or that it was stopped again.

        Raises:
            Failed: It has failed.
        """
        status = self._read()
        if status == -signal.SIGALRM:
            raise Failed(f"it comes to no end in {LONGEST} seconds")
        if status > 0:
            raise Failed(self._failure.read_text())
        return status

    def _write(self, value: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


if __name__ == "__main__":
    main()
