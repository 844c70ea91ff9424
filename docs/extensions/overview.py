"""The drawing of who talks to whom: the directive ``overview``.

Owns: the one picture of the whole.
Rule: names of actors and files come from the code that has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from olmstate.actors.testing import ActorsUnderTest, MemoryDisk, MemoryStore
from olmstate.storage.sqlite.folder import DATABASE

from .graph import draw, quoted


def svg() -> str:
    """Two processes and the store that they share."""
    return draw("Two processes, their actors, and the store that they share", _statements())


def _statements() -> Iterator[str]:
    actors = [actor.name for actor in ActorsUnderTest(MemoryStore(MemoryDisk())).all]
    for process in ("a process", "another process"):
        yield from _process(process, actors)
    yield "subgraph cluster_store {"
    yield f"label={quoted('the store: one folder')}; style=rounded"
    yield f"database [label={quoted(f'{DATABASE}: rows, generation')}]"
    yield f"lock [label={quoted('lock, and its line: turn, next, third')}]"
    yield "lock -> database"
    yield "}"


def _process(name: str, actors: Sequence[str]) -> Iterator[str]:
    tasks, supervisor, all_actors = (quoted(f"{part} of {name}") for part in ("tasks", "supervisor", "actors"))
    yield f"subgraph {quoted(f'cluster {name}')} {{"
    yield f"label={quoted(name)}; style=dashed"
    yield f"{tasks} [label={quoted('your tasks')}]"
    yield f"{supervisor} [label=supervisor; class=marked]"
    names = "\n".join(("actors, each with its caches:", *actors))
    yield f"{all_actors} [label={quoted(names)}]"
    yield f"{tasks} -> {supervisor} [label={quoted('message')}]"
    yield f"{supervisor} -> {tasks} [label={quoted('reply, event')}]"
    yield f"{supervisor} -> {all_actors} [label={quoted('queries, steps, notices')}]"
    yield "}"
    yield f"{all_actors} -> database [label={quoted('reads, no lock')}]"
    yield f"{supervisor} -> lock [label={quoted('commits, under the lock')}]"


class Overview(SphinxDirective):
    """The drawing."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        return [nodes.raw("", svg(), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("overview", Overview)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
