"""What every actor does: it loads late, forgets at once, changes all or nothing, and answers each asker once."""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.actors._engine.actor import BATCH, SLICE, Committed, Invalidate, Notice, RolledBack
from olmstate.actors._wire.steps import at_once
from olmstate.actors.testing import Faults, MemoryDisk, MemoryStore, Step, run_actor
from olmstate.messages import (
    InternalError,
    MalformedMessage,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from olmstate.storage import Row, Table
from tests.actors.notes import Break, BreakBefore, Bug, Look, LookInTurn, Notes, Page, Refuse, RefuseBefore, Write, rows


def a_second(step: Step) -> float:
    return 1.0 if step.operation in ("read", "page") else 0.0


def forget(generation: int, *names: str) -> Invalidate:
    """Another handle has written these notes, or, if none is named, anything."""
    partitions = {Table.DEVICES: frozenset(name.encode() for name in names)} if names else None
    return Invalidate(generation=generation, partitions=partitions)


def write_and_tell(disk: MemoryDisk, actor: Notes, **notes: str) -> None:
    """Another handle writes, and a supervisor looks."""
    generation = disk.write_from_elsewhere(rows(**notes))
    actor.newest.generation = generation
    actor.notify(forget(generation, *notes))


def tell(actor: Notes, notice: Notice) -> weakref.ref[Notice]:
    actor.notify(notice)
    return weakref.ref(notice)


def reads(faults: Faults) -> int:
    return sum(step.operation == "read" for step in faults.steps)


@pytest.fixture
def disk() -> MemoryDisk:
    disk = MemoryDisk()
    disk.write_from_elsewhere(rows(a="a1", b="b1", c="c1"))
    return disk


# --- laziness -----------------------------------------------------------------------------------------------


async def test_nothing_is_loaded_until_it_is_asked_for(disk: MemoryDisk) -> None:
    faults = Faults()
    async with run_actor(Notes(MemoryStore(disk, faults=faults))):
        await wait_all_tasks_blocked()
    assert faults.steps == []


async def test_a_value_is_read_once_however_often_it_is_asked_for(disk: MemoryDisk) -> None:
    faults = Faults()
    async with run_actor(Notes(MemoryStore(disk, faults=faults))) as notes:
        for _ in range(5):
            assert ("a1",) == await notes.ask(Look(("a",)))
        statistics = notes.statistics()["devices"]
    assert reads(faults) == 1
    assert (statistics.misses, statistics.hits, statistics.loaded) == (1, 4, 1)


async def test_a_value_that_is_not_there_is_read_once_as_well(disk: MemoryDisk) -> None:
    faults = Faults()
    async with run_actor(Notes(MemoryStore(disk, faults=faults))) as notes:
        for _ in range(2):
            assert ("",) == await notes.ask(Look(("nobody",)))
    assert reads(faults) == 1


async def test_all_that_a_message_needs_is_read_at_once(disk: MemoryDisk) -> None:
    faults = Faults()
    async with run_actor(Notes(MemoryStore(disk, faults=faults))) as notes:
        await notes.ask(Look(("b",)))
        assert ("a1", "b1", "c1", "a1") == await notes.ask(Look(("a", "b", "c", "a")))
    assert reads(faults) == 2
    assert notes.loaded == 3


# --- invalidation -------------------------------------------------------------------------------------------


async def test_a_copy_that_was_invalidated_is_loaded_again(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Look(("a", "b")))
        write_and_tell(disk, notes, a="a2")
        assert ("a2", "b1") == await notes.ask(Look(("a", "b")))
    assert notes.loaded == 3  # b was not
    assert notes.notes.statistics().invalidated == 1


async def test_an_invalidation_of_anything_drops_everything(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Look(("a", "b")))
        notes.notify(forget(2))
        assert notes.notes.statistics().cached == 0
        await notes.ask(Look(("a", "b")))
    assert notes.loaded == 4
    assert notes.notes.statistics().invalidated_whole == 1


async def test_an_invalidation_of_another_actors_table_drops_nothing(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Look(("a",)))
        notes.notify(Invalidate(generation=2, partitions={Table.ACCOUNT: frozenset({b"a"})}))
        await notes.ask(Look(("a",)))
    assert notes.loaded == 1


async def test_what_is_invalidated_while_it_is_loaded_is_loaded_again(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    faults = Faults()
    store = MemoryStore(disk, faults=faults, latency=a_second)
    async with run_actor(Notes(store)) as notes:
        faults.at("read", lambda: write_and_tell(disk, notes, a="a2"), when="after")
        assert ("a2",) == await notes.ask(Look(("a",)))
    assert reads(faults) == 2


async def test_what_is_invalidated_while_another_value_is_loaded_is_loaded_again(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    faults = Faults()
    async with run_actor(Notes(MemoryStore(disk, faults=faults, latency=a_second))) as notes:
        await notes.ask(Look(("a",)))
        faults.at("read", lambda: write_and_tell(disk, notes, a="a2"), when="after")
        assert ("a2", "b1") == await notes.ask(Look(("a", "b")))


async def test_a_load_survives_an_invalidation_of_something_else(disk: MemoryDisk, autojump_clock: MockClock) -> None:
    faults = Faults()
    async with run_actor(Notes(MemoryStore(disk, faults=faults, latency=a_second))) as notes:
        faults.at("read", lambda: write_and_tell(disk, notes, b="b2"), when="after")
        assert ("a1",) == await notes.ask(Look(("a",)))
    assert reads(faults) == 1


async def test_a_load_that_is_invalidated_again_and_again_ends_when_that_ends(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    faults = Faults()
    async with run_actor(Notes(MemoryStore(disk, faults=faults, latency=a_second))) as notes:
        for number in range(5):
            faults.at("read", partial(write_and_tell, disk, notes, a=f"a{number}"), when="after")
        assert ("a4",) == await notes.ask(Look(("a",)))
    assert reads(faults) == 6


async def test_an_invalidation_in_the_midst_of_a_batch_holds_for_the_messages_behind_it(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    faults, texts = Faults(), list[tuple[str, ...]]()
    async with run_actor(Notes(MemoryStore(disk, faults=faults, latency=a_second))) as notes:
        await notes.ask(Look(("a",)))

        async def ask(*names: str) -> None:
            texts.append(await notes.ask(Look(names)))

        # the second message waits for its load while the third waits behind it
        faults.at("read", lambda: write_and_tell(disk, notes, a="a2"), when="after")
        async with trio.open_nursery() as nursery:
            for names in (("a",), ("b",), ("a",)):
                nursery.start_soon(ask, *names)
                await trio.sleep(0.1)
    assert texts == [("a1",), ("b1",), ("a2",)]


@pytest.mark.parametrize("busy", [False, True])
async def test_a_message_from_after_a_write_that_the_actor_missed_is_not_answered_from_before_it(
    disk: MemoryDisk,
    busy: bool,  # noqa: FBT001 - whether the message waits in the mailbox
    autojump_clock: MockClock,
) -> None:
    async with run_actor(Notes(MemoryStore(disk, latency=a_second))) as notes, trio.open_nursery() as nursery:
        await notes.ask(Look(("a",)))
        notes.newest.generation = disk.write_from_elsewhere(rows(a="a2"))  # and nobody tells the actor
        if busy:
            nursery.start_soon(notes.ask, Look(("b",)))
            await wait_all_tasks_blocked()
        assert ("a2",) == await notes.ask(Look(("a",)))


async def test_an_actor_that_missed_nothing_drops_nothing(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        notes.newest.generation = 7
        notes.notify(Invalidate(generation=7, partitions={}))
        await notes.ask(Look(("a",)))
        notes.notify(Invalidate(generation=3, partitions={}))  # older than what it knows
        await notes.ask(Look(("a",)))
    assert notes.loaded == 1
    assert notes.notes.statistics().invalidated_whole == 0


@pytest.mark.parametrize(
    "notice",
    [lambda: Committed(generation=1), RolledBack, lambda: forget(1), lambda: forget(1, "a")],
)
async def test_an_idle_actor_keeps_nothing_of_what_it_is_told(disk: MemoryDisk, notice: Callable[[], Notice]) -> None:
    # a list of notices grew by one each turn until somebody asked the actor something
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Look(("a", "b")))
        assert [told() for told in [tell(notes, notice()) for _ in range(100)]] == [None] * 100


# --- turns --------------------------------------------------------------------------------------------------


async def test_a_query_sees_nothing_of_a_turn_until_it_is_committed(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Look(("a",)))
        await notes.ask(Write("a", "a2"))
        assert ("a1",) == await notes.ask(Look(("a",)))
        assert ("a2",) == await notes.ask(LookInTurn(("a",)))
        assert ("a1",) == await notes.ask(Look(("a",)))  # though the turn has looked, too
        disk.write_from_elsewhere(at_once(notes.changed_rows()))
        notes.notify(Committed(generation=2))
        assert ("a2",) == await notes.ask(Look(("a",)))
    assert notes.loaded == 2  # for the turn, and for the query beside it


async def test_a_query_that_is_loading_while_the_turn_is_committed_sees_it_whole(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    faults = Faults()
    async with run_actor(Notes(MemoryStore(disk, faults=faults, latency=a_second))) as notes:
        await notes.ask(Write("a", "a2"))

        def commit() -> None:
            disk.write_from_elsewhere(at_once(notes.changed_rows()))
            notes.notify(Committed(generation=2))

        faults.at("read", commit, when="after")  # a1 is on its way by now
        assert ("a2",) == await notes.ask(Look(("a",)))
        assert ("a2",) == await notes.ask(Look(("a",)))


async def test_a_rollback_takes_back_what_the_turn_has_changed_and_nothing_else(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Look(("a", "b")))
        await notes.ask(Write("a", "a2"))
        notes.notify(RolledBack())
        assert at_once(notes.changed_rows()) == {}
        assert ("a1", "b1") == await notes.ask(LookInTurn(("a", "b")))
    assert notes.loaded == 3  # b was there all the time


async def test_an_actor_hears_of_what_others_have_written_of_its_and_of_the_end_of_a_turn_that_has(
    disk: MemoryDisk,
) -> None:
    heard: list[Notice] = []
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        notes.on_notice = heard.append
        for turn in (Committed(generation=2), RolledBack()):
            notes.notify(turn)  # of a turn that has changed nothing here
            notes.notify(Invalidate(generation=2, partitions={Table.ACCOUNT: frozenset({b"a"})}))
        assert heard == []
        concerned: list[Notice] = [forget(2, "a"), forget(2)]
        for notice in concerned:
            notes.notify(notice)
        for turn in (Committed(generation=3), RolledBack()):
            await notes.ask(Write("a", "a2"))
            elsewhere = Invalidate(generation=3, partitions={Table.ACCOUNT: frozenset({b"a"})})
            concerned += (elsewhere, turn)
            notes.notify(elsewhere)  # the turn that has changed something goes on
            notes.notify(turn)
            notes.notify(turn)  # another's
        assert concerned == heard


async def test_a_rollback_reaches_a_query_that_is_loading(disk: MemoryDisk, autojump_clock: MockClock) -> None:
    faults = Faults()
    async with run_actor(Notes(MemoryStore(disk, faults=faults, latency=a_second))) as notes:
        await notes.ask(Write("a", "a2"))
        faults.at("read", lambda: notes.notify(RolledBack()), when="after")
        assert ("a1",) == await notes.ask(Look(("a",)))
        assert ("a1",) == await notes.ask(LookInTurn(("a",)))


async def test_an_invalidation_takes_a_turns_changes_too(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Write("a", "ours"))
        write_and_tell(disk, notes, a="theirs")
        assert at_once(notes.changed_rows()) == {}
        assert ("theirs",) == await notes.ask(LookInTurn(("a",)))


async def test_what_a_turn_has_changed_is_counted(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Look(("a",)))
        assert notes.notes.changes.number == 0
        await notes.ask(Write("a", "a2"))
        await notes.ask(Write("a", "a3"))
        assert notes.notes.changes.number == 2
        notes.notify(RolledBack())
        assert notes.notes.changes.number == 2


# --- capacity -----------------------------------------------------------------------------------------------


async def test_the_least_recently_used_goes_first(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk), capacity=2)) as notes:
        for name in "abac":
            await notes.ask(Look((name,)))
        assert notes.loaded == 3
        await notes.ask(Look(("a",)))
        assert notes.loaded == 3  # a was used after b
        await notes.ask(Look(("b",)))
        assert notes.loaded == 4
    assert notes.notes.statistics().evicted == 2


async def test_a_capacity_of_none_loads_each_time(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk), capacity=0)) as notes:
        for _ in range(3):
            assert ("a1",) == await notes.ask(Look(("a",)))
        assert notes.notes.statistics().cached == 0
    assert notes.loaded == 3


async def test_a_message_has_all_that_it_needs_though_that_is_more_than_fits(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk), capacity=1)) as notes:
        assert ("a1", "b1", "c1") == await notes.ask(Look(("a", "b", "c")))
        assert notes.notes.statistics().cached == 1


async def test_what_a_turn_has_changed_is_kept_whatever_the_capacity(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk), capacity=0)) as notes:
        await notes.ask(Write("a", "a2"))
        await notes.ask(Look(("b",)))
        assert ("a2",) == await notes.ask(LookInTurn(("a",)))


# --- pages --------------------------------------------------------------------------------------------------


async def test_a_page_goes_past_the_cache(disk: MemoryDisk) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Look(("a", "b", "c")))
        disk.write_from_elsewhere({Table.DEVICES: [Row(b"bb", b"bb", b"new")]})
        assert ("a", "b") == await notes.ask(Page(limit=2))
        assert ("bb", "c") == await notes.ask(Page(after=(b"b", b"b")))
        assert () == await notes.ask(Page(after=(b"c", b"c")))
    assert notes.loaded == 3


# --- failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [Refuse("a"), RefuseBefore()])
@pytest.mark.parametrize("cached", [False, True])
async def test_a_refusal_is_the_answer_and_changes_nothing(
    disk: MemoryDisk,
    refusal: Refuse | RefuseBefore,
    cached: bool,  # noqa: FBT001 - whether nothing need be loaded for it
) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        if cached:
            await notes.ask(Look(("a",)))
        with pytest.raises(MalformedMessage):
            await notes.ask(refusal)
        assert ("a1",) == await notes.ask(Look(("a",)))
    assert notes.loaded == 1
    assert notes.notes.changes.number == 0


@pytest.mark.parametrize("error", [StoreUnavailable(reason="I/O error"), StoreFull()])
async def test_a_store_error_is_the_answer_and_drops_what_should_equal_the_store(
    disk: MemoryDisk, error: StoreError
) -> None:
    faults = Faults()
    async with run_actor(Notes(MemoryStore(disk, faults=faults))) as notes:
        await notes.ask(Look(("a",)))
        faults.at("read", error)
        with pytest.raises(type(error)):
            await notes.ask(Look(("b",)))
        assert notes.notes.statistics().cached == 0
        assert ("a1", "b1") == await notes.ask(Look(("a", "b")))


async def test_a_value_that_cannot_be_read_is_a_damaged_store(disk: MemoryDisk) -> None:
    disk.write_from_elsewhere({Table.DEVICES: [Row(b"a", b"a", b"\xff")]})
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        with pytest.raises(StoreCorrupt, match="devices"):
            await notes.ask(Look(("b", "a", "c")))
        assert ("b1",) == await notes.ask(Look(("b",)))


@pytest.mark.parametrize("message", [Break("a"), BreakBefore()])
@pytest.mark.parametrize("cached", [False, True])
async def test_a_bug_is_its_askers_and_the_actor_goes_on(
    disk: MemoryDisk,
    message: Break | BreakBefore,
    cached: bool,  # noqa: FBT001 - whether the bug is met in the asker's own slice of time
    autojump_clock: MockClock,
) -> None:
    async with run_actor(Notes(MemoryStore(disk, latency=a_second))) as notes:
        if cached:
            await notes.ask(Look(("a",)))
        with pytest.raises(InternalError) as caught:
            await notes.ask(message)
        assert isinstance(caught.value.__cause__, Bug)
        assert 0 == notes.notes.statistics().cached
        assert ("a1",) == await notes.ask(Look(("a",)))


async def test_those_who_wait_behind_a_bug_get_their_answers(
    disk: MemoryDisk, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.actors._engine.actor.MAILBOX_SIZE", 2)  # so that some wait outside
    heard: list[object] = []
    async with run_actor(Notes(MemoryStore(disk, latency=a_second))) as notes:

        async def ask(message: Break | Look) -> None:
            try:
                heard.append(await notes.ask(message))
            except InternalError as error:
                heard.append(type(error))

        async with trio.open_nursery() as askers:
            askers.start_soon(ask, Break("a"))
            await wait_all_tasks_blocked()
            for _ in range(9):
                askers.start_soon(ask, Look(("b",)))
    assert [InternalError, *[("b1",)] * 9] == heard


# --- askers -------------------------------------------------------------------------------------------------


async def test_a_message_whose_asker_left_before_it_was_begun_is_never_handled(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    async with run_actor(Notes(MemoryStore(disk, latency=a_second))) as notes, trio.open_nursery() as nursery:
        nursery.start_soon(notes.ask, Look(("a",)))
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await notes.ask(Write("b", "never"))
        assert ("b1",) == await notes.ask(LookInTurn(("b",)))
    assert Write("b", "never") not in notes.handled


async def test_a_message_whose_asker_left_while_it_was_loaded_for_is_finished(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    async with run_actor(Notes(MemoryStore(disk, latency=a_second))) as notes:
        with trio.move_on_after(0.5) as scope:
            await notes.ask(Write("a", "a2"))
        assert scope.cancelled_caught
        assert ("a2",) == await notes.ask(LookInTurn(("a",)))


@pytest.mark.parametrize("attempt", range(6))
@pytest.mark.parametrize("cached", [False, True])
async def test_a_message_of_an_asker_that_is_cancelled_already_is_never_handled(
    disk: MemoryDisk,
    cached: bool,  # noqa: FBT001 - whether it could be handled at once
    attempt: int,
) -> None:
    # the actor could be quicker to begin it than the asker to hear of its own cancellation
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Look(("a" if cached else "b",)))
        with trio.CancelScope() as scope:
            scope.cancel()
            await notes.ask(Write("a", "never"))
        assert scope.cancelled_caught
        assert ("a1",) == await notes.ask(LookInTurn(("a",)))


async def test_a_message_that_is_handled_at_once_is_answered_though_its_asker_is_cancelled_meanwhile(
    disk: MemoryDisk,
) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes:
        await notes.ask(Look(("a",)))
        with trio.CancelScope() as scope:
            notes.on_handle = scope.cancel
            assert ("a1",) == await notes.ask(LookInTurn(("a",)))
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught


# --- in the asker's own slice of time -----------------------------------------------------------------------


@pytest.mark.parametrize("attempt", range(6))  # two tasks that are ready at once run in either order
async def test_an_idle_actor_that_has_everything_handles_a_message_before_anybody_else_runs(
    disk: MemoryDisk, attempt: int
) -> None:
    order: list[str] = []

    async def run_beside() -> None:
        order.append("another")
        await trio.lowlevel.checkpoint()

    async with run_actor(Notes(MemoryStore(disk))) as notes, trio.open_nursery() as nursery:
        await notes.ask(Look(("a",)))
        nursery.start_soon(run_beside)
        notes.on_handle = lambda: order.append("handled")
        await notes.ask(Look(("a",)))
    assert order[0] == "handled"


@pytest.mark.parametrize("entries", [0, 1, 2 * SLICE])
async def test_an_asker_whose_messages_are_handled_at_once_gives_other_tasks_a_chance(
    disk: MemoryDisk, entries: int
) -> None:
    seen = [0]

    async def look_again() -> None:
        while True:
            seen.append(len(notes.handled))
            await trio.lowlevel.checkpoint()

    async with run_actor(Notes(MemoryStore(disk))) as notes, trio.open_nursery() as nursery:
        await notes.ask(Look(("a",)))
        nursery.start_soon(look_again)
        for _ in range(3 * SLICE):
            await notes.ask(Look(("a",) * entries))
        nursery.cancel_scope.cancel()
    slices = 2  # tasks that are ready at once run in either order: it may be last in one round and first in the next
    assert max(map(operator.sub, seen[1:], seen)) <= slices * math.ceil(SLICE / (1 + entries)) + 1


async def test_a_message_does_not_overtake_one_for_which_the_actor_is_loading(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    async with run_actor(Notes(MemoryStore(disk, latency=a_second))) as notes, trio.open_nursery() as nursery:
        await notes.ask(Look(("a",)))
        nursery.start_soon(notes.ask, Look(("b",)))
        await wait_all_tasks_blocked()
        await notes.ask(Look(("a", "a")))
    assert notes.handled[1:] == [Look(("b",)), Look(("a", "a"))]


@pytest.mark.parametrize("attempt", range(6))
async def test_a_message_does_not_overtake_one_that_was_handed_over_in_the_same_slice_of_time(
    disk: MemoryDisk, attempt: int
) -> None:
    async with run_actor(Notes(MemoryStore(disk))) as notes, trio.open_nursery() as nursery:
        await notes.ask(Look(("a",)))
        await wait_all_tasks_blocked()
        nursery.start_soon(notes.ask, Look(("a", "a")))
        await notes.ask(Look(("b",)))
    assert notes.handled[1:] == [Look(("b",)), Look(("a", "a"))]


async def test_no_message_overtakes_a_long_queue(disk: MemoryDisk, autojump_clock: MockClock) -> None:
    # between two batches the actor passed for idle, though more waited
    waiting = BATCH + 9
    async with run_actor(Notes(MemoryStore(disk, latency=a_second))) as notes, trio.open_nursery() as nursery:
        await notes.ask(Look(("a",)))

        async def ask_twice(number: int) -> None:
            await notes.ask(Look(("a",) * number))
            await notes.ask(Look(("a",) * (number + waiting)))

        nursery.start_soon(notes.ask, Look(("b",)))
        for number in range(1, waiting):
            await wait_all_tasks_blocked()
            nursery.start_soon(ask_twice, number)
    lengths = [len(message.names) for message in notes.handled if isinstance(message, Look) and message.names[0] == "a"]
    assert lengths[1:waiting] == list(range(1, waiting))


async def test_a_long_queue_gives_other_tasks_a_chance(disk: MemoryDisk, autojump_clock: MockClock) -> None:
    async with run_actor(Notes(MemoryStore(disk, latency=a_second))) as notes, trio.open_nursery() as nursery:
        await notes.ask(Look(("a",)))
        nursery.start_soon(notes.ask, Look(("b",)))
        await wait_all_tasks_blocked()
        for _ in range(3 * BATCH):
            nursery.start_soon(notes.ask, Look(("a",)))
        handled: list[int] = []
        await trio.sleep(1)
        while len(notes.handled) < 2 + 3 * BATCH:
            handled.append(len(notes.handled))
            await trio.lowlevel.checkpoint()
    assert len(handled) >= 2
