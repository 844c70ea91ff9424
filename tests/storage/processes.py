"""Starting and steering other processes on a store."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


class Steered:
    """Another process, which does what it is asked in a line, and answers in one."""

    def __init__(self, *command: str, pass_fds: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, pass_fds=pass_fds
        )
        self.pid = self._process.pid

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        self.tell(line)
        return self.answer()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)


class Peer(Steered):
    """Another process with a handle on the store in ``folder``."""

    def __init__(self, folder: Path, *, within: Sequence[str] = ()) -> None:
        super().__init__(*within, sys.executable, "-W", "ignore", str(PROGRAMS / "store_peer.py"), str(folder))

    def kill(self) -> list[str]:
        """SIGKILL, unless it has ended; what it still had said."""
        if self._process.poll() is not None:
            return []
        self._process.kill()
        assert self._process.stdout is not None
        # by the same reader as `answer`, which may have read ahead; `communicate` would ask the pipe alone
        said = self._process.stdout.read()
        self._process.communicate()
        return said.splitlines()

    def end(self) -> None:
        """Let it end by itself, unless it was killed."""
        if self._process.poll() is None:
            self._process.communicate()


@contextlib.contextmanager
def peer(folder: Path, *, within: Sequence[str] = ()) -> Generator[Peer]:
    """A peer that ends by itself when the block does, or is killed if something went wrong."""
    started = Peer(folder, within=within)
    try:
        yield started
        started.end()
    finally:
        started.kill()


def run(program: str, *arguments: object) -> str:
    """Run one of this folder's programs to its end; what it printed. It must end well."""
    # in memory, if there is room: these programs ask what a killed process leaves, not what a power cut does
    shared = Path("/dev/shm")  # noqa: S108 - made by mkdtemp
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", str(PROGRAMS / program), *map(str, arguments), folder],
            check=False,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def need(*programs: str) -> None:
    """Skip the test where a tool is missing, but never where the whole of it is to be tested."""
    for program in programs:
        if shutil.which(program) is None:
            _leave_out(f"{program} is not installed")


def _leave_out(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def in_small_filesystem(folder: Path, *, size: str, read_only: Path | None = None) -> list[str]:
    """What to start a program with so that ``folder`` is a file system of ``size`` of its own, which ends with it.

    Args:
        folder: An existing, empty folder.
        size: As for ``mount -t tmpfs -o size=``.
        read_only: A folder that the program can only read.
    """
    need("unshare", "mount")
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        _leave_out("this machine gives us no mounts of our own")
    mounts = f'mount -t tmpfs -o size={size} tmpfs "{folder}"'
    if read_only is not None:
        mounts += f' && mount --bind "{read_only}" "{read_only}" && mount -o remount,bind,ro "{read_only}"'
    return [*namespace, "sh", "-c", f'{mounts} && exec "$@"', "sh"]


@contextlib.contextmanager
def failing(
    peer: Peer, calls: str, error: str, *, path: Path | None = None, after: int = 0, once: bool = False
) -> Generator[None]:
    """Have the kernel refuse system calls of a running process while the block runs.

    Args:
        peer: Which process, with all its threads.
        calls: By strace's names, with commas.
        error: By its errno's name.
        path: Only calls on that file.
        after: So many calls still succeed.
        once: Only the call after those fails.
    """
    need("strace")
    only = [] if path is None else ["-P", str(path)]
    strace = subprocess.Popen(
        [
            "strace",
            "-f",
            "-o",
            os.devnull,
            "-p",
            str(peer.pid),
            *only,
            "-e",
            f"trace={calls}",
            "-e",
            f"inject={calls}:error={error}:when={after + 1}{'' if once else '+'}",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert strace.stderr is not None
    try:
        if "attached" not in (first := strace.stderr.readline()):
            _leave_out(f"strace can't attach here: {first}")
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.communicate()
