"""Measuring sides against each other on a machine that does other things too.

The rule: only ratios count, and only of rounds that ran one right after the other. A round runs every side once, in an
order that turns; a side's figure is the median of its rounds, a ratio the median of the rounds' ratios. Garbage is
collected before a side runs and not while it does.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import attrs

Side: TypeAlias = Callable[[], Awaitable[float]]
"""Does the work once; seconds it took, without what it prepared."""
Progress: TypeAlias = Callable[[str], None]
"""Is told what is going on."""


@attrs.frozen(kw_only=True)
class Figure:
    """What one side took."""

    name: str
    seconds: tuple[float, ...]
    """Of each round, per unit of work."""

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """Lower and upper quartile."""
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0]
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high


def ratio(figure: Figure, other: Figure) -> float:
    """How long ``figure`` takes for what ``other`` takes 1 for."""
    return statistics.median(one / another for one, another in zip(figure.seconds, other.seconds, strict=True))


async def measure(sides: Mapping[str, Side], *, rounds: int, units: int, progress: Progress) -> dict[str, Figure]:
    """Run ``rounds`` rounds of all sides, after one that doesn't count.

    Args:
        sides: What to compare, by name.
        rounds: How often.
        units: Into how much work a side's time is divided.
        progress: Told of each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    gc.collect()
    gc.freeze()  # what is there by now needn't be looked through each time
    try:
        for number in range(rounds + 1):
            progress(f"round {number} of {rounds}" if number else "a round that doesn't count")
            for name in _turned(names, number):
                took = await _without_collecting(sides[name])
                if number:
                    seconds[name].append(took / units)
    finally:
        gc.unfreeze()
    return {name: Figure(name=name, seconds=tuple(took)) for name, took in seconds.items()}


async def _without_collecting(side: Side) -> float:
    gc.collect()
    gc.disable()
    try:
        return await side()
    finally:
        gc.enable()


def _turned(names: Sequence[str], number: int) -> Sequence[str]:
    start = number % len(names)
    return [*names[start:], *names[:start]]


class Watch:
    """Seconds since it was made; the processor's other work counts too."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """So far."""
        return time.perf_counter() - self._start
