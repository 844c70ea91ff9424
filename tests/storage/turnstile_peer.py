"""Another process on the same lock, told by a test what to do: a line in, a line out.

    python turnstile_peer.py FOLDER DESCRIPTOR

DESCRIPTOR is the read end of a pipe. Whatever this program leaves behind ends when the test closes the other end.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from olmstate.messages import StoreBusy, StorePoisoned
from olmstate.storage.lock.turnstile import Turnstile

if TYPE_CHECKING:
    from collections.abc import Callable


def acquire(turnstile: Turnstile, timeout: str) -> str:
    """Wait for the lock."""
    try:
        wait = trio.run(turnstile.acquire, float(timeout))
    except StoreBusy as busy:
        return f"busy {busy.holder_pid}"
    return "bypassed" if wait.bypassed else "held"


def fork(turnstile: Turnstile, test: int) -> str:
    """Fork a child that tries every use of its parent's handle, and lives on. Returns which uses weren't refused."""
    uses: dict[str, Callable[[], object]] = {
        "acquire": lambda: trio.run(turnstile.acquire, 0.0),
        "acquire_nowait": turnstile.acquire_nowait,
        "release": turnstile.release,
        "contended": turnstile.contended,
        "holder_pid": turnstile.holder_pid,
        "check": turnstile.check,
    }
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading) as report:
            return report.read()
    os.close(reading)
    allowed = ["held"] if turnstile.held else []
    for name, use in uses.items():
        try:
            use()
        except StorePoisoned:
            continue
        allowed.append(name)
    turnstile.close()
    os.write(writing, f"allowed: {' '.join(allowed)}".encode())
    os.close(writing)
    os.read(test, 1)
    os._exit(0)


def spawn(test: int) -> None:
    """Start a program that inherits all it can, says so, and lives on."""
    # The program asks for nothing but what it inherits; it is this one that must have closed the lock to it. What is
    # closed to it is closed a moment after Popen has returned, so it is the program that answers.
    program = f"import os; print('spawned', flush=True); os.read({test}, 1)"
    subprocess.Popen([sys.executable, "-c", program], close_fds=False)


def main() -> None:
    """Do what each line says, until there are no more."""
    folder, test = Path(sys.argv[1]), int(sys.argv[2])
    turnstile = Turnstile(folder)
    for line in sys.stdin:
        match line.split():
            case ["acquire", timeout]:
                answer = acquire(turnstile, timeout)
            case ["release"]:
                turnstile.release()
                answer = "released"
            case ["fill-disk"]:
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
                answer = "full"
            case ["fork"]:
                answer = fork(turnstile, test)
            case ["spawn"]:
                spawn(test)
                continue
            case _:
                raise ValueError(line)
        print(answer, flush=True)
    turnstile.close()


if __name__ == "__main__":
    main()
