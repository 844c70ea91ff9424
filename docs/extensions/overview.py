"""The drawing of who talks to whom: the directive ``overview``.

Owns: the one picture of the whole.
Rule: names of actors and files come from the code that has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from olmstate.actors.testing import ActorsUnderTest, MemoryDisk, MemoryStore
from olmstate.storage.sqlite.folder import DATABASE

from .svg import box, document, path, rectangle, text

PROCESS = 370
"""Width of a process."""
GAP = 30
MARGIN = 12
ROW = 30
"""Height of an actor."""


def draw() -> str:
    """Two processes and the store that they share."""
    actors = [actor.name for actor in ActorsUnderTest(MemoryStore(MemoryDisk())).all]
    parts: list[str] = []
    bottom = MARGIN + 152 + len(actors) * (ROW + 6) + 12
    for at, name in enumerate(("a process", "another process")):
        parts += _process(MARGIN + at * (PROCESS + GAP), name, actors, bottom)
    width, height = 2 * MARGIN + 2 * PROCESS + GAP, bottom + 150
    parts += _store(width, bottom)
    return document(width, height, "Two processes, their actors, and the store that they share", parts)


def _process(x: float, name: str, actors: list[str], bottom: float) -> Iterator[str]:
    yield rectangle(x, MARGIN, PROCESS, bottom - MARGIN, "frame", round_corners=8)
    yield text(x + 12, MARGIN + 16, name, "label", anchor="start")
    yield from box(x + 20, MARGIN + 32, 96, 40, "your tasks")
    yield from box(x + 230, MARGIN + 32, 120, 40, "supervisor", marked=True)
    yield path(f"M{x + 116:g} {MARGIN + 44:g} H{x + 229:g}")
    yield path(f"M{x + 230:g} {MARGIN + 60:g} H{x + 117:g}")
    yield text(x + 173, MARGIN + 34, "message", "label")
    yield text(x + 173, MARGIN + 71, "reply, event", "label")
    top = MARGIN + 140
    for at, actor in enumerate(actors):
        y = top + at * (ROW + 6)
        yield from box(x + 20, y, 210, ROW, actor)
        yield path(f"M{x + 290:g} {y + ROW / 2:g} H{x + 231:g}")
    last = top + (len(actors) - 1) * (ROW + 6) + ROW / 2
    yield path(f"M{x + 290:g} {MARGIN + 72:g} V{last:g}", arrow=False)
    yield text(x + 284, MARGIN + 98, "queries, steps, notices", "label", anchor="end")
    yield text(x + 20, top - 12, "actors, each with its caches", "label", anchor="start")
    # down to the store
    yield path(f"M{x + 125:g} {last + ROW / 2:g} V{bottom + 55:g}")
    yield text(x + 118, bottom + 24, "reads, no lock", "label", anchor="end")
    yield path(f"M{x + 330:g} {MARGIN + 72:g} V{bottom + 55:g}")
    yield text(x + 322, bottom + 24, "commits, under the lock", "label", anchor="end")


def _store(width: float, bottom: float) -> Iterator[str]:
    top = bottom + 56
    yield rectangle(MARGIN, top, width - 2 * MARGIN, 82, "box", round_corners=6)
    yield text(width / 2, top + 18, "the store: one folder", "name")
    yield from box(MARGIN + 40, top + 34, 330, 36, f"{DATABASE}: rows, generation")
    yield from box(width - MARGIN - 330, top + 34, 290, 36, "lock, and its line: turn, next, third")


class Overview(SphinxDirective):
    """The drawing."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        return [nodes.raw("", draw(), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("overview", Overview)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
