"""Plots of lines: something against a size, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import attrs

from tests.bench.svg import CHARACTER, COLOURS, document, line, number, text, upwards

WIDTH, HEIGHT = 720, 340
LEFT, TOP, BOTTOM = 76, 40, 52
LABEL_HEIGHT = 15
ENOUGH_POWERS = 4
"""Of ten, to be the only marks on a logarithmic axis."""


@attrs.frozen(kw_only=True)
class Series:
    """A line."""

    name: str
    points: tuple[tuple[float, float], ...]


@attrs.frozen(kw_only=True)
class Plot:
    """A plot; what is greater than 0 fits in."""

    name: str
    """Of its file, too."""
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    logarithmic: bool = False
    """The upright axis, too."""

    def svg(self) -> str:
        """The picture."""
        return document(WIDTH, HEIGHT, self.title, _draw(self))


def _draw(plot: Plot) -> Iterator[str]:
    xs = sorted({x for series in plot.series for x, _ in series.points})
    ys = [y for series in plot.series for _, y in series.points]
    right = WIDTH - 16 - CHARACTER * max(len(series.name) for series in plot.series)
    bottom = HEIGHT - BOTTOM
    ticks = _decades(min(ys), max(ys)) if plot.logarithmic else _steps(max(ys))
    across = _axis(math.log, (xs[0], xs[-1]), (LEFT + 10, right - 20))
    down = _axis(math.log if plot.logarithmic else float, (ticks[0], ticks[-1]), (bottom, TOP))

    yield upwards(16, (TOP + bottom) / 2, plot.y)
    yield text((LEFT + right) / 2, HEIGHT - 14, plot.x)
    for tick in ticks:
        yield line(f"M{LEFT} {down(tick):.1f}H{right:.1f}")
        yield text(LEFT - 8, down(tick), number(tick), anchor="end")
    for x in xs:
        yield line(f"M{across(x):.1f} {bottom}v5")
        yield text(across(x), bottom + 16, f"{x:,.0f}")
    labels = _apart([down(series.points[-1][1]) for series in plot.series], TOP, bottom)
    for colour, series, label in zip(COLOURS, plot.series, labels, strict=False):
        points = [(across(x), down(y)) for x, y in series.points]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
        yield text(right + 6, label, series.name, anchor="start", colour=colour)


def _axis(
    scale: Callable[[float], float], values: tuple[float, float], places: tuple[float, float]
) -> Callable[[float], float]:
    """Where on paper a value is."""
    low, high = scale(values[0]), scale(values[1])
    span = high - low or 1.0
    return lambda value: places[0] + (places[1] - places[0]) * (scale(value) - low) / span


def _steps(highest: float) -> list[float]:
    """From 0 to a bit above ``highest``, in four to eight round steps."""
    unit = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor * 8 >= highest)
    return [step * at for at in range(math.ceil(highest / step) + 1)]


def _decades(lowest: float, highest: float) -> list[float]:
    """Round numbers from one below ``lowest`` to one above ``highest``: powers of ten, and more where those are few."""
    powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    factors = (1, 2, 5) if len(powers) < ENOUGH_POWERS else (1,)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    below = max(at for at, tick in enumerate(ticks) if tick <= lowest)
    above = min(at for at, tick in enumerate(ticks) if tick >= highest)
    return ticks[below : above + 1]


def _apart(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """Where labels go that belong to ``places``: none on another, none outside."""
    order = sorted(range(len(places)), key=places.__getitem__)
    found = dict(enumerate(places))
    for above, below in pairwise(order):
        found[below] = max(found[below], found[above] + LABEL_HEIGHT)
    if order and found[order[-1]] > bottom:
        found[order[-1]] = bottom
        for below, above in pairwise(reversed(order)):
            found[above] = min(found[above], found[below] - LABEL_HEIGHT)
    return [max(found[at], top) for at in range(len(places))]
