"""The benchmark's plots as SVG elements, drawn by matplotlib.

Rule: text and lines take the page's colour, since it may be a dark one; only a series has a colour of its own, that can
be seen on both. Text stays text.
"""

from __future__ import annotations

from io import StringIO
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from tests.bench.plot import Bars, Plot

WIDTH = 8.0
"""Inches."""
HEIGHT, BAR = 3.8, 0.32
COLOURS = ("#3b82d6", "#d9822b", "#3a9d5d", "#b05fd0")
_OF_THE_PAGE = "#123456"
"""Stands for the page's colour in what matplotlib draws: it knows no `currentColor`."""
_COLOURED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "olmstate",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(_COLOURED, _OF_THE_PAGE),
}


def svg(picture: Plot | Bars) -> str:
    """The element; its title is on top."""
    with rc_context(_STYLE):
        figure = _lines(picture) if isinstance(picture, Plot) else _bars(picture)
        figure.suptitle(picture.title)
        drawn = StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    _, element = drawn.getvalue().split("<svg ", 1)
    return f'<svg style="max-width: 100%; height: auto" {element.replace(_OF_THE_PAGE, "currentColor")}'


def _lines(plot: Plot) -> Figure:
    figure = Figure((WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    for colour, series in zip(COLOURS, plot.series, strict=False):
        axes.plot(*zip(*series.points, strict=True), marker="o", color=colour, label=series.name)
    axes.set(xscale="log", yscale="log" if plot.logarithmic else "linear", xlabel=plot.x, ylabel=plot.y)
    axes.set_xticks(sorted({x for series in plot.series for x, _ in series.points}), minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if plot.logarithmic:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    else:
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y", alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _bars(bars: Bars) -> Figure:
    figure = Figure((WIDTH, 1 + BAR * len(bars.bars)), layout="constrained")
    axes = figure.subplots()
    names, values = zip(*reversed(bars.bars), strict=True)
    axes.bar_label(axes.barh(names, values, color=COLOURS[0]), fmt="{:,.2f}", padding=4)
    axes.axvline(1, color=_OF_THE_PAGE, alpha=0.5)
    axes.set_xticks([1])
    return figure
