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
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import attrs
import trio
from vodozemac import GroupSession

from ._bare import BareStore
from ._device import KEY, device, share
from ._job import Job, Outcome, Plot, Result, Series, Setting
from ._measure import Figure

SECONDS = 2.0
"""That each process works."""
HEAD_START = 1.5
"""Seconds that processes get to start before they all begin."""


@attrs.frozen(kw_only=True)
class Run:
    """What one process did."""

    messages: int
    turns: list[tuple[float, float, float]] = attrs.field(factory=list[tuple[float, float, float]])
    """When it asked for the lock, took it, and let it go."""


def processes(count: int) -> Job:
    """A job of so many processes."""
    return partial(_processes, count)


async def _processes(count: int, setting: Setting) -> Outcome:
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    runs: list[Run] = []
    for number in range(max(3, setting.rounds // 3)):
        folder = setting.folder / str(number)
        folder.mkdir()
        async with device(folder / "store") as supervisor:
            await share(supervisor)
        _make_bare(folder / "bare.sqlite")
        for side in ("ours", "bare") if number % 2 else ("bare", "ours"):
            path = folder / ("store" if side == "ours" else "bare.sqlite")
            side_runs = await trio.to_thread.run_sync(_run, side, path, count)
            rates[side].append(sum(run.messages for run in side_runs) / SECONDS)
            if side == "ours":
                runs = side_runs
            setting.progress()
    return _outcome(count, rates, runs)


def _outcome(count: int, rates: dict[str, list[float]], runs: Sequence[Run]) -> Outcome:
    throughput = statistics.median(ours / bare for ours, bare in zip(rates["ours"], rates["bare"], strict=True))
    figures = (
        Figure(name=f"{count} processes", seconds=tuple(1 / rate for rate in rates["ours"])),
        Figure(name=f"{count} bare processes", seconds=tuple(1 / rate for rate in rates["bare"])),
    )
    waits = sorted(taken - asked for run in runs for asked, taken, _ in run.turns)
    turns = [len(run.turns) for run in runs]
    hand_overs = sorted(_hand_overs(runs))
    name = f"{count} greedy processes"
    return Outcome(
        results=(
            Result(label=f"{name}, throughput", value=throughput, target=0.85, bound="at least", figures=figures),
            Result(label=f"{name}, hand-over p99", value=_p99(hand_overs) * 1000, target=2.0, unit="ms"),
            Result(label=f"{name}, wait p99", value=_p99(waits) * 1000, target=20.0, unit="ms"),
            Result(label=f"{name}, longest wait", value=waits[-1] * 1000, target=100.0, unit="ms"),
            Result(label=f"{name}, Jain index of turns", value=_jain(turns), target=0.95, bound="at least", unit=""),
        ),
        plot=Plot(
            name=f"processes-{count}",
            title="Messages a second by processes",
            x="processes",
            y="messages a second",
            series=(
                Series(name="olmstate", points=((float(count), statistics.median(rates["ours"])),)),
                Series(name="bare processes", points=((float(count), statistics.median(rates["bare"])),)),
            ),
        ),
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


def _p99(values: Sequence[float]) -> float:
    return values[int(len(values) * 0.99)] if values else 0.0


def _jain(values: Sequence[int]) -> float:
    """1 if all have the same, 1/n if one has all."""
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def _make_bare(path: Path) -> None:
    store = BareStore(path)
    store.commit([("session", GroupSession().pickle(bytes(32))), ("generation", "0")])
    store.close()


def _run(side: str, path: Path, count: int) -> list[Run]:
    """Run so many workers at once and collect what they did."""
    order = {"side": side, "path": str(path), "key": KEY.hex(), "start": time.monotonic() + HEAD_START}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "olmstate.cli._bench._greedy_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    for worker in workers:
        assert worker.stdin is not None  # noqa: S101 - a pipe was asked for
        worker.stdin.write(json.dumps({**order, "seconds": SECONDS}).encode())
        worker.stdin.close()
    runs: list[Run] = []
    for worker in workers:
        assert worker.stdout is not None  # noqa: S101 - a pipe was asked for
        said = json.loads(worker.stdout.read())
        worker.stdout.close()
        worker.wait()
        runs.append(Run(messages=said["messages"], turns=[tuple(turn) for turn in said["turns"]]))
    return runs
