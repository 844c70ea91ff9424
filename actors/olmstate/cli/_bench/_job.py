"""A job: something that people wait for, done by olmstate and by others, with what the ratio ought to be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

import attrs

from ._measure import Figure


@attrs.frozen(kw_only=True)
class Result:
    """One line of the table."""

    label: str
    value: float
    """A ratio, or what ``unit`` says."""
    target: float | None = None
    bound: Literal["at most", "at least"] = "at most"
    unit: str = "times"
    figures: tuple[Figure, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the target, if there is one, is met."""
        if self.target is None:
            return True
        return self.value <= self.target if self.bound == "at most" else self.value >= self.target


@attrs.frozen(kw_only=True)
class Setting:
    """What a job has to work with."""

    folder: Path
    """Empty, and the job's own."""
    rounds: int
    progress: Callable[[], None]


@attrs.frozen(kw_only=True)
class Series:
    """Points for a plot."""

    name: str
    points: tuple[tuple[float, float], ...]


@attrs.frozen(kw_only=True)
class Plot:
    """A picture for the docs."""

    name: str
    title: str
    x: str
    y: str
    series: tuple[Series, ...]


@attrs.frozen(kw_only=True)
class Outcome:
    """What a job found."""

    results: tuple[Result, ...]
    plot: Plot | None = None


Job = Callable[[Setting], Awaitable[Outcome]]
Jobs = Mapping[str, Job]
