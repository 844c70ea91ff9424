"""Who is killed when: at steps drawn beforehand, a moment after the step was begun, so that work is under way.

It goes to the process that does the step; if that is dead already, to any other.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

import trio

from ._report import Report
from ._workers import WorkerProcess, Workers

LONGEST_DELAY = 0.01
"""Seconds from the beginning of a step to the kill."""


class Kills:
    """The kills of one run."""

    def __init__(
        self,
        nursery: trio.Nursery,
        workers: Workers,
        *,
        rng: random.Random,
        lanes: Mapping[str, int],
        report: Report,
    ) -> None:
        """Draw the steps: each lane gets about as many kills as any other."""
        self._nursery = nursery
        self._workers = workers
        self._rng = rng
        self._report = report
        drawn = [rng.choice(sorted(lanes)) for _ in range(report.kills_wanted)]
        self._planned = Counter((lane, rng.randrange(lanes[lane])) for lane in drawn)

    def step(self, worker: WorkerProcess, lane: str, number: int) -> None:
        """Note that ``worker`` begins with a step."""
        for _ in range(self._planned.pop((lane, number), 0)):
            self._nursery.start_soon(self._kill, worker, self._rng.uniform(0, LONGEST_DELAY))

    async def _kill(self, worker: WorkerProcess, delay: float) -> None:
        pid = worker.pid
        await trio.sleep(delay)
        while worker.pid is None or worker.pid != pid:  # another kill was quicker
            worker = await self._workers.pick(self._rng)
            pid = worker.pid
        worker.kill()
        self._report.kills += 1
