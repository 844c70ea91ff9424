"""What a job found, as lines or bars to be drawn: data alone, which a run saves and the documentation draws."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Series:
    """A line."""

    name: str
    points: tuple[tuple[float, float], ...]


@attrs.frozen(kw_only=True)
class Plot:
    """Lines: something against a size, on a logarithmic axis. What is greater than 0 fits in."""

    name: str
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    logarithmic: bool = False
    """The upright axis, too."""


@attrs.frozen(kw_only=True)
class Bars:
    """How many times as long each of several things takes in one way as in another."""

    name: str
    title: str
    bars: tuple[tuple[str, float], ...]
