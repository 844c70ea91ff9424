"""The diagrams show what the code does: all of it, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence

import attrs
import pytest
from docs.extensions.state_machine import Edge, StateMachine
from docs.extensions.states import (
    CACHE_MOVES,
    CACHE_STATES,
    VERIFICATION_TABLES,
    cache_machine,
    supervisor_machine,
    verification_machine,
)

from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.states import LOCKED, TRANSITIONS
from olmstate.actors._wire.steps import at_once
from olmstate.storage import Row, Table

KEY = b"key"


def test_the_supervisors_diagram_has_every_row_of_its_table() -> None:
    machine = supervisor_machine()
    always = [Edge(state, edge.label, edge.target) for edge in machine.always for state in machine.states]
    drawn = {(edge.source, edge.label, edge.target) for edge in (*machine.edges, *always, *machine.beside)}
    table = {
        (state.name, move.name.lower(), target.name)
        for state, moves in TRANSITIONS.items()
        for move, target in moves.items()
        # a state at the end that stays what it is needs no line
        if state is not target or state.name in machine.states
    }
    assert table == drawn
    assert {state.name for state in LOCKED} == machine.marked


@pytest.mark.parametrize("name", VERIFICATION_TABLES)
def test_a_verifications_diagram_has_every_row_of_its_table(name: str) -> None:
    machine = verification_machine(name)
    drawn = {(edge.source, edge.label, edge.target) for edge in machine.edges}
    for edge in machine.always:
        label, _, sources = edge.label.partition(", from\n")
        drawn |= {(source, label, edge.target) for source in sources.split(",\n")}
    table = {
        (state.name, move.value, (found.state or state).name)
        for state, row in VERIFICATION_TABLES[name].items()
        for move, found in row.items()
        if found is not None
    }
    assert table == drawn


@pytest.mark.parametrize(
    "machine", [supervisor_machine(), cache_machine(), *(verification_machine(name) for name in VERIFICATION_TABLES)]
)
def test_everything_in_a_diagram_is_on_paper(machine: StateMachine) -> None:
    svg = machine.svg("a <title>")
    assert "<title>a &lt;title&gt;</title>" in svg
    edges = (*machine.edges, *machine.always, *machine.beside)
    for state in {*machine.states, *(edge.target for edge in edges)}:
        assert f">{state}</text>" in svg
    for edge in edges:
        for line in edge.label.split("\n"):
            assert f">{line}</text>" in svg
    assert len({(edge.source, edge.target) for edge in edges}) == svg.count('class="edge"')


@attrs.frozen
class Nothing:
    """A codec of entries that hold nothing."""

    def decode(self, partition: bytes, rows: Sequence[Row]) -> str:
        del partition, rows
        return "entry"

    def encode(self, partition: bytes, entry: str) -> Iterable[Row]:
        del partition, entry
        return ()


def state_of(cache: Cache[str]) -> str:
    if cache.dirty:
        return "DIRTY"
    if cache.holds([KEY], committed=True):
        return "CLEAN"
    filled = copy.deepcopy(cache)
    at_once(filled.fill({KEY: ()}))
    return "LOADING" if filled.holds([KEY], committed=True) else "ABSENT"


MOVES: dict[str, Callable[[Cache[str]], object]] = {
    "wanted": lambda cache: cache.missing([KEY], committed=False),
    "filled": lambda cache: at_once(cache.fill({KEY: ()})),
    "changed": lambda cache: cache.change(KEY),
    "put": lambda cache: cache.put(KEY, "other entry"),
    "committed": lambda cache: cache.commit(),
    "rolled back": lambda cache: cache.roll_back(),
    "invalidated": lambda cache: cache.invalidate([KEY]),
    "evicted": lambda cache: cache.trim(),
}


def cache_in(state: str, *, room: int) -> Cache[str]:
    """A cache whose one entry is in ``state``."""
    cache = Cache[str](Table.DEVICES, Nothing(), room)
    for move in ("wanted", "filled", "changed")[: CACHE_STATES.index(state)]:
        MOVES[move](cache)
    assert state == state_of(cache)
    return cache


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("state", CACHE_STATES)
def test_a_real_cache_moves_as_the_diagram_says(state: str, move: str) -> None:
    cache = cache_in(state, room=0 if move == "evicted" else 1)
    drawn = {target for source, label, target in CACHE_MOVES if (source, label) == (state, move)}
    try:
        MOVES[move](cache)
    except KeyError:
        assert set() == drawn  # what isn't loaded can't be changed
    else:
        assert (drawn or {state}) == {state_of(cache)}


def test_a_query_finds_the_committed_copy_of_an_entry_that_a_turn_has_changed() -> None:
    cache = cache_in("DIRTY", room=1)
    assert [KEY] == cache.missing([KEY], committed=True)
    at_once(cache.fill({KEY: ()}))
    cache.roll_back()
    assert "CLEAN" == state_of(cache)
