"""A job: something that people wait for, done by olmstate and by others, with what the ratio ought to be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import attrs

from tests.bench.measure import Figure, Progress
from tests.bench.plot import Bars, Plot

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
"""Where a worker starts, so that it finds this folder."""


@attrs.frozen(kw_only=True)
class Result:
    """One line of the table."""

    label: str
    """Of no other result."""
    value: float | None
    """A ratio, or what ``unit`` says; None: it couldn't be measured here."""
    target: float | None = None
    bound: Literal["at most", "at least"] = "at most"
    unit: str = "times"
    figures: tuple[Figure, ...] = ()
    """What it is made of, olmstate's first."""
    note: str = ""
    """What else there is to know, above all why there is no value."""

    @property
    def met(self) -> bool:
        """Whether the target isn't missed: there is none, it is met, or it couldn't be measured."""
        if self.target is None or self.value is None:
            return True
        return self.value <= self.target if self.bound == "at most" else self.value >= self.target


@attrs.frozen(kw_only=True)
class Setting:
    """What a job has to work with."""

    folder: Path
    """Empty, and the job's own."""
    rounds: int
    progress: Progress
    scale: float = 1.0
    """Of sizes and times. Less than 1 shows that a job works, and says nothing about targets."""

    @property
    def short_rounds(self) -> int:
        """How many, where each takes a tenth of a second or less: anything may come between in one."""
        return self.rounds * 3

    def scaled(self, size: int) -> int:
        """A size that the job can be tried with."""
        return max(1, round(size * self.scale))

    def some(self, sizes: Sequence[T]) -> Sequence[T]:
        """The sizes of a series: all, or two to try it with."""
        return sizes if self.scale >= 1 else sizes[:2]


@attrs.frozen(kw_only=True)
class Outcome:
    """What a job found."""

    results: tuple[Result, ...]
    plots: tuple[Plot, ...] = ()
    bars: tuple[Bars, ...] = ()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All of them."""
        return (*self.plots, *self.bars)


Picture: TypeAlias = Plot | Bars
Job: TypeAlias = Callable[[Setting], Awaitable[Outcome]]
