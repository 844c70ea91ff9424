"""A state machine as a drawing: its states in a column, and a line for each move.

Owns: where things go. Pure: a graph in, an SVG element out.
Rule: any table can be drawn. Only the order of the states is given; whatever the table says next year finds its place.
Why: a diagram drawn by hand tells what its table said once.

A move to the next state goes straight down. Others go around: forward ones on the right, backward ones on the left,
longer ones farther out. Where a line leaves a box is chosen so that no two lines of a side cross near it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import attrs

from .svg import CHARACTER, LINE, box, document, path, rectangle, text

BOX = 136, 40
GAP = 48
"""Between two boxes: room for a label of two lines."""
PORT = 10
"""Between two lines that leave a box on one side."""
ROUND = 8
SPACE = 14
"""Between a label and what is beside it."""
MARGIN = 12
ABOVE = 30
"""Above the first box, which may have a loop."""


@attrs.frozen
class Edge:
    """Moves from one state to another."""

    source: str
    label: str
    """One line a move."""
    target: str

    @property
    def lines(self) -> list[str]:
        """The label's lines."""
        return self.label.split("\n")

    @property
    def width(self) -> float:
        """The label's."""
        return CHARACTER * max(len(line) for line in self.lines)


@attrs.frozen(kw_only=True)
class Column:
    """What to draw."""

    states: Sequence[str]
    """From top to bottom."""
    edges: Sequence[Edge]
    marked: frozenset[str] = frozenset()
    """States to fill with another colour."""
    always: Sequence[Edge] = ()
    """Moves from every state of the column, whatever their ``source`` is called, to states beside it."""
    beside: Sequence[Edge] = ()
    """Moves between two states beside the column."""


@attrs.frozen(kw_only=True)
class _Around:
    """An edge that goes around, by the states' numbers."""

    edge: Edge
    source: int
    target: int
    lane: int
    """0 is nearest to the boxes."""


def draw(column: Column, *, title: str) -> str:
    """The SVG element."""
    number = {state: at for at, state in enumerate(column.states)}
    edges = _joined(column.edges)
    straight = [edge for edge in edges if number[edge.target] == number[edge.source] + 1]
    loops = [edge for edge in edges if edge.target == edge.source]
    left = _in_lanes([edge for edge in edges if number[edge.target] < number[edge.source]], number)
    right = _in_lanes([edge for edge in edges if number[edge.target] > number[edge.source] + 1], number)

    left_lanes, left_width = _distances(left, keep_clear=0)
    beside_boxes = max(
        0.0,
        *(edge.width + ROUND * 3 for edge in loops),
        *(edge.width + ROUND - BOX[0] / 2 for edge in straight),
    )
    right_lanes, right_width = _distances(right, keep_clear=beside_boxes)
    x = MARGIN + left_width
    parts: list[str] = []
    for state in column.states:
        parts += box(x, _top(number[state]), *BOX, state, marked=state in column.marked)
    for edge in straight:
        parts += _straight(edge, x, number[edge.source])
    for edge in loops:
        parts += _loop(edge, x, number[edge.source])
    parts += _go_around(left, {lane: x - distance for lane, distance in left_lanes.items()}, x, outward=-1)
    end = x + BOX[0]
    parts += _go_around(right, {lane: end + distance for lane, distance in right_lanes.items()}, end, outward=1)
    width, height = end + right_width + MARGIN, _top(len(column.states)) - GAP + MARGIN
    if column.always:
        beside, width = _beside(column, width, height)
        parts += beside
    return document(width, height, title, parts)


# --- where things go -----------------------------------------------------------------------------------------------


def _joined(edges: Iterable[Edge]) -> list[Edge]:
    """One edge for all moves between the same two states."""
    labels: dict[tuple[str, str], list[str]] = defaultdict(list)
    for edge in edges:
        labels[edge.source, edge.target].append(edge.label)
    return [Edge(source, "\n".join(names), target) for (source, target), names in labels.items()]


def _top(at: int) -> float:
    return ABOVE + at * (BOX[1] + GAP)


def _in_lanes(edges: Sequence[Edge], number: dict[str, int]) -> list[_Around]:
    """Shorter edges nearer to the boxes; two share a lane where they don't meet."""
    found: list[_Around] = []
    for edge in sorted(edges, key=lambda edge: abs(number[edge.target] - number[edge.source])):
        source, target = number[edge.source], number[edge.target]
        low, high = min(source, target), max(source, target)
        met = [
            around.lane + 1
            for around in found
            if min(around.source, around.target) <= high and low <= max(around.source, around.target)
        ]
        found.append(_Around(edge=edge, source=source, target=target, lane=max(met, default=0)))
    return found


def _distances(arounds: Sequence[_Around], *, keep_clear: float) -> tuple[dict[int, float], float]:
    """How far each lane is from the boxes, so that no label covers another lane; and how far everything reaches."""
    widths: dict[int, float] = {}
    for around in arounds:
        widths[around.lane] = max(widths.get(around.lane, 0.0), around.edge.width)
    distances: dict[int, float] = {}
    reach = keep_clear
    for lane in sorted(widths):
        distances[lane] = reach + SPACE + widths[lane] / 2
        reach = distances[lane] + widths[lane] / 2
    return distances, reach


def _ports(arounds: Sequence[_Around]) -> dict[tuple[int, int], float]:
    """The height at which each edge meets each of its two states, both by their numbers."""
    ends: dict[int, list[tuple[bool, int, int]]] = defaultdict(list)
    for at, around in enumerate(arounds):
        for state, other in ((around.source, around.target), (around.target, around.source)):
            down = other > state
            # from top to bottom: what goes up, inner lanes first; then what goes down, outer lanes first
            ends[state].append((down, -around.lane if down else around.lane, at))
    heights: dict[tuple[int, int], float] = {}
    for state, here in ends.items():
        middle = _top(state) + BOX[1] / 2
        for place, (_, _, at) in enumerate(sorted(here)):
            heights[at, state] = middle + PORT * (place - (len(here) - 1) / 2)
    return heights


# --- lines ---------------------------------------------------------------------------------------------------------


def _straight(edge: Edge, x: float, at: int) -> Iterator[str]:
    middle, bottom = x + BOX[0] / 2, _top(at) + BOX[1]
    yield path(f"M{middle:g} {bottom:g} V{bottom + GAP - 1:g}")
    yield from _label(middle + ROUND, bottom + GAP / 2, edge, anchor="start")


def _loop(edge: Edge, x: float, at: int) -> Iterator[str]:
    right, top = x + BOX[0], _top(at)
    yield path(
        f"M{right - 22:g} {top:g} C{right - 22:g} {top - 26:g} {right + 26:g} {top - 20:g} {right + 1:g} {top + 10:g}"
    )
    yield from _label(right + ROUND * 2, top - ROUND, edge, anchor="start")


def _go_around(arounds: Sequence[_Around], lanes: dict[int, float], x: float, *, outward: int) -> Iterator[str]:
    ports = _ports(arounds)
    labels: list[str] = []
    for at, around in enumerate(arounds):
        lane = lanes[around.lane]
        start, end = ports[at, around.source], ports[at, around.target]
        turn = ROUND if end > start else -ROUND
        yield path(
            f"M{x:g} {start:g} H{lane - outward * ROUND:g} Q{lane:g} {start:g} {lane:g} {start + turn:g} "
            f"V{end - turn:g} Q{lane:g} {end:g} {lane - outward * ROUND:g} {end:g} H{x + outward:g}"
        )
        labels += _label(lane, (start + end) / 2, around.edge, anchor="middle")
    yield from labels  # above all lines


def _beside(column: Column, x: float, height: float) -> tuple[list[str], float]:
    """A brace over the whole column, and the states that every state may go to; and how far that reaches."""
    top, bottom = _top(0), height - MARGIN
    parts = [path(f"M{x:g} {top:g} h{ROUND:g} V{bottom:g} h{-ROUND:g}", arrow=False)]
    edges = _joined(column.always)
    left = x + ROUND + 2 * SPACE + 2 * ROUND + max(edge.width for edge in edges)
    middle = left + BOX[0] / 2
    heights: dict[str, float] = {}
    for place, edge in enumerate(edges, start=1):
        heights[edge.target] = y = top + (bottom - top) * place / (len(edges) + 1)
        parts += box(left, y - BOX[1] / 2, *BOX, edge.target)
        parts.append(path(f"M{x + ROUND:g} {y:g} H{left - 1:g}"))
        parts += _label((x + left) / 2, y, edge, anchor="middle")
    for edge in _joined(column.beside):
        down = 1 if heights[edge.target] > heights[edge.source] else -1
        start, end = heights[edge.source] + down * BOX[1] / 2, heights[edge.target] - down * BOX[1] / 2
        parts.append(path(f"M{middle:g} {start:g} V{end - down:g}"))
        parts += _label(middle + ROUND, (start + end) / 2, edge, anchor="start")
    return parts, left + BOX[0] + MARGIN


def _label(x: float, y: float, edge: Edge, *, anchor: str) -> Iterator[str]:
    height = LINE * len(edge.lines)
    left = x - edge.width / 2 if anchor == "middle" else x - 2
    yield rectangle(left, y - height / 2, edge.width, height, "paper")
    for place, line in enumerate(edge.lines):
        yield text(x, y - (height - LINE) / 2 + place * LINE, line, "label", anchor=anchor)
