"""The end of a supervisor: what was sent is answered, nobody waits for ever, and the lock is free."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.actors import Options, run_supervisor
from olmstate.actors._engine.states import State
from olmstate.actors._rooms.actor import OutboundGroupSessionsActor
from olmstate.actors.testing import DEVICE, USER, Faults, MemoryDisk, MemoryStore
from olmstate.messages import (
    ActorStopped,
    CreateAccount,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DeviceIdentity,
    DiscardRoomKey,
    EncryptRoomEvent,
    ExportRoomKeys,
    IdentityKeys,
    InternalError,
    MarkRoomKeyShared,
    Message,
    OlmStateError,
    PrepareRoomKey,
    Reply,
    Statistics,
    StoreBusy,
    StoreFull,
    SyncToken,
)
from olmstate.storage import Table
from tests.actors.supervised import refusal, runner_of, state_of, supervised
from tests.operations.device import ROOM
from tests.operations.peer import Peer, Room


async def test_commands_that_were_sent_before_the_end_are_answered(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    answered: list[str] = []
    async with trio.open_nursery() as nursery:
        async with supervised(disk, latency=lambda _: 0.1) as supervisor:

            async def ask(name: str) -> None:
                await supervisor.ask(DiscardRoomKey(room_id=ROOM))
                answered.append(name)

            for number in range(20):
                nursery.start_soon(ask, f"{number}")
            await wait_all_tasks_blocked()
        assert state_of(supervisor) is State.CLOSED
    assert {f"{number}" for number in range(20)} == set(answered)


async def test_a_block_that_fails_or_is_cancelled_is_drained_as_well(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with supervised(disk, latency=lambda _: 0.1) as supervisor:
                nursery.start_soon(supervisor.ask, CreateAccount())
                await wait_all_tasks_blocked()
                scope.cancel()
                await trio.sleep_forever()
    assert disk.generation == 1


async def test_what_is_not_answered_by_the_deadline_gets_actor_stopped(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    holder = MemoryStore(disk, pid=2).lock
    holder.acquire_nowait()
    refused: list[OlmStateError] = []
    async with trio.open_nursery() as nursery:
        async with supervised(disk, options=Options(lock_timeout=1000, drain=7)) as supervisor:

            async def ask() -> None:
                refused.append(await refusal(supervisor, CreateAccount()))

            for _ in range(3):
                nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            nursery.start_soon(ask)  # for the next turn
            await wait_all_tasks_blocked()
            started = trio.current_time()
        assert trio.current_time() == started + 7
    assert [type(error) for error in refused] == [ActorStopped] * 4
    assert disk.slot.holder is holder


async def test_askers_outside_a_full_mailbox_are_answered_too_at_the_end(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.actors._engine.runner.MAILBOX_SIZE", 2)
    disk = MemoryDisk()
    holder = MemoryStore(disk, pid=2).lock
    holder.acquire_nowait()
    options, refusals = Options(lock_timeout=1000, drain=7), list[OlmStateError]()
    async with trio.open_nursery() as nursery, supervised(disk, options=options) as supervisor:

        async def ask() -> None:
            refusals.append(await refusal(supervisor, CreateAccount()))

        for _ in range(10):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
    assert [type(error) for error in refusals] == [ActorStopped] * 10


@pytest.mark.parametrize(
    "message",
    [
        CreateAccount(),
        IdentityKeys(),
        SyncToken(),
        Statistics(),
        DecryptRoomEvents(events=()),  # nothing was looked for, and so nobody was asked
        ExportRoomKeys(),
        EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={}),
    ],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("was_asked_before", [False, True])
async def test_whatever_is_asked_after_the_end_gets_actor_stopped(
    message: Message[Any],
    was_asked_before: bool,  # noqa: FBT001 - whether its actor has what it needs
) -> None:
    # a query got an internal error, since a closed supervisor can't be in doubt about its closed store
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults) as supervisor:
        await supervisor.ask(CreateAccount())
        if was_asked_before:
            await supervisor.ask(IdentityKeys())
            await supervisor.ask(SyncToken())
    steps = len(faults.steps)
    with pytest.raises(ActorStopped):
        await supervisor.ask(message)
    assert len(faults.steps) == steps  # its store may be closed by now


async def test_what_is_written_behind_is_written_before_the_end(autojump_clock: MockClock) -> None:
    disk, room = MemoryDisk(), Room(Peer())
    async with supervised(disk, options=Options(write_behind=3600)) as supervisor:
        await supervisor.ask(room.add_room_key())
        await supervisor.ask(DecryptRoomEvent(room_id=room.room_id, event=room.send()))
        assert disk.rows(Table.MESSAGE_INDICES) == []
    assert len(disk.rows(Table.MESSAGE_INDICES)) == 1


async def test_what_is_reserved_is_given_back_before_the_end() -> None:
    disk = MemoryDisk()
    message = EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={})
    async with supervised(disk) as supervisor:
        await supervisor.ask(CreateAccount())
        made = await supervisor.ask(PrepareRoomKey(room_id=ROOM))
        await supervisor.ask(MarkRoomKeyShared(room_id=ROOM, session_id=made.session_id, devices=()))
        assert (await supervisor.ask(message)).message_index == 0
    async with supervised(disk) as next_one:
        assert (await next_one.ask(message)).message_index == 1


@pytest.mark.parametrize("attempt", range(20))
async def test_a_write_behind_that_comes_as_the_supervisor_ends_harms_nobody(
    attempt: int,  # Trio runs two tasks that are ready at once in either order
    autojump_clock: MockClock,
) -> None:
    # its own command was refused with ActorStopped, which brought down the supervisor that was about to end
    disk, room = MemoryDisk(), Room(Peer())
    holder = MemoryStore(disk, pid=2).lock
    async with supervised(disk, options=Options(lock_timeout=1, write_behind=2)) as supervisor:
        await supervisor.ask(room.add_room_key())
        await supervisor.ask(DecryptRoomEvent(room_id=room.room_id, event=room.send()))
        holder.acquire_nowait()
        await runner_of(supervisor).close()
        autojump_clock.jump(2)
        await wait_all_tasks_blocked()
    assert state_of(supervisor) is State.CLOSED


async def test_a_supervisor_that_cannot_get_the_lock_ends_all_the_same(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    holder = MemoryStore(disk, pid=2).lock
    async with supervised(disk, options=Options(lock_timeout=1)) as supervisor:
        holder.acquire_nowait()
        with pytest.raises(StoreBusy):
            await supervisor.ask(CreateAccount())
    assert state_of(supervisor) is State.CLOSED


async def test_the_lock_is_free_after_the_end_though_a_turn_was_cut_short(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    options, refusals = Options(drain=1), list[OlmStateError]()
    async with trio.open_nursery() as nursery, supervised(disk, latency=lambda _: 9, options=options) as supervisor:

        async def ask() -> None:
            refusals.append(await refusal(supervisor, CreateAccount()))

        nursery.start_soon(ask)
        await trio.sleep(1)
        assert state_of(supervisor) is State.RUNNING
    assert [type(error) for error in refusals] == [ActorStopped]
    assert disk.slot.holder is None
    assert disk.generation == 0


async def test_a_commit_under_way_is_finished_and_its_askers_hear_of_it_though_the_deadline_passes(
    autojump_clock: MockClock,
) -> None:
    disk = MemoryDisk()
    outcomes: list[DeviceIdentity] = []
    async with trio.open_nursery() as nursery:
        slow_commit = Options(drain=1)
        async with supervised(
            disk, latency=lambda step: 100.0 if step.operation == "commit" else 0.0, options=slow_commit
        ) as supervisor:

            async def ask() -> None:
                identity = await supervisor.ask(CreateAccount())
                outcomes.append(identity)

            nursery.start_soon(ask)
            await trio.sleep(1)
            assert state_of(supervisor) is State.COMMITTING
    assert len(outcomes) == 1
    assert disk.generation == 1


async def test_a_failed_commit_at_the_end_is_no_exception(autojump_clock: MockClock) -> None:
    disk, faults, room = MemoryDisk(), Faults(), Room(Peer())
    async with supervised(disk, faults=faults) as supervisor:
        await supervisor.ask(room.add_room_key())
        await supervisor.ask(DecryptRoomEvent(room_id=room.room_id, event=room.send()))
        faults.at("commit", StoreFull())
    assert state_of(supervisor) is State.CLOSED


def bug(_: OutboundGroupSessionsActor) -> Reply:
    raise KeyError("s3cret")


async def test_a_bug_in_the_last_turn_comes_out_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    # it was swallowed, and what waited to be written was lost without a word
    monkeypatch.setattr(OutboundGroupSessionsActor, "before_closing", bug)
    store = MemoryStore(MemoryDisk())
    with pytest.raises(InternalError, match="KeyError in "):
        async with run_supervisor(store, user_id=USER, device_id=DEVICE) as supervisor:
            await supervisor.ask(CreateAccount())
    assert not store.lock.held


async def test_a_bug_in_the_last_turn_of_a_block_that_has_failed_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(OutboundGroupSessionsActor, "before_closing", bug)
    with pytest.raises(ZeroDivisionError):
        async with supervised(MemoryDisk()):
            raise ZeroDivisionError
    assert "closing: olmstate has a bug: KeyError in " in caplog.text
    assert "s3cret" not in caplog.text
