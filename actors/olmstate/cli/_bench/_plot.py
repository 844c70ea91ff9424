"""Plots for the docs: lines over a logarithmic axis, as SVG that follows the page's colours."""

from __future__ import annotations

import math
from pathlib import Path
from xml.sax.saxutils import escape

from ._job import Plot

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 50
STYLE = 'font-family="sans-serif" font-size="12" fill="currentColor" stroke="none"'
COLOURS = ("#2a6fdb", "#d9822b", "#3a9d5d", "#a34fc1")


def draw(plot: Plot, folder: Path) -> Path:
    """Write ``folder/NAME.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plot.name}.svg"
    path.write_text(svg(plot), encoding="utf-8")
    return path


def svg(plot: Plot) -> str:
    """The picture."""
    xs = sorted({x for series in plot.series for x, _ in series.points})
    top = max(y for series in plot.series for _, y in series.points) * 1.1
    span = math.log10(xs[-1] / xs[0]) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * math.log10(x / xs[0]) / span
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top

    middle = HEIGHT / 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {STYLE}>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(plot.title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(plot.x)}</text>',
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{escape(plot.y)}</text>',
    ]
    for step in range(5):
        across, down = at(xs[0], top * step / 4)
        lines.append(
            f'<path d="M{across:.1f} {down:.1f}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity="0.2"/>'
            f'<text x="{across - 6:.1f}" y="{down + 4:.1f}" text-anchor="end">{top * step / 4:,.3g}</text>'
        )
    for x in xs:
        across, down = at(x, 0)
        lines.append(f'<text x="{across:.1f}" y="{down + 18:.1f}" text-anchor="middle">{x:,.0f}</text>')
    for number, series in enumerate(plot.series):
        colour = COLOURS[number % len(COLOURS)]
        points = [at(x, y) for x, y in series.points]
        lines.append(
            f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" '
            f'stroke="{colour}" stroke-width="2"/>'
        )
        lines.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
        x, y = points[-1]
        lines.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(series.name)}</text>')
    return "\n".join([*lines, "</svg>", ""])
