"""Plots of bars: how many times as long each of several things takes in one way as in another."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from tests.bench.svg import CHARACTER, COLOURS, document, line, text

WIDTH = 720
TOP, BOTTOM, ROW = 36, 30, 22
BAR = 14


@attrs.frozen(kw_only=True)
class Bars:
    """A bar a thing, beside a line at 1: the same."""

    name: str
    """Of its file, too."""
    title: str
    bars: tuple[tuple[str, float], ...]

    def svg(self) -> str:
        """The picture."""
        return document(WIDTH, TOP + BOTTOM + ROW * len(self.bars), self.title, _draw(self))


def _draw(plot: Bars) -> Iterator[str]:
    left = 20 + CHARACTER * max(len(name) for name, _ in plot.bars)
    unit = (WIDTH - left - 70) / max(1.0, *(value for _, value in plot.bars))
    for row, (name, value) in enumerate(plot.bars):
        middle = TOP + ROW * (row + 0.5)
        width, top = unit * value, middle - BAR / 2
        yield text(left - 8, middle, name, anchor="end")
        yield f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[0]}"/>'
        yield text(left + max(width, unit) + 6, middle, f"{value:,.2f}", anchor="start")
    bottom = TOP + ROW * len(plot.bars)
    yield line(f"M{left + unit:.1f} {TOP}V{bottom + 4}")
    yield text(left + unit, bottom + 16, "1")
