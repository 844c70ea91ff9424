"""A state machine as a drawing: a box for each state, and an arrow for each move.

Rule: any table can be drawn; whatever it says next year finds its place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import attrs

from .graph import draw, quoted


@attrs.frozen
class Edge:
    """Moves from one state to another."""

    source: str
    label: str
    """One line a move."""
    target: str


@attrs.frozen(kw_only=True)
class StateMachine:
    """What to draw."""

    states: Sequence[str]
    """From top to bottom."""
    edges: Sequence[Edge]
    marked: frozenset[str] = frozenset()
    """States to fill with another colour."""
    always: Sequence[Edge] = ()
    """Moves from every one of the states, whatever their ``source`` is called, to states beside them."""
    beside: Sequence[Edge] = ()
    """Moves between two states beside them."""

    def svg(self, title: str) -> str:
        """The drawing."""
        return draw(title, self._statements())

    def _statements(self) -> Iterator[str]:
        yield from (f"{quoted(state)} [class={'marked' if state in self.marked else 'state'}]" for state in self.states)
        yield from (f"{quoted(edge.source)} [shape=plaintext]" for edge in self.always)
        moves: dict[tuple[str, str], list[str]] = defaultdict(list)
        for edge in (*self.edges, *self.always, *self.beside):
            moves[edge.source, edge.target].append(edge.label)
        for (source, target), labels in moves.items():
            label = "\n".join(labels)
            yield f"{quoted(source)} -> {quoted(target)} [label={quoted(label)}]"
