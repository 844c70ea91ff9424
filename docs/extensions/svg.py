"""SVG elements as text, in the colours of the page around them.

Owns: the few shapes that the drawings here are made of, and their style.
Rule: every element has a class, and no colour of its own.
Why: the theme has a light and a dark form; a drawing that is part of the page takes the colours of either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

CHARACTER = 7.2
"""Width of a character, about."""
LINE = 15
"""Height of a line of text."""


def box(x: float, y: float, width: float, height: float, name: str, *, marked: bool = False) -> Iterator[str]:
    """A box with its name in the middle."""
    yield rectangle(x, y, width, height, "box marked" if marked else "box", round_corners=6)
    yield text(x + width / 2, y + height / 2, name, "name")


def rectangle(x: float, y: float, width: float, height: float, kind: str, *, round_corners: int = 0) -> str:
    """A rectangle of a class."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round_corners}"/>'


def text(x: float, y: float, words: str, kind: str, *, anchor: str = "middle") -> str:
    """A line of text, its middle at the height ``y``."""
    return (
        f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}" dominant-baseline="central">'
        f"{escape(words)}</text>"
    )


def path(way: str, *, arrow: bool = True) -> str:
    """A line along ``way``, in SVG's own words, with or without a tip at its end."""
    tip = ' marker-end="url(#tip)"' if arrow else ""
    return f'<path class="way" d="{way}"{tip}/>'


def document(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """The whole: as wide as the page allows, and no wider than drawn."""
    size = f'viewBox="0 0 {width:g} {height:g}" style="max-width: {width:g}px"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" role="img" {size}>'
    return "\n".join((head, f"<title>{escape(title)}</title>", _STYLE, _TIP, *parts, "</svg>"))


_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path class="tip" d="M0 0.5 L8 4 L0 7.5 z"/></marker></defs>'
)
_STYLE = """<style>
.drawing { width: 100%; height: auto; font: 13px var(--font-stack, sans-serif); }
.drawing .box { fill: var(--color-background-secondary, #f8f9fb); stroke: var(--color-foreground-muted, #6b6f76); }
.drawing .marked { fill: var(--color-background-border, #eeebee); }
.drawing .frame { fill: none; stroke: var(--color-foreground-muted, #6b6f76); stroke-dasharray: 5 4; }
.drawing .name { fill: var(--color-foreground-primary, #000); font-weight: 600; }
.drawing .label { fill: var(--color-foreground-secondary, #5a5c63); }
.drawing .way { fill: none; stroke: var(--color-foreground-muted, #6b6f76); stroke-width: 1.3; }
.drawing .tip { fill: var(--color-foreground-muted, #6b6f76); }
.drawing .paper { fill: var(--color-background-primary, #fff); }
</style>"""
