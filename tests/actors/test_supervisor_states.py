"""The supervisor moves along its table and nowhere else, and holds the lock where the table says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.actors import Options, Supervisor
from olmstate.actors._capabilities import CAPABILITIES
from olmstate.actors._engine.runner import Runner
from olmstate.actors._engine.states import LOCKED, TRANSITIONS, IllegalMove, Move, State, next_state
from olmstate.actors._engine.turn import Turn
from olmstate.actors.testing import DEVICE, USER, Faults, MemoryDisk, MemoryStore, Operation, Step
from olmstate.messages import (
    AddRoomKey,
    CreateAccount,
    DecryptRoomEvent,
    MalformedMessage,
    Message,
    OlmStateError,
    PrepareOneTimeKeys,
    RoomKeyChange,
    StorePoisoned,
    StoreUnavailable,
    SyncToken,
)
from olmstate.storage import Fenced, Table
from tests.actors.capabilities import Run, with_run
from tests.actors.supervised import state_of, supervised
from tests.operations.peer import Peer, Room

LEGAL = {(state, move) for state, moves in TRANSITIONS.items() for move in moves}
ENDS = (State.IDLE, State.POISONED, State.CLOSED)

# A released turn is over in the same step, and doubt and the end come once. The table has them so that no order of
# events can be an illegal one.
NEVER_SEEN = {
    (State.RELEASING, Move.POISON),
    (State.RELEASING, Move.CLOSE),
    (State.POISONED, Move.POISON),
    (State.CLOSED, Move.CLOSE),
}


# --- the table ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "move"), sorted(LEGAL, key=str))
def test_a_move_of_the_table_leads_where_it_says(state: State, move: Move) -> None:
    assert TRANSITIONS[state][move] is next_state(state, move)


@pytest.mark.parametrize(("state", "move"), sorted(set(product(State, Move)) - LEGAL, key=str))
def test_a_move_that_is_not_in_the_table_raises_and_nothing_happens(state: State, move: Move) -> None:
    with pytest.raises(IllegalMove, match=state.name):
        next_state(state, move)
    supervisor = Runner(MemoryStore(MemoryDisk()), CAPABILITIES, user_id=USER, device_id=DEVICE)
    supervisor._state = state  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(IllegalMove):
        supervisor._move(move)  # pyright: ignore[reportPrivateUsage]
    assert supervisor.state is state


def reachable(start: State) -> set[State]:
    found, new = {start}, [start]
    while new:
        for state in TRANSITIONS[new.pop()].values():
            if state not in found:
                found.add(state)
                new.append(state)
    return found


@pytest.mark.parametrize("state", State)
def test_from_every_state_an_end_is_reached(state: State) -> None:
    assert reachable(state) & set(ENDS)
    assert State.CLOSED in reachable(state)


@pytest.mark.parametrize("state", set(State) - {State.POISONED, State.CLOSED})
def test_a_turn_can_always_come_to_rest_or_be_found_in_doubt(state: State) -> None:
    assert {State.IDLE, State.POISONED} <= reachable(state)
    assert TRANSITIONS[state][Move.POISON] is State.POISONED
    assert TRANSITIONS[state][Move.CLOSE] is State.CLOSED


def test_from_doubt_there_is_no_way_back() -> None:
    assert reachable(State.POISONED) == {State.POISONED, State.CLOSED}
    assert reachable(State.CLOSED) == {State.CLOSED}


def test_every_state_and_every_move_is_of_use() -> None:
    assert set(State) == reachable(State.IDLE)
    assert set(Move) == {move for _, move in LEGAL}


def test_the_lock_is_got_in_one_way_and_let_go_in_three() -> None:
    enters = {(state, move) for state, move in LEGAL if state not in LOCKED and TRANSITIONS[state][move] in LOCKED}
    leaves = {move for state, move in LEGAL if state in LOCKED and TRANSITIONS[state][move] not in LOCKED}
    assert enters == {(State.ACQUIRING, Move.LOCKED)}
    assert leaves == {Move.RELEASED, Move.POISON, Move.CLOSE}


# --- what is seen of it -------------------------------------------------------------------------------------


class Trace(trio.abc.Instrument):
    """The moves of supervisors, and a look at state and lock after each step of any task."""

    def __init__(self) -> None:
        self.moves: list[tuple[State, Move]] = []
        self.watched: list[Runner] = []
        self.disagreements: list[State] = []

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - the protocol's
        for supervisor in self.watched:
            held = supervisor._store.lock.held  # pyright: ignore[reportPrivateUsage]
            # in doubt while a turn is under way: the turn lets the lock go as soon as it hears of it
            if held != (supervisor.state in LOCKED) and not (held and supervisor.state is State.POISONED):
                self.disagreements.append(supervisor.state)


@pytest.fixture
async def trace(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Trace]:
    trace = Trace()
    move_on = Runner._move  # pyright: ignore[reportPrivateUsage]

    def traced(self: Runner, move: Move) -> None:
        before = self.state
        if self not in trace.watched:
            trace.watched.append(self)
        move_on(self, move)
        trace.moves.append((before, move))

    monkeypatch.setattr(Runner, "_move", traced)
    trio.lowlevel.add_instrument(trace)
    yield trace
    trio.lowlevel.remove_instrument(trace)


def a_second(step: Step) -> float:
    return 1.0 if step.operation in ("read", "commit", "acquire") else 0.0


async def ask(supervisor: Supervisor, message: Message[Any]) -> None:
    with suppress(OlmStateError):
        await supervisor.ask(message)


async def test_a_turn_goes_through_its_states_in_their_order(trace: Trace) -> None:
    async with supervised(MemoryDisk()) as supervisor:
        await supervisor.ask(CreateAccount())
        assert trace.moves == [
            (State.IDLE, Move.COMMAND),
            (State.ACQUIRING, Move.LOCKED),
            (State.REFRESHING, Move.REFRESHED),
            (State.RUNNING, Move.RAN),
            (State.COMMITTING, Move.COMMITTED),
            (State.RELEASING, Move.RELEASED),
        ]
    assert trace.moves[-1] == (State.IDLE, Move.CLOSE)
    assert trace.disagreements == []


async def test_a_query_moves_nothing(trace: Trace) -> None:
    async with supervised(MemoryDisk()) as supervisor:
        await supervisor.ask(SyncToken())
        assert trace.moves == []


async def test_all_of_the_table_is_gone_through_and_the_lock_is_held_as_it_says(
    trace: Trace, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(Peer())
    refused = {room.session_id}

    def refusing(run: Run) -> Run:
        async def refuse_half_way(turn: Turn, command: AddRoomKey) -> RoomKeyChange:
            change: RoomKeyChange = await run(turn, command)
            if command.session_id in refused:
                raise MalformedMessage(reason="half-way")
            return change

        return refuse_half_way

    monkeypatch.setattr("olmstate.actors._open.CAPABILITIES", with_run(AddRoomKey, refusing))

    # in order: a turn kept, one spoiled, one fenced, one failed in each state, one busy
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults, latency=a_second, options=Options(lock_timeout=9)) as supervisor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, supervisor, CreateAccount())
            await trio.sleep(0.5)
            nursery.start_soon(ask, supervisor, PrepareOneTimeKeys())
        await ask(supervisor, room.add_room_key())
        faults.at("commit", Fenced())
        await ask(supervisor, Room(Peer()).add_room_key())
        operations: tuple[Operation, ...] = ("look", "read", "commit")
        for operation in operations:
            faults.at(operation, StoreUnavailable(reason="I/O error"))
            await ask(supervisor, Room(Peer()).add_room_key())
        holder = MemoryStore(disk, pid=2).lock
        holder.acquire_nowait()
        await ask(supervisor, Room(Peer()).add_room_key())
        holder.release()

    # in doubt, in each state
    for state in (State.IDLE, State.ACQUIRING, State.REFRESHING, State.RUNNING, State.COMMITTING):
        await stop_in(state, trace, doubt=True)
    # cut short, in each state in which something waits
    for state in (State.ACQUIRING, State.RUNNING, State.COMMITTING):
        await stop_in(state, trace, doubt=False)

    # nothing waits in this state, so only what ends the program ends it
    disk, faults = MemoryDisk(), Faults()
    faults.at("look", interrupt)
    with pytest.raises(KeyboardInterrupt):
        async with supervised(disk, faults=faults) as supervisor:
            await ask(supervisor, CreateAccount())

    assert LEGAL - set(trace.moves) == NEVER_SEEN
    assert trace.disagreements == []


def interrupt() -> None:
    raise KeyboardInterrupt


async def stop_in(state: State, trace: Trace, *, doubt: bool) -> None:
    """Bring a supervisor to a state, and end it there: by doubt that a query finds beside it, or by its deadline."""
    disk, faults = MemoryDisk(), Faults()
    holder = MemoryStore(disk, pid=2).lock
    found = StorePoisoned(reason="the file was replaced")
    async with trio.open_nursery() as nursery:
        capacities = {Table.MESSAGE_INDICES: 0}
        options = Options(drain=0.2, lock_timeout=100, write_behind=3600, capacities=capacities)
        async with supervised(disk, faults=faults, latency=a_second, options=options) as supervisor:
            if state is State.COMMITTING and not doubt:
                room = Room(Peer())  # the commit itself is not cut short, but the load of what is written behind is
                await supervisor.ask(room.add_room_key())
                await supervisor.ask(DecryptRoomEvent(room_id=room.room_id, event=room.send()))
            if state is State.ACQUIRING:
                holder.acquire_nowait()
            if state is State.REFRESHING:
                faults.at("look", found)
            if state is not State.IDLE:
                nursery.start_soon(ask, supervisor, CreateAccount())
                # the account was looked for with the room key already
                await trio.sleep(1.5 if state is State.COMMITTING and doubt else 0.5)
            if doubt and state is not State.REFRESHING:
                assert state_of(supervisor) is state
                faults.at("look", found)
                await ask(supervisor, SyncToken())
            if doubt and state is State.ACQUIRING:
                holder.release()
                await wait_all_tasks_blocked()
    assert (state, Move.POISON if doubt else Move.CLOSE) in trace.moves
    if holder.held:
        holder.release()
    assert disk.slot.holder is None
