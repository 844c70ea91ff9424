"""A process that lives a device's life on a store until it is done, or killed.

    python worker.py        reads tasks, JSON lines, from its standard input until that ends

Each task is done by a forked child, which needn't import everything again. It waits for a line "go", so that it can be
traced from its first step; `Workers` is the other end.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Self, TypeVar

import attrs
import trio

from olmstate.messages import JsonObject
from olmstate.storage import _connection, _store  # pyright: ignore[reportPrivateUsage]
from tests.faults.client import live
from tests.faults.homeserver import Homeserver
from tests.faults.next_version import next_version

T = TypeVar("T")

WORKER = Path(__file__)
FAILURE = "failure"
"""A file beside the journal: why the process has failed."""


class Failed(AssertionError):
    """The process has ended with an exception."""


async def _inline(function: Callable[..., T], *args: object, **_: object) -> T:
    await trio.lowlevel.checkpoint()
    return function(*args)


def _one_thread() -> None:
    """Do everything in one thread: strace counts calls by thread, and orders them only within one."""
    _store.SLOW_COMMIT = math.inf
    trio.to_thread.run_sync = _inline  # type: ignore[assignment]
    trio.from_thread.check_cancelled = lambda: None


def _unsafe_synchronous() -> None:
    """SQLite's NORMAL: a commit is not synced. What the power loss harness must find fault with."""
    pragmas = _connection._PRAGMAS_WRITE  # pyright: ignore[reportPrivateUsage]
    unsafe = tuple(pragma.replace("synchronous = FULL", "synchronous = NORMAL") for pragma in pragmas)
    assert unsafe != pragmas
    _connection._PRAGMAS_WRITE = unsafe  # type: ignore[assignment] # pyright: ignore[reportPrivateUsage]


def _do(task: JsonObject) -> None:
    _one_thread()
    if task["unsafe"]:
        _unsafe_synchronous()
    with next_version() if task["next_version"] else nullcontext():
        trio.run(live, Path(task["folder"]), Homeserver(Path(task["journal"])))


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
    while line := _line():
        child = os.fork()
        if child == 0:
            try:
                _line()
                _do(json.loads(line))
            except BaseException:  # noqa: BLE001 - whatever it was, the test shows it
                Path(json.loads(line)["journal"]).with_name(FAILURE).write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
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

    def start(self, folder: Path, journal: Path, *, next_version: bool = False, unsafe: bool = False) -> int:
        """Make a process that waits for `go`; its id."""
        self._failure = journal.with_name(FAILURE)
        task = {"folder": str(folder), "journal": str(journal), "next_version": next_version, "unsafe": unsafe}
        self._write(task)
        return self._read()

    def go(self) -> int:
        """Let the process do its work; how it has ended: 0, or less the number of the signal that killed it.

        Raises:
            Failed: It has failed.
        """
        self._write("go")
        status = self._read()
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
