"""How fair the cross-process lock is: a report, not a test.

    python tests/bench/fairness.py --processes 4 --seconds 5

Starts greedy processes that each hold the lock for half a millisecond, release it and want it again at once, and prints
what each got, how long they waited, and how long the lock lay idle while somebody waited for it. All read one monotonic
clock and hand in their logs at the end. Exit status 1: the lock was held twice at once.

The targets are for 4 processes on 2 cores that nobody else uses. A busy machine adds stalls of its own, hence the last
line: how late a process woke up that had nothing to do with the lock, in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import random
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import attrs
import trio

from olmstate.storage.lock.turnstile import Turnstile

TIMEOUT = 60.0
"""Seconds until a greedy process gives up; never reached unless the lock is broken."""
START_AFTER = 0.2
"""Seconds from telling the processes when to begin until they do."""
NAP = 0.001
"""Seconds that the witness asks to sleep."""
WITNESS = "witness"


@attrs.frozen
class Turn:
    """One turn of one process; times in nanoseconds on the monotonic clock."""

    process: int
    wanted: int
    acquired: int
    released: int
    bypassed: bool


# --- one process -----------------------------------------------------------------------------------------------------


async def be_greedy(folder: Path, *, begin: int, end: int, hold: float, seed: int) -> list[tuple[int, int, int, bool]]:
    """Take turns from `begin` to `end`. Returns what makes a `Turn`, without the process."""
    log: list[tuple[int, int, int, bool]] = []
    with contextlib.closing(Turnstile(folder, rng=random.Random(seed))) as turnstile:
        await trio.sleep((begin - time.monotonic_ns()) / 1e9)
        while (wanted := time.monotonic_ns()) < end:
            wait = await turnstile.acquire(TIMEOUT)
            acquired = time.monotonic_ns()
            time.sleep(hold)  # noqa: ASYNC251 - a commit blocks the event loop too
            released = time.monotonic_ns()
            turnstile.release()
            log.append((wanted, acquired, released, wait.bypassed))
            await trio.lowlevel.checkpoint()
    return log


async def be_witness(*, begin: int, end: int) -> list[int]:
    """Nap from `begin` to `end`. Returns by how many nanoseconds each nap was too long."""
    log: list[int] = []
    await trio.sleep((begin - time.monotonic_ns()) / 1e9)
    while (asleep := time.monotonic_ns()) < end:
        await trio.sleep(NAP)
        log.append(time.monotonic_ns() - asleep - int(NAP * 1e9))
    return log


def work(arguments: argparse.Namespace) -> None:
    """Be one process: say that all is imported, read when to begin and to end, hand in the log."""
    print("ready", flush=True)
    begin, end = json.loads(sys.stdin.readline())
    if arguments.worker == WITNESS:
        print(json.dumps(trio.run(functools.partial(be_witness, begin=begin, end=end))))
        return
    greedy = functools.partial(
        be_greedy, Path(arguments.worker), begin=begin, end=end, hold=arguments.hold, seed=arguments.seed
    )
    print(json.dumps(trio.run(greedy)))


# --- all of them -----------------------------------------------------------------------------------------------------


def start(worker: str, *, hold: float, seed: int) -> subprocess.Popen[str]:
    """Start this very program as one process of the run."""
    command = [sys.executable, __file__, "--worker", worker, "--hold", str(hold), "--seed", str(seed)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def measure(*, processes: int, seconds: float, hold: float, seed: int) -> tuple[list[Turn], list[int]]:
    """Run greedy processes and a witness side by side.

    Returns:
        All turns in the order in which the lock was acquired, and the witness's log.
    """
    with tempfile.TemporaryDirectory(prefix="olmstate-fairness-") as folder, contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(start(worker, hold=hold, seed=seed + number))
            for number, worker in enumerate([*[folder] * processes, WITNESS])
        ]
        for worker in workers:
            stack.callback(worker.kill)
        for worker in workers:
            assert worker.stdout is not None
            if worker.stdout.readline() != "ready\n":
                sys.exit("a process did not start")
        begin = time.monotonic_ns() + int(START_AFTER * 1e9)
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(json.dumps((begin, begin + int(seconds * 1e9))) + "\n")
            worker.stdin.flush()
        *logs, lateness = [json.loads(worker.communicate()[0]) for worker in workers]
    turns = [Turn(process, *turn) for process, log in enumerate(logs) for turn in log]
    return sorted(turns, key=lambda turn: turn.acquired), lateness


# --- figures ---------------------------------------------------------------------------------------------------------


def overlaps(turns: list[Turn]) -> int:
    """How often the lock was acquired before it was released: 0, or it is no lock."""
    return sum(following.acquired < turn.released for turn, following in pairwise(turns))


def hand_overs(turns: list[Turn]) -> list[int]:
    """Nanoseconds that the lock lay idle between two turns, whenever the second process already waited for it."""
    return [
        following.acquired - turn.released for turn, following in pairwise(turns) if following.wanted < turn.released
    ]


def jain(counts: list[int]) -> float:
    """Jain's fairness index: 1 if all got the same, 1/n if one of n got all."""
    return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))


def quantile(values: list[int], share: float) -> float:
    """The value that a `share` of all values does not exceed; nanoseconds in, milliseconds out."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1e6


def report(turns: list[Turn], lateness: list[int], *, processes: int) -> None:
    """Print a line a figure, with the target beside it."""
    counts = [sum(turn.process == process for turn in turns) for process in range(processes)]
    waits = [turn.acquired - turn.wanted for turn in turns]
    again = sum(turn.process == following.process for turn, following in pairwise(turns))
    bypasses = sum(turn.bypassed for turn in turns)
    print(f"turns per process  {' '.join(map(str, counts))}")
    print(f"turns in all       {len(turns)}, the same process twice running {again}, bypasses {bypasses}")
    print(f"Jain index         {jain(counts):.3f} (0.9 or more)")
    if idle := hand_overs(turns):
        print(f"hand-over          p50 {quantile(idle, 0.5):.2f} ms, p99 {quantile(idle, 0.99):.2f} ms (2 or less)")
    print(f"wait               p50 {quantile(waits, 0.5):.2f} ms, p99 {quantile(waits, 0.99):.2f} ms (20 or less)")
    print(f"longest wait       {max(waits) / 1e6:.2f} ms (100 or less)")
    print(f"woken too late     p50 {quantile(lateness, 0.5):.2f} ms, p99 {quantile(lateness, 0.99):.2f} ms")


def main() -> int:
    """Measure and print. Returns the exit status."""
    parser = argparse.ArgumentParser(description="How fair the cross-process lock is: a report, not a test.")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--hold", type=float, default=0.0005, help="seconds that a turn takes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments)
        return 0
    turns, lateness = measure(
        processes=arguments.processes, seconds=arguments.seconds, hold=arguments.hold, seed=arguments.seed
    )
    report(turns, lateness, processes=arguments.processes)
    if overlaps(turns):
        print(f"BROKEN: the lock was held twice at once, {overlaps(turns)} times")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
