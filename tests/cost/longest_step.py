"""How much is done at a time: in calls, since seconds say more of the machine.

Owns: counting the calls that a task makes from one checkpoint to the next, Python's and C's alike.
Rule: what is counted is the same on each run. A call takes a tenth of a microsecond, or a few; what a single call of
C does with many megabytes isn't seen, and has tests of its own.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import attrs
import trio
from trio.abc import Instrument

MOST_CALLS = 4_000
"""That a step may make: a millisecond, or two."""


@attrs.define(eq=False)
class LongestStep(Instrument):
    """The most calls between two checkpoints, and how many steps there were."""

    only: str = ""
    """Counts calls of this name alone, of C's functions."""
    calls: int = 0
    steps: int = 0
    total: int = 0
    _now: int = 0

    def count(self, frame: FrameType, event: str, argument: Any) -> None:  # noqa: ANN401, ARG002 - a profiler's
        """One more."""
        if self.only:
            self._now += event == "c_call" and argument.__name__ == self.only
        elif event in ("call", "c_call"):
            self._now += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - whosever it is
        """It begins."""
        self._now = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - the same
        """It is over."""
        self.steps += 1
        self.total += self._now
        self.calls = max(self.calls, self._now)


@asynccontextmanager
async def longest_step(only: str = "") -> AsyncGenerator[LongestStep]:
    """Count while the block runs."""
    longest = LongestStep(only=only)
    trio.lowlevel.add_instrument(longest)
    before = sys.getprofile()
    sys.setprofile(longest.count)
    try:
        await trio.lowlevel.checkpoint()
        yield longest
    finally:
        sys.setprofile(before)
        trio.lowlevel.remove_instrument(longest)


def calls_of(work: Callable[[], object]) -> int:
    """How many calls ``work`` makes."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def lines_of(work: Callable[[], object]) -> int:
    """How many lines of Python ``work`` runs, each round of a loop counted."""
    lines = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ANN401 - a tracer's
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines
