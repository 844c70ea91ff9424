"""Two runs of the same benchmark side by side, such as of two Pythons: what olmstate took in each."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measure import Figure
from tests.bench.plot import Bars
from tests.bench.record import Record
from tests.bench.table import LABEL, time


def compared(one: Record, other: Record) -> Iterator[tuple[str, Figure, Figure]]:
    """What both have measured, by the label of its result: olmstate's own figures."""
    others = {result.label: result.figures for result in other.results}
    for result in one.results:
        theirs = others.get(result.label)
        # what olmstate has to be times faster than stands in another result already
        if result.target is not None and result.bound == "at most" and result.figures and theirs:
            yield result.label, result.figures[0], theirs[0]


def lines(one: Record, other: Record) -> Iterator[str]:
    """A line a result: what it took, and how many times as long in the other."""
    yield f"{'':<{LABEL}} {one.machine.python:>16} {other.machine.python:>16}"
    for label, figure, another in compared(one, other):
        times = another.median / figure.median
        yield f"{label:<{LABEL}} {time(figure.median):>16} {time(another.median):>16} {times:8.2f} times"


def plot(one: Record, other: Record) -> Bars:
    """The same, drawn."""
    return Bars(
        name="compared",
        title=f"{other.machine.python}: how many times as long as {one.machine.python}",
        bars=tuple((label, another.median / figure.median) for label, figure, another in compared(one, other)),
    )
