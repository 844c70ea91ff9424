"""The state machines, to be drawn.

Owns: what of a table goes where.
Rule: the supervisor's and the verification's come from the very tables that their code moves along. The cache has no
    such table, since its code needs none; `CACHE_MOVES` is one, and a test takes a real cache through each of its rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from olmstate.actors._engine.states import LOCKED, TRANSITIONS
from olmstate.actors._verification import flow

from .state_machine import Edge, StateMachine

CACHE_STATES = ("ABSENT", "LOADING", "CLEAN", "DIRTY")
CACHE_MOVES: Sequence[tuple[str, str, str]] = (
    ("ABSENT", "wanted", "LOADING"),
    ("ABSENT", "put", "DIRTY"),
    ("LOADING", "filled", "CLEAN"),
    ("LOADING", "invalidated", "ABSENT"),
    ("LOADING", "put", "DIRTY"),
    ("CLEAN", "changed", "DIRTY"),
    ("CLEAN", "put", "DIRTY"),
    ("CLEAN", "invalidated", "ABSENT"),
    ("CLEAN", "evicted", "ABSENT"),
    ("DIRTY", "committed", "CLEAN"),
    ("DIRTY", "rolled back", "ABSENT"),
    ("DIRTY", "invalidated", "ABSENT"),
)


def supervisor_edges() -> list[Edge]:
    """Every row of the supervisor's table."""
    return [
        Edge(state.name, move.name.lower(), target.name)
        for state, moves in TRANSITIONS.items()
        for move, target in moves.items()
    ]


def supervisor_machine() -> StateMachine:
    """The supervisor's table; beside it the states that lead nowhere any more."""
    edges = supervisor_edges()
    ends = _ends(edges, first=edges[0].source)
    inside = list(dict.fromkeys(edge.source for edge in edges if edge.source not in ends))
    sources: dict[tuple[str, str], list[str]] = defaultdict(list)
    for edge in edges:
        if edge.source in inside and edge.target in ends:
            sources[edge.label, edge.target].append(edge.source)
    return StateMachine(
        states=inside,
        edges=[edge for edge in edges if edge.source in inside and edge.target in inside],
        marked=frozenset(state.name for state in LOCKED),
        always=[
            Edge("every state", label if found == inside else f"{label}, only\nfrom {', '.join(found)}", target)
            for (label, target), found in sources.items()
        ],
        beside=[edge for edge in edges if edge.source in ends and edge.source != edge.target],
    )


def _ends(edges: Sequence[Edge], *, first: str) -> set[str]:
    """The states from which ``first`` is never reached again."""
    reaching = {first}
    while new := {edge.source for edge in edges if edge.target in reaching} - reaching:
        reaching |= new
    return {edge.source for edge in edges} - reaching


def cache_machine() -> StateMachine:
    """The cache's table."""
    return StateMachine(states=CACHE_STATES, edges=[Edge(*move) for move in CACHE_MOVES], marked=frozenset({"DIRTY"}))


VERIFICATION_TABLES: Mapping[str, flow.Table] = {"request": flow.REQUEST, "sas": flow.SAS, "qr": flow.QR}


def verification_edges(name: str) -> list[Edge]:
    """Every row of one of the verification's tables that leads somewhere."""
    return [
        Edge(state.name, move.value, (found.state or state).name)
        for state, row in VERIFICATION_TABLES[name].items()
        for move, found in row.items()
        if found is not None
    ]


def verification_machine(name: str) -> StateMachine:
    """One of the verification's tables: its states, those they lead to, and beside them the bad ends."""
    edges = verification_edges(name)
    bad_ends = {state.name for state in flow.ENDS} - {flow.State.DONE.name}
    inside = [state.name for state in VERIFICATION_TABLES[name]]
    targets = {edge.target for edge in edges}.difference(inside, bad_ends)
    sources: dict[tuple[str, str], list[str]] = defaultdict(list)
    for edge in edges:
        if edge.target in bad_ends:
            sources[edge.label, edge.target].append(edge.source)
    return StateMachine(
        states=[*inside, *(state.name for state in flow.State if state.name in targets)],
        edges=[edge for edge in edges if edge.target not in bad_ends],
        marked=frozenset({flow.State.DONE.name}),
        always=[
            Edge("every state", f"{label}, from\n" + ",\n".join(found), target)
            for (label, target), found in sources.items()
        ],
    )
