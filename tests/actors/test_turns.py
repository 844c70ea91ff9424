"""A turn takes all who wait, under one lock and in one commit; each gets his own answer, after it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.actors import Options, Supervisor
from olmstate.actors._engine.runner import MOST_COMMANDS
from olmstate.actors._engine.states import State
from olmstate.actors._engine.turn import Turn
from olmstate.actors.testing import Faults, MemoryDisk, MemoryStore, Step
from olmstate.messages import (
    AccountExists,
    AddRoomKey,
    CreateAccount,
    DecryptRoomEvent,
    Devices,
    DiscardRoomKey,
    IdentityKeys,
    MalformedMessage,
    Message,
    MissingRoomKey,
    NoAccount,
    OlmStateError,
    PrepareOneTimeKeys,
    Query,
    ReceiveSync,
    ReplayedMessage,
    RoomKeyChange,
    RoomKeysReceived,
    Statistics,
    StoreBusy,
    StorePoisoned,
    SyncToken,
    UnpublishedKeys,
)
from olmstate.storage import Fenced, Table
from olmstate.storage.tables import KEYS_ONLY
from tests.actors.capabilities import Run, with_run
from tests.actors.supervised import refusal, state_of, supervised
from tests.operations.device import ROOM
from tests.operations.peer import Peer, Room, add_devices


def a_second(step: Step) -> float:
    return 1.0 if step.operation in ("read", "commit") else 0.0


class Askers:
    """Tasks that each ask one thing, and what they heard."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.heard: list[object] = []

    def ask(self, supervisor: Supervisor, message: Message[Any]) -> None:
        self._nursery.start_soon(self._ask, supervisor, message)

    async def _ask(self, supervisor: Supervisor, message: Message[Any]) -> None:
        try:
            self.heard.append(await supervisor.ask(message))
        except OlmStateError as error:
            self.heard.append(type(error))


def operations(faults: Faults) -> list[str]:
    return [step.operation for step in faults.steps]


@pytest.fixture
def refused_half_way(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sessions whose `AddRoomKey` is refused once its actor has taken the key in; none of ours is, as it happens."""
    refused: list[str] = []

    def refusing(run: Run) -> Run:
        async def refuse(turn: Turn, command: AddRoomKey) -> RoomKeyChange:
            change: RoomKeyChange = await run(turn, command)
            if command.session_id in refused:
                raise MalformedMessage(reason="half-way")
            return change

        return refuse

    monkeypatch.setattr("olmstate.actors._open.CAPABILITIES", with_run(AddRoomKey, refusing))
    return refused


# --- group commit -------------------------------------------------------------------------------------------


async def test_all_who_wait_share_one_lock_and_one_commit() -> None:
    disk, faults, rooms = MemoryDisk(), Faults(), [Room(Peer()) for _ in range(50)]
    async with supervised(disk, faults=faults) as supervisor:
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery)
            for room in rooms:
                askers.ask(supervisor, room.add_room_key())
        statistics = await supervisor.ask(Statistics())
    assert askers.heard == ["new"] * 50
    assert (statistics.turns, statistics.commits) == (1, 1)
    assert (statistics.commands, statistics.largest_batch) == (50, 50)
    assert (disk.generation, operations(faults).count("acquire_nowait")) == (1, 2)  # the other at closing


async def test_nobody_is_answered_before_the_commit(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    async with supervised(disk, latency=a_second) as supervisor, trio.open_nursery() as nursery:
        askers = Askers(nursery)
        askers.ask(supervisor, CreateAccount())
        askers.ask(supervisor, CreateAccount())
        await trio.sleep(1.9)
        assert state_of(supervisor) is State.COMMITTING
        assert disk.generation == 1  # it is on the disk, but the disk has not said so
        assert askers.heard == []
    assert AccountExists in askers.heard
    assert len(askers.heard) == 2


async def test_commands_of_a_turn_see_one_another_in_their_order() -> None:
    async with supervised(MemoryDisk()) as supervisor, trio.open_nursery() as nursery:
        askers = Askers(nursery)
        nursery.start_soon(supervisor.ask, CreateAccount())
        await wait_all_tasks_blocked()
        for _ in range(3):
            askers.ask(supervisor, PrepareOneTimeKeys())
    handed_out = [len(keys.one_time_keys) for keys in askers.heard if isinstance(keys, UnpublishedKeys)]
    assert sorted(handed_out) == [0, 0, 50]


async def test_a_turn_is_short_though_many_wait(autojump_clock: MockClock) -> None:
    faults, holder = Faults(), MemoryStore(disk := MemoryDisk(), pid=2).lock
    async with supervised(disk, faults=faults) as supervisor:
        holder.acquire_nowait()
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery)
            for _ in range(2 * MOST_COMMANDS):
                askers.ask(supervisor, DiscardRoomKey(room_id=ROOM))
            await wait_all_tasks_blocked()
            holder.release()
        statistics = await supervisor.ask(Statistics())
    assert len(askers.heard) == 2 * MOST_COMMANDS
    assert statistics.largest_batch == MOST_COMMANDS
    assert statistics.turns >= 2
    assert operations(faults).count("acquire") == 1  # the lock was kept: nobody else wanted it


async def test_a_turn_that_changes_nothing_commits_nothing() -> None:
    disk = MemoryDisk()
    async with supervised(disk) as supervisor:
        await supervisor.ask(DiscardRoomKey(room_id=ROOM))
        statistics = await supervisor.ask(Statistics())
    assert (statistics.turns, statistics.commits, disk.generation) == (1, 0, 0)


# --- the lock -----------------------------------------------------------------------------------------------


async def test_an_idle_supervisor_holds_nothing_and_does_nothing(autojump_clock: MockClock) -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults) as supervisor:
        await supervisor.ask(CreateAccount())
        assert disk.slot.holder is None
        steps = len(faults.steps)
        await trio.sleep(24 * 3600)
        assert len(faults.steps) == steps
    assert state_of(supervisor) is State.CLOSED


async def test_a_query_takes_no_lock() -> None:
    faults, holder = Faults(), MemoryStore(disk := MemoryDisk(), pid=2).lock
    holder.acquire_nowait()
    async with supervised(disk, faults=faults, options=Options(lock_timeout=0)) as supervisor:
        assert None is await supervisor.ask(SyncToken())
        assert not {"acquire", "acquire_nowait"} & set(operations(faults))
    holder.release()


async def test_the_lock_is_kept_for_more_work_while_nobody_else_wants_it(autojump_clock: MockClock) -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults, latency=a_second) as supervisor:
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery)
            for _ in range(5):
                askers.ask(supervisor, Room(Peer()).add_room_key())
                await trio.sleep(0.5)
        assert disk.generation >= 2
        assert operations(faults).count("acquire_nowait") == 1
        assert operations(faults).count("contended") == disk.generation - 1


async def test_the_lock_goes_round_where_several_want_it(autojump_clock: MockClock) -> None:
    disk, order = MemoryDisk(), list[str]()

    async def work(supervisor: Supervisor, name: str) -> None:
        for _ in range(4):
            await supervisor.ask(Room(Peer()).add_room_key())
            order.append(name)

    patient = Options(lock_timeout=60)  # a turn of two takes several steps, of a second each
    async with (
        supervised(disk, latency=a_second, options=patient) as first,
        supervised(disk, latency=a_second, pid=2, options=patient) as second,
        trio.open_nursery() as nursery,
    ):
        for _ in range(2):  # so that each has always more to do
            nursery.start_soon(work, first, "first")
            await trio.sleep(0.25)
            nursery.start_soon(work, second, "second")
            await trio.sleep(0.25)
    longest = max(len(run) for run in "".join("1" if name == "first" else " " for name in order[:8]).split())
    assert longest <= 2  # two askers share a turn, and then it is the other's


async def test_a_turn_that_waits_is_counted_with_its_time(autojump_clock: MockClock) -> None:
    holder = MemoryStore(disk := MemoryDisk(), pid=2).lock
    async with supervised(disk) as supervisor:
        for seconds in (2, 3):
            holder.acquire_nowait()
            async with trio.open_nursery() as nursery:
                Askers(nursery).ask(supervisor, DiscardRoomKey(room_id=ROOM))
                await trio.sleep(seconds)
                holder.release()
        await supervisor.ask(DiscardRoomKey(room_id=ROOM))
        statistics = await supervisor.ask(Statistics())
    assert (statistics.lock_waits, statistics.lock_wait_seconds, statistics.longest_lock_wait) == (2, 5, 3)
    assert (statistics.lock_held, statistics.lock_holder) == (False, None)


async def test_after_waiting_in_vain_one_may_ask_again(autojump_clock: MockClock) -> None:
    holder = MemoryStore(disk := MemoryDisk(), pid=2).lock
    async with supervised(disk, options=Options(lock_timeout=1)) as supervisor:
        holder.acquire_nowait()
        assert isinstance(await refusal(supervisor, CreateAccount()), StoreBusy)
        assert isinstance(await refusal(supervisor, IdentityKeys()), NoAccount)  # a query needs no lock
        holder.release()
        await supervisor.ask(CreateAccount())


# --- refusals -----------------------------------------------------------------------------------------------


async def test_a_command_that_is_refused_half_way_is_taken_out_and_the_others_run(refused_half_way: list[str]) -> None:
    disk, rooms = MemoryDisk(), [Room(Peer()) for _ in range(5)]
    refused_half_way += [rooms[1].session_id, rooms[3].session_id]
    async with supervised(disk) as supervisor, supervised(disk, pid=2) as other:
        with supervisor.subscribe(RoomKeysReceived) as events:
            async with trio.open_nursery() as nursery:
                askers = Askers(nursery)
                for room in rooms:
                    askers.ask(supervisor, room.add_room_key())
            told = [await events.receive() for _ in range(3)]
            assert events.statistics().current_buffer_used == 0
        statistics = await supervisor.ask(Statistics())
        for room in rooms:
            event = DecryptRoomEvent(room_id=ROOM, event=room.send())
            if room.session_id in refused_half_way:
                assert isinstance(await refusal(other, event), MissingRoomKey)
            else:
                await other.ask(event)
    assert sorted(map(str, askers.heard)) == sorted(map(str, ["new"] * 3 + [MalformedMessage] * 2))
    assert (statistics.turns, statistics.commits) == (1, 1)
    assert {event.room_keys[0][1] for event in told}.isdisjoint(refused_half_way)


async def test_a_command_that_is_refused_before_it_changes_anything_costs_the_others_nothing() -> None:
    disk, faults, room = MemoryDisk(), Faults(), Room(Peer())
    async with supervised(disk, faults=faults) as supervisor:
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery)
            askers.ask(supervisor, room.add_room_key())
            askers.ask(supervisor, PrepareOneTimeKeys())
        statistics = await supervisor.ask(Statistics())
    assert {"new", NoAccount} == set(askers.heard)
    reads = [step.table for step in faults.steps if step.operation == "read"]
    assert len(reads) == len(set(reads))  # nothing ran twice
    assert statistics.commits == 1


async def test_a_turn_of_nothing_but_refusals_commits_nothing(refused_half_way: list[str]) -> None:
    disk, room = MemoryDisk(), Room(Peer())
    refused_half_way.append(room.session_id)
    async with supervised(disk) as supervisor:
        assert isinstance(await refusal(supervisor, room.add_room_key()), MalformedMessage)
        assert isinstance(await refusal(supervisor, PrepareOneTimeKeys()), NoAccount)
    assert disk.generation == 0


# --- askers -------------------------------------------------------------------------------------------------


async def test_a_command_whose_asker_left_before_it_was_begun_is_never_run(autojump_clock: MockClock) -> None:
    holder = MemoryStore(disk := MemoryDisk(), pid=2).lock
    async with supervised(disk) as supervisor:
        holder.acquire_nowait()
        with trio.move_on_after(1):
            await supervisor.ask(CreateAccount())
        holder.release()
        await supervisor.ask(DiscardRoomKey(room_id=ROOM))
        assert isinstance(await refusal(supervisor, IdentityKeys()), NoAccount)
        assert (await supervisor.ask(Statistics())).commands == 1


async def test_a_command_of_an_asker_that_is_cancelled_already_is_never_run() -> None:
    disk = MemoryDisk()
    async with supervised(disk) as supervisor:
        with trio.CancelScope() as scope:
            scope.cancel()
            await supervisor.ask(CreateAccount())
        assert scope.cancelled_caught
        await supervisor.ask(DiscardRoomKey(room_id=ROOM))
    assert disk.generation == 0


@pytest.mark.parametrize("seconds", [0.5, 1.5])
async def test_a_command_whose_asker_left_after_it_was_begun_is_finished(
    seconds: float, autojump_clock: MockClock
) -> None:
    disk = MemoryDisk()
    async with supervised(disk, latency=a_second) as supervisor:
        with trio.move_on_after(seconds) as scope:
            await supervisor.ask(CreateAccount())
        assert scope.cancelled_caught
        await supervisor.ask(DiscardRoomKey(room_id=ROOM))  # whose turn comes after
        await supervisor.ask(IdentityKeys())
    assert disk.generation == 1


async def test_a_command_whose_asker_left_is_not_run_again_when_its_turn_is(autojump_clock: MockClock) -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults, latency=a_second) as supervisor:
        with trio.CancelScope() as scope:
            faults.at("commit", scope.cancel)
            faults.at("commit", Fenced(), when="after")
            await supervisor.ask(CreateAccount())
        assert scope.cancelled_caught
        await supervisor.ask(DiscardRoomKey(room_id=ROOM))
        assert (await supervisor.ask(Statistics())).fenced == 1
    assert disk.generation == 1  # the commit that was called fenced; nothing came after it


async def test_a_cancelled_asker_harms_no_other_of_its_turn(autojump_clock: MockClock) -> None:
    holder = MemoryStore(disk := MemoryDisk(), pid=2).lock
    async with supervised(disk) as supervisor:
        holder.acquire_nowait()
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery)
            askers.ask(supervisor, Room(Peer()).add_room_key())
            with trio.move_on_after(1):
                await supervisor.ask(CreateAccount())
            askers.ask(supervisor, Room(Peer()).add_room_key())
            await wait_all_tasks_blocked()
            holder.release()
    assert askers.heard == ["new", "new"]


# --- several processes --------------------------------------------------------------------------------------


async def test_what_one_was_answered_all_others_know_from_then_on() -> None:
    disk, bob = MemoryDisk(), Peer()
    async with supervised(disk) as one, supervised(disk, pid=2) as two, supervised(disk, pid=3) as three:
        assert () == await three.ask(Devices(user_id=bob.user_id))
        made = await one.ask(CreateAccount())
        assert made == await two.ask(IdentityKeys())
        await two.ask(add_devices(bob))
        for each in (one, two, three):
            assert (bob.keys,) == await each.ask(Devices(user_id=bob.user_id))
        await three.ask(ReceiveSync(sync={"next_batch": "s1"}))
        for each in (one, two, three):
            assert "s1" == await each.ask(SyncToken())
        statistics = [await each.ask(Statistics()) for each in (one, two, three)]
    assert [each.generation for each in statistics] == [3, 3, 3]
    assert all(each.foreign_writes > 0 for each in statistics)
    assert sum(each.caches["devices"].invalidated_whole for each in statistics) == 0  # by key


async def test_a_turn_begins_with_what_others_have_written() -> None:
    disk = MemoryDisk()
    async with supervised(disk) as one, supervised(disk, pid=2) as two:
        assert isinstance(await refusal(two, PrepareOneTimeKeys()), NoAccount)
        await one.ask(CreateAccount())
        assert (await one.ask(PrepareOneTimeKeys())).is_due
        assert not (await two.ask(PrepareOneTimeKeys())).is_due
        assert isinstance(await refusal(two, CreateAccount()), AccountExists)


async def test_a_query_beside_a_turn_sees_what_is_on_the_disk(autojump_clock: MockClock) -> None:
    disk, heard = MemoryDisk(), list[str | None]()
    async with supervised(disk, latency=lambda step: float(step.operation == "commit")) as supervisor:
        await supervisor.ask(CreateAccount())
        await supervisor.ask(ReceiveSync(sync={"next_batch": "s1"}))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.ask, ReceiveSync(sync={"next_batch": "s2"}))
            for _ in range(2):  # the commit takes a second, and in its middle the disk has it
                await trio.sleep(0.25)
                assert state_of(supervisor) is State.COMMITTING
                heard.append(await supervisor.ask(SyncToken()))
                await trio.sleep(0.25)
    assert heard == ["s1", "s2"]


async def test_the_replay_guard_of_another_process_comes_within_the_time_that_was_set(
    autojump_clock: MockClock,
) -> None:
    disk, room = MemoryDisk(), Room(Peer())
    async with supervised(disk, options=Options(write_behind=0.5)) as one, supervised(disk, pid=2) as two:
        await one.ask(room.add_room_key())
        event = room.send()
        replay = DecryptRoomEvent(room_id=ROOM, event={**event, "event_id": "$another"})
        await one.ask(DecryptRoomEvent(room_id=ROOM, event=event))
        assert isinstance(await refusal(one, replay), ReplayedMessage)  # in this process at once
        generation = disk.generation
        await trio.sleep(0.4)
        assert disk.generation == generation
        await trio.sleep(0.2)
        assert isinstance(await refusal(two, replay), ReplayedMessage)
        await two.ask(DecryptRoomEvent(room_id=ROOM, event=event))


async def test_what_is_written_behind_goes_with_the_next_turn(autojump_clock: MockClock) -> None:
    disk, room = MemoryDisk(), Room(Peer())
    async with supervised(disk, options=Options(write_behind=3600)) as supervisor:
        await supervisor.ask(room.add_room_key())
        await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=room.send()))
        await supervisor.ask(DiscardRoomKey(room_id=ROOM))  # which itself writes nothing
        assert len(disk.rows(Table.MESSAGE_INDICES)) == 1
        generation = disk.generation
        await trio.sleep(7200)
        assert disk.generation == generation


async def test_what_is_written_behind_is_tried_again_until_it_is_written(autojump_clock: MockClock) -> None:
    disk, room = MemoryDisk(), Room(Peer())
    holder = MemoryStore(disk, pid=2).lock
    async with supervised(disk, options=Options(write_behind=1, lock_timeout=1)) as supervisor:
        await supervisor.ask(room.add_room_key())
        holder.acquire_nowait()
        await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=room.send()))
        await trio.sleep(20)
        assert disk.rows(Table.MESSAGE_INDICES) == []
        holder.release()
        await trio.sleep(5)
        assert len(disk.rows(Table.MESSAGE_INDICES)) == 1


async def test_what_cannot_be_written_at_once_does_not_keep_the_processor_busy() -> None:
    # with no time to wait it was tried without a pause, for ever after the store could not be used any more
    disk, room, faults = MemoryDisk(), Room(Peer()), Faults()
    async with supervised(disk, options=Options(write_behind=0), faults=faults) as supervisor:
        await supervisor.ask(room.add_room_key())
        faults.at("commit", StorePoisoned(reason="a test"))
        await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=room.send()))
        with trio.fail_after(60):
            await wait_all_tasks_blocked(0.001)
        assert state_of(supervisor) is State.POISONED


# --- what is no message -------------------------------------------------------------------------------------


@attrs.frozen
class Unheard(Query[int]):
    """A question that olmstate has no answer to."""


async def test_a_question_of_the_users_own_is_an_error_of_his_own() -> None:
    async with supervised(MemoryDisk()) as supervisor:
        with pytest.raises(TypeError, match="Unheard"):
            await supervisor.ask(Unheard())
        await supervisor.ask(SyncToken())


# --- statistics ---------------------------------------------------------------------------------------------


async def test_each_type_is_cached_as_much_as_its_user_chooses() -> None:
    chosen: dict[Table, int] = {table: number for number, table in enumerate(Table)}
    async with supervised(MemoryDisk(), options=Options(capacities=chosen)) as supervisor:
        caches = (await supervisor.ask(Statistics())).caches
    uncached = {Table.REQUEST_CONTENTS, Table.PARKED_CONTENTS, Table.INBOX_CONTENTS}
    chosen |= dict.fromkeys(KEYS_ONLY | uncached, 0)
    chosen[Table.EVENTS] = 1  # one row of it is read again
    assert chosen == {Table(name): cache.capacity for name, cache in caches.items()}


async def test_the_statistics_name_every_table_and_start_with_nothing() -> None:
    async with supervised(MemoryDisk()) as supervisor:
        statistics = await supervisor.ask(Statistics())
    assert {table.value for table in Table} == set(statistics.caches)
    assert all(cache.loaded == cache.cached == cache.hits == cache.misses == 0 for cache in statistics.caches.values())
    assert (statistics.turns, statistics.commits, statistics.commands, statistics.foreign_writes) == (0, 0, 0, 0)
