"""The few SVG elements that plots are made of, in the colours of the page around them.

Rule: text and lines take the page's colour, since it may be a dark one; only a series has a colour of its own, that can
be seen on both.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Literal

CHARACTER = 6.6
"""About the width of one, at the size that plots have."""
COLOURS = ("#3b82d6", "#d9822b", "#3a9d5d", "#b05fd0")
_STYLE = 'font-family="sans-serif" font-size="12" fill="currentColor"'


def document(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """The whole, with its title on top: as wide as the page allows, and no wider than drawn."""
    size = f'viewBox="0 0 {width:g} {height:g}" style="max-width: {width:g}px; width: 100%"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} {_STYLE}>'
    heading = f'<text x="{width / 2:g}" y="18" text-anchor="middle" font-size="14">{escape(title)}</text>'
    return "\n".join((head, f"<title>{escape(title)}</title>", heading, *parts, "</svg>\n"))


def text(
    x: float, y: float, words: str, *, anchor: Literal["start", "middle", "end"] = "middle", colour: str = ""
) -> str:
    """A line of text whose middle is at the height ``y``."""
    fill = f' fill="{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}"{fill}>{escape(words)}</text>'


def upwards(x: float, y: float, words: str) -> str:
    """A line of text that is read from below, its middle at ``x`` and ``y``."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="middle" transform="rotate(-90 {x:g} {y:g})">{escape(words)}</text>'


def line(way: str) -> str:
    """A thin line along ``way``, in SVG's own words."""
    return f'<path d="{way}" fill="none" stroke="currentColor" stroke-opacity="0.25"/>'


def number(value: float) -> str:
    """As short as it can be read."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
