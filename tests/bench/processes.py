"""Jobs of several processes that all encrypt in one room as fast as they can.

Beside them, bare processes: a flock, a generation check, a commit a message. Each process of ours notes when it asked
for the lock, took it and let it go, on the clock that all processes share, so that waits and hand-overs are seen.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import attrs
import trio
from vodozemac import GroupSession

from tests.bench.bare import BareStore
from tests.bench.device import KEY, device, share
from tests.bench.job import ROOT, Job, Outcome, Result, Setting
from tests.bench.measure import Figure, ratio
from tests.bench.plot import Plot, Series
from tests.bench.work import counted

SECONDS = 2.0
"""That each process works."""
ROUNDS = 5
"""At the least, unless fewer are asked for."""
HEAD_START = 0.05
"""Seconds between telling all when to begin, and that moment."""
COUNTS = (1, 2, 4, 8)


@attrs.frozen(kw_only=True)
class Run:
    """What one process did."""

    messages: int
    turns: list[tuple[float, float, float]] = attrs.field(factory=list[tuple[float, float, float]])
    """When it asked for the lock, took it, and let it go."""


@attrs.frozen(kw_only=True)
class Found:
    """What so many processes did, in all rounds."""

    ours: Figure
    """Seconds a message, of all processes together."""
    bare: Figure
    runs: list[list[Run]]
    """Of ours, by round."""


def processes(count: int) -> Job:
    """A job of so many processes, with what they owe each other."""
    return partial(_processes, count)


async def _processes(count: int, setting: Setting) -> Outcome:
    found = await _greedy(setting, count)
    waits = [[taken - asked for run in runs for asked, taken, _ in run.turns] for runs in found.runs]
    hand_overs = [_hand_overs(runs) for runs in found.runs]
    longest = max((wait for of_round in waits for wait in of_round), default=0.0)
    fairness = [_jain([len(run.turns) for run in runs]) for runs in found.runs]
    by_messages = [_jain([run.messages for run in runs]) for runs in found.runs]
    name = f"{count} greedy processes"
    return Outcome(
        results=(
            _throughput(name, found, target=0.85),
            Result(label=f"{name}, hand-over p99", value=p99(hand_overs) * 1000, target=2.0, unit="ms"),
            Result(label=f"{name}, wait p99", value=p99(waits) * 1000, target=20.0, unit="ms"),
            Result(label=f"{name}, longest wait", value=longest * 1000, target=100.0, unit="ms"),
            Result(
                label=f"{name}, Jain index of turns",
                value=statistics.median(fairness),
                target=0.95,
                bound="at least",
                unit="",
                note=f"of messages {statistics.median(by_messages):.2f}",
            ),
        ),
    )


async def processes_by_number(setting: Setting) -> Outcome:
    """1, 2, 4 and 8 processes: a plot."""
    found = {count: await _greedy(setting, count) for count in setting.some(COUNTS)}
    return Outcome(
        results=tuple(
            _throughput(f"{counted(count, 'process', 'processes')} side by side", one) for count, one in found.items()
        ),
        plots=(
            Plot(
                name="processes",
                title="Several processes that encrypt in one room",
                x="processes",
                y="messages a second, in all",
                logarithmic=True,
                series=(
                    Series(
                        name="olmstate",
                        points=tuple((float(count), 1 / one.ours.median) for count, one in found.items()),
                    ),
                    Series(
                        name="bare: flock, commit",
                        points=tuple((float(count), 1 / one.bare.median) for count, one in found.items()),
                    ),
                ),
            ),
        ),
    )


def _throughput(name: str, found: Found, *, target: float | None = None) -> Result:
    return Result(
        label=f"{name}, throughput",
        value=ratio(found.bare, found.ours),
        target=target,
        bound="at least",
        figures=(found.ours, found.bare),
    )


async def _greedy(setting: Setting, count: int) -> Found:
    seconds = SECONDS * setting.scale
    took: dict[str, list[float]] = {"ours": [], "bare": []}
    found: list[list[Run]] = []
    rounds = min(setting.rounds, max(ROUNDS, setting.rounds // 3))  # each is long
    for number in range(rounds):
        setting.progress(f"{count} processes: round {number + 1} of {rounds}")
        folder = setting.folder / f"{count}-{number}"
        folder.mkdir()
        async with device(folder / "store") as supervisor:
            await share(supervisor)
        _make_bare(folder / "bare.sqlite")
        for side in ("ours", "bare") if number % 2 else ("bare", "ours"):
            path = folder / ("store" if side == "ours" else "bare.sqlite")
            runs = await trio.to_thread.run_sync(_run, side, path, count, seconds)
            took[side].append(seconds / sum(run.messages for run in runs))
            if side == "ours":
                found.append(runs)
    return Found(
        ours=Figure(name=counted(count, "process", "processes"), seconds=tuple(took["ours"])),
        bare=Figure(name=counted(count, "bare process", "bare processes"), seconds=tuple(took["bare"])),
        runs=found,
    )


def _hand_overs(runs: Sequence[Run]) -> list[float]:
    """From one process's release to the next one's lock, where the next one had asked by then."""
    turns = sorted(
        (taken, released, asked, who) for who, run in enumerate(runs) for asked, taken, released in run.turns
    )
    return [
        taken - released
        for (_, released, _, who), (taken, _, asked, next_who) in pairwise(turns)
        if who != next_who and asked < released <= taken
    ]


def p99(by_round: Sequence[Sequence[float]]) -> float:
    """The median of the rounds', for a machine that does something else for a second shows in one of them."""
    return statistics.median(sorted(values)[int(len(values) * 0.99)] if values else 0.0 for values in by_round)


def _jain(values: Sequence[int]) -> float:
    """1 if all have the same, 1/n if one has all."""
    squares = sum(value**2 for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def _make_bare(path: Path) -> None:
    store = BareStore(path)
    store.commit([("session", GroupSession().pickle(bytes(32))), ("generation", "0")])
    store.close()


def _run(side: str, path: Path, count: int, seconds: float) -> list[Run]:
    """Run so many workers at once and collect what they did."""
    order = json.dumps({"side": side, "path": str(path), "key": KEY.hex()})
    with _workers(count) as workers:
        for worker in workers:
            _tell(worker, order)
        for worker in workers:
            _heard(worker)  # it is ready
        start = time.monotonic() + HEAD_START
        for worker in workers:
            _tell(worker, json.dumps([start, start + seconds]))
        said = [json.loads(_heard(worker)) for worker in workers]
    return [Run(messages=run["messages"], turns=[tuple(turn) for turn in run["turns"]]) for run in said]


@contextmanager
def _workers(count: int) -> Generator[list[subprocess.Popen[str]]]:
    """So many processes; none outlives the block."""
    workers: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            command = [sys.executable, "-m", "tests.bench.greedy_worker"]
            # in a group of its own: Ctrl-C is for us
            workers.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0, cwd=ROOT
                )
            )
        yield workers
    except BaseException:
        for worker in workers:
            worker.kill()
        raise
    finally:
        for worker in workers:
            worker.communicate()


def _tell(worker: subprocess.Popen[str], line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(f"{line}\n")
    worker.stdin.flush()


def _heard(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline()
