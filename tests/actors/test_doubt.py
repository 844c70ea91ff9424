"""Once a handle on the store is in doubt nothing leaves any more; any other failure harms one turn only."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors import Options, Supervisor
from olmstate.actors._engine.states import State
from olmstate.actors.testing import Faults, MemoryDisk, MemoryStore, Operation, Step
from olmstate.messages import (
    CreateAccount,
    IdentityKeys,
    Message,
    OlmStateError,
    PrepareOneTimeKeys,
    Statistics,
    StoreBusy,
    StoreChanged,
    StoreFull,
    StorePoisoned,
    StoreUnavailable,
    SyncToken,
)
from tests.actors.supervised import refusal, state_of, supervised

REPLACED = StorePoisoned(reason="the file was replaced")
UNAVAILABLE = StoreUnavailable(reason="I/O error")


class Beside:
    """A turn under way, and what became of it."""

    def __init__(self, supervisor: Supervisor, nursery: trio.Nursery) -> None:
        self.refusal: OlmStateError | None = None
        nursery.start_soon(self._ask, supervisor)

    async def _ask(self, supervisor: Supervisor) -> None:
        self.refusal = await refusal(supervisor, CreateAccount())


def one_second(step: Step) -> float:
    return 1.0 if step.operation in ("read", "commit") else 0.0


# --- doubt --------------------------------------------------------------------------------------------------


async def test_a_commit_with_an_unknown_outcome_poisons_the_supervisor() -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults) as supervisor:
        faults.at("commit", REPLACED, when="after")
        assert isinstance(await refusal(supervisor, CreateAccount()), StorePoisoned)
        messages: tuple[Message[Any], ...] = (CreateAccount(), IdentityKeys(), Statistics())
        for message in messages:
            assert isinstance(await refusal(supervisor, message), StorePoisoned)
        assert state_of(supervisor) is State.POISONED
        assert disk.slot.holder is None
    async with supervised(disk) as another:
        await another.ask(IdentityKeys())  # it was written after all, which nobody could know


async def test_a_doubt_that_a_query_finds_is_the_supervisors() -> None:
    faults = Faults()
    async with supervised(MemoryDisk(), faults=faults) as supervisor:
        faults.at("look", REPLACED)
        assert isinstance(await refusal(supervisor, SyncToken()), StorePoisoned)
        assert isinstance(await refusal(supervisor, CreateAccount()), StorePoisoned)
        assert state_of(supervisor) is State.POISONED


@pytest.mark.parametrize("gets_it", [True, False])
async def test_a_doubt_that_a_query_finds_while_a_turn_waits_for_the_lock_ends_the_turn(
    gets_it: bool,  # noqa: FBT001 - whether it gets the lock in the end
    autojump_clock: MockClock,
) -> None:
    # the supervisor fell, because a poisoned one can't go on to the turn's next state
    disk, faults, other = MemoryDisk(), Faults(), Faults()
    holder = MemoryStore(disk, faults=other, pid=2).lock
    async with supervised(disk, faults=faults, options=Options(lock_timeout=5)) as supervisor:
        holder.acquire_nowait()
        async with trio.open_nursery() as nursery:
            beside = Beside(supervisor, nursery)
            await trio.sleep(1)
            assert state_of(supervisor) is State.ACQUIRING
            faults.at("look", REPLACED)
            assert isinstance(await refusal(supervisor, SyncToken()), StorePoisoned)
            if gets_it:
                holder.release()
        assert isinstance(beside.refusal, StorePoisoned)
        assert state_of(supervisor) is State.POISONED
        assert disk.slot.holder is (None if gets_it else holder)


@pytest.mark.parametrize("state", [State.RUNNING, State.COMMITTING])
@pytest.mark.parametrize("fails_itself", [False, True])
async def test_a_doubt_that_a_query_finds_beside_a_turn_ends_the_turn(
    state: State,
    fails_itself: bool,  # noqa: FBT001 - whether the turn's own step fails, too
    autojump_clock: MockClock,
) -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults, latency=one_second) as supervisor:
        async with trio.open_nursery() as nursery:
            beside = Beside(supervisor, nursery)
            await trio.sleep(0.7 if state is State.RUNNING else 1.7)
            assert state_of(supervisor) is state
            if fails_itself:
                faults.at("read" if state is State.RUNNING else "commit", UNAVAILABLE, when="after")
            faults.at("look", REPLACED)
            assert isinstance(await refusal(supervisor, Statistics()), StorePoisoned)
        assert isinstance(beside.refusal, StorePoisoned)
        assert state_of(supervisor) is State.POISONED
        assert disk.slot.holder is None


async def test_a_doubt_is_heard_of_by_those_who_wait_for_the_next_turn(autojump_clock: MockClock) -> None:
    faults = Faults()
    async with supervised(MemoryDisk(), faults=faults, latency=one_second) as supervisor:
        async with trio.open_nursery() as nursery:
            first = Beside(supervisor, nursery)
            await trio.sleep(0.5)
            second = Beside(supervisor, nursery)
            await trio.sleep(0.1)
            faults.at("commit", REPLACED)
        assert isinstance(first.refusal, StorePoisoned)
        assert isinstance(second.refusal, StorePoisoned)


async def test_refusals_do_not_grow_with_their_number(autojump_clock: MockClock) -> None:
    # one exception was raised again and again, and collected the frames of each time
    faults, found = Faults(), StorePoisoned(reason="the file was replaced")
    async with supervised(MemoryDisk(), faults=faults) as supervisor:
        faults.at("look", found)
        with supervisor.subscribe(StoreChanged):  # the watch is refused every 0.1 s
            await trio.sleep(60)
            error = await refusal(supervisor, SyncToken())
    assert error is not found
    assert _frames(found) < 10
    assert _frames(error) < 10


def _frames(error: BaseException) -> int:
    frames, trace = 0, error.__traceback__
    while trace is not None:
        frames, trace = frames + 1, trace.tb_next
    return frames


# --- other failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["acquire_nowait", "look", "read", "commit"])
async def test_a_store_that_refuses_fails_the_turn_and_not_the_next_one(operation: Operation) -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults) as supervisor:
        faults.at(operation, UNAVAILABLE)
        assert isinstance(await refusal(supervisor, CreateAccount()), StoreUnavailable)
        assert state_of(supervisor) is State.IDLE
        assert disk.slot.holder is None
        await supervisor.ask(CreateAccount())


async def test_a_lock_that_fails_while_it_is_waited_for_fails_the_turn_only(autojump_clock: MockClock) -> None:
    # only StoreBusy was expected of a lock: anything else was an illegal move, and the supervisor fell
    disk, faults = MemoryDisk(), Faults()
    holder = MemoryStore(disk, pid=2).lock
    async with supervised(disk, faults=faults) as supervisor:
        holder.acquire_nowait()
        faults.at("acquire", UNAVAILABLE)
        assert isinstance(await refusal(supervisor, CreateAccount()), StoreUnavailable)
        assert state_of(supervisor) is State.IDLE
        holder.release()
        await supervisor.ask(CreateAccount())


async def test_a_lock_that_cannot_tell_who_waits_is_let_go(autojump_clock: MockClock) -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults, latency=one_second) as supervisor:
        faults.at("contended", UNAVAILABLE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.ask, CreateAccount())
            await trio.sleep(0.5)
            nursery.start_soon(supervisor.ask, PrepareOneTimeKeys())  # waits when the first turn ends
        assert state_of(supervisor) is State.IDLE
    operations = [step.operation for step in faults.steps]
    assert operations.count("contended") == 1
    assert operations.count("acquire_nowait") >= 2


async def test_a_lock_that_another_holds_too_long_fails_all_commands_of_the_turn(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    holder = MemoryStore(disk, pid=4711).lock
    async with supervised(disk, options=Options(lock_timeout=3)) as supervisor:
        holder.acquire_nowait()
        async with trio.open_nursery() as nursery:
            asked = [Beside(supervisor, nursery) for _ in range(3)]
        for each in asked:
            assert isinstance(each.refusal, StoreBusy)
            assert each.refusal.holder_pid == 4711
            assert each.refusal.waited == 3
        assert len({id(each.refusal) for each in asked}) == 3  # each asker's own, to raise
        assert state_of(supervisor) is State.IDLE
        statistics = await supervisor.ask(Statistics())
        assert statistics.lock_holder == 4711
        assert statistics.longest_lock_wait == 3
        holder.release()
        await supervisor.ask(CreateAccount())


async def test_a_full_disk_fails_all_commands_of_the_turn_and_nothing_of_them_is_kept() -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults) as supervisor:
        faults.at("commit", StoreFull())
        assert isinstance(await refusal(supervisor, CreateAccount()), StoreFull)
        assert disk.generation == 0
        await supervisor.ask(CreateAccount())  # it has no account yet
