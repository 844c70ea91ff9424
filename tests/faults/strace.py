"""strace: what a process does to the store's files, call by call, and death at any of these calls.

Owns: how strace is found and attached, and how its output is read.
Rule: strace counts calls to the named files only, a count for each kind of call and each thread. So a process that is
    to die at the n-th call does everything in one thread.
Blind spot: SQLite's index of the -wal file is shared memory; writes to memory are no calls. Whatever it holds when a
    process dies, it holds between two calls too, so a kill at each call meets each of its states but the halfway ones.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

CALLS = (
    *("openat", "mkdir", "chmod", "fchmod", "rename", "unlink"),
    *("write", "pwrite64", "pwritev", "ftruncate", "fallocate", "fsync", "fdatasync"),
    *("flock", "fcntl"),
)
"""Every call with which olmstate, filelock or SQLite changes, syncs or locks a file."""
BYTES_SHOWN = 1 << 20
"""Of a written buffer: all."""

_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+|\?)(?:<[^>]*>)?(.*)$")


class StraceMissing(Exception):
    """There is no strace, or it may not trace."""


def find() -> str:
    """Strace's path.

    Raises:
        StraceMissing: It isn't there, or the system doesn't let it trace.
    """
    path = shutil.which("strace")
    if path is None:
        raise StraceMissing("strace is not installed (it is Debian's package strace)")
    tried = subprocess.run([path, "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise StraceMissing(f"strace can't trace here: {tried.stderr.strip()}")
    return path


@attrs.frozen
class Point:
    """The n-th of one kind of call."""

    call: str
    number: int
    """From 1."""

    def __str__(self) -> str:
        return f"{self.call} {self.number}"


@attrs.frozen
class Call:
    """One call, as strace has printed it."""

    name: str
    arguments: str = attrs.field(repr=False)
    result: int | None
    """None: it never returned."""


@contextmanager
def attached(pid: int, output: Path, paths: Iterable[Path], *options: str) -> Generator[None]:
    """Trace a process while the block runs; it must end in it.

    Args:
        pid: Which, and whatever it starts.
        output: The file for what is traced.
        paths: Files and folders; a call is traced if it names one of them or has one of them open.
        options: strace's; what to trace is `CALLS` unless they say otherwise.
    """
    files = [option for path in paths for option in ("-P", str(path))]
    command = [find(), "-f", "-p", str(pid), "-o", str(output), "-e", f"trace={','.join(CALLS)}", *files, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        try:
            for line in strace.stderr:
                if "attached" in line:
                    break
            else:
                raise StraceMissing("strace ended before it was attached")
            yield
            strace.wait(60)
        finally:
            strace.kill()


def kill_at(point: Point) -> tuple[str, ...]:
    """Options for `attached`: SIGKILL when the call is about to be made."""
    return ("-e", f"inject={point.call}:signal=SIGKILL:when={point.number}")


def calls(output: Path) -> Iterator[Call]:
    """What was traced, in its order.

    Raises:
        ValueError: A line isn't understood.
    """
    with output.open(encoding="ascii", errors="surrogateescape") as lines:
        for line in lines:
            if "+++" in line or "---" in line:
                continue
            match = _LINE.match(line)
            if match is None:
                raise ValueError(f"strace has printed {line!r}")
            name, arguments, result, _ = match.groups()
            yield Call(name, arguments, None if result == "?" else int(result))


def points(output: Path) -> list[Point]:
    """Each call that was traced, as the point to be killed at."""
    counts: dict[str, int] = {}
    found: list[Point] = []
    for call in calls(output):
        counts[call.name] = counts.get(call.name, 0) + 1
        found.append(Point(call.name, counts[call.name]))
    return found


def kill_at_each(chosen: Iterable[Point], run: Callable[..., int]) -> dict[Point, str | None]:
    """What is wrong after a kill at each point, or None; a point that was never reached is left out.

    ``run`` takes the options of strace, lets a process work under it and somebody go on after it, and gives the
    process's status. No two runs are the same: what is written where depends on random keys.
    """
    outcomes: dict[Point, str | None] = {}
    for point in chosen:
        try:
            status = run(*kill_at(point))
        except Exception:  # noqa: BLE001 - whatever it was, the test shows it
            outcomes[point] = traceback.format_exc()
        else:
            if status == -signal.SIGKILL:
                outcomes[point] = None
    return outcomes
