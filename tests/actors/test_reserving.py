"""Many callers and one block of message indices: one of them reserves, all use it, and all hear if that fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.actors import Supervisor, run_supervisor
from olmstate.actors._rooms.actor import FIRST_RESERVED, MOST_RESERVED
from olmstate.actors.testing import DEVICE, USER, Faults, MemoryDisk, MemoryStore
from olmstate.messages import (
    CreateAccount,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    MarkRoomKeyShared,
    OlmStateError,
    PrepareRoomKey,
    RotationPeriod,
    Statistics,
    StoreFull,
    StorePoisoned,
)
from olmstate.storage import Changes, Store
from tests.actors.supervised import supervised
from tests.faults.wrapped import WrappedStore
from tests.operations.device import ROOM

MESSAGE = EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={"body": "hello"})


async def share(supervisor: Supervisor) -> None:
    await supervisor.ask(CreateAccount())
    made = await supervisor.ask(PrepareRoomKey(room_id=ROOM, rotation=RotationPeriod(messages=10_000)))
    await supervisor.ask(MarkRoomKeyShared(room_id=ROOM, session_id=made.session_id, devices=()))


async def ask_together(supervisor: Supervisor, callers: int) -> list[EncryptedRoomEvent | OlmStateError]:
    answers: list[EncryptedRoomEvent | OlmStateError] = []

    async def call() -> None:
        try:
            encrypted = await supervisor.ask(MESSAGE)
            answers.append(encrypted)
        except OlmStateError as error:
            answers.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(call)
    return answers


async def test_callers_at_once_get_an_index_each_and_share_the_commits(autojump_clock: MockClock) -> None:
    async with supervised(MemoryDisk(), latency=lambda _: 1) as supervisor:
        await share(supervisor)
        before = await supervisor.ask(Statistics())
        answers = await ask_together(supervisor, 100)
        after = await supervisor.ask(Statistics())
    indices = [answer.message_index for answer in answers if isinstance(answer, EncryptedRoomEvent)]
    assert list(range(100)) == sorted(indices)
    assert after.commits - before.commits == 7  # 1, 2, 4, 8, 16, 32, 64 indices


async def test_a_store_that_fails_the_one_who_reserves_fails_all_who_wait(autojump_clock: MockClock) -> None:
    faults = Faults()
    async with supervised(MemoryDisk(), faults=faults, latency=lambda _: 1) as supervisor:
        await share(supervisor)
        faults.at("commit", StoreFull())
        answers = await ask_together(supervisor, 5)
        assert [StoreFull] * 5 == [type(answer) for answer in answers]
        assert 0 == (await supervisor.ask(MESSAGE)).message_index


async def test_the_one_who_reserves_may_be_cancelled_and_the_others_go_on(autojump_clock: MockClock) -> None:
    async with supervised(MemoryDisk(), latency=lambda _: 1) as supervisor:
        await share(supervisor)
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.5):
                await supervisor.ask(MESSAGE)
            answers = await ask_together(supervisor, 3)
            nursery.cancel_scope.cancel()
    indices = [answer.message_index for answer in answers if isinstance(answer, EncryptedRoomEvent)]
    assert 3 == len(set(indices)) == len(answers)


async def test_what_can_not_be_encrypted_is_refused_before_anybody_reserves() -> None:
    async with supervised(MemoryDisk()) as supervisor:
        await share(supervisor)
        with pytest.raises(OlmStateError, match="can't be encrypted"):
            await supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={"nan": float("nan")}))
        assert 0 == (await supervisor.ask(MESSAGE)).message_index


class CountingStore(WrappedStore):
    """A store that counts how often it is asked whether anybody has committed."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.looks = 0

    async def look(self, since: int | None) -> Changes | None:
        self.looks += 1
        return await super().look(since)


async def test_callers_at_once_share_a_look_at_the_store() -> None:
    store = CountingStore(MemoryStore(MemoryDisk()))
    async with run_supervisor(store, user_id=USER, device_id=DEVICE) as supervisor:
        await share(supervisor)
        for _ in range(FIRST_RESERVED + MOST_RESERVED):
            await supervisor.ask(MESSAGE)
        before = store.looks
        answers = await ask_together(supervisor, 20)
        looks = store.looks - before

    assert 20 == len({answer.message_index for answer in answers if isinstance(answer, EncryptedRoomEvent)})
    assert 1 == looks


async def test_whoever_is_cancelled_while_another_waits_for_a_turn_gets_no_index(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    lock = MemoryStore(disk, pid=99).lock
    async with supervised(disk) as supervisor, trio.open_nursery() as nursery:
        await share(supervisor)
        assert lock.acquire_nowait()
        nursery.start_soon(ask_together, supervisor, 1)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.1):
            await ask_together(supervisor, 3)
        lock.release()
        assert 1 == (await supervisor.ask(MESSAGE)).message_index


class BeforeStep(trio.abc.Instrument):
    """Does something just before a task goes on."""

    def __init__(self, task: trio.lowlevel.Task, do: Callable[[], None]) -> None:
        self._task = task
        self._do = do

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        if task is self._task:
            self._do()


async def test_callers_that_are_cancelled_just_when_indices_come_are_cancelled_and_no_more(
    autojump_clock: MockClock,
) -> None:
    # whoever went on first had encrypted for them, too: they were not among those who wait, and a ValueError came out
    answers: list[EncryptedRoomEvent] = []
    cancelled, others = ([trio.CancelScope() for _ in range(10)] for _ in range(2))

    async def lead(supervisor: Supervisor, *, task_status: trio.TaskStatus[trio.lowlevel.Task]) -> None:
        task_status.started(trio.lowlevel.current_task())
        await supervisor.ask(MESSAGE)

    async def follow(supervisor: Supervisor, scope: trio.CancelScope) -> None:
        with scope:
            answers.append(await supervisor.ask(MESSAGE))

    def cancel() -> None:
        for scope in cancelled:
            scope.cancel()

    async with supervised(MemoryDisk(), latency=lambda _: 1) as supervisor:
        await share(supervisor)
        async with trio.open_nursery() as nursery:
            leader: trio.lowlevel.Task = await nursery.start(lead, supervisor)
            for scope in (*cancelled, *others):
                nursery.start_soon(follow, supervisor, scope)
            await trio.sleep(0.5)
            instrument = BeforeStep(leader, cancel)
            trio.lowlevel.add_instrument(instrument)
        trio.lowlevel.remove_instrument(instrument)
    assert len(answers) == len(others)
    assert all(scope.cancelled_caught for scope in cancelled)


async def test_callers_at_once_after_anothers_write_load_what_it_wrote(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    async with supervised(disk) as supervisor, supervised(disk) as other:
        await share(supervisor)
        await supervisor.ask(MESSAGE)
        await other.ask(PrepareRoomKey(room_id=ROOM))  # ends what is reserved
        answers = await ask_together(supervisor, 20)

    indices = [answer.message_index for answer in answers if isinstance(answer, EncryptedRoomEvent)]
    assert 20 == len(set(indices)) == len(answers)
    assert FIRST_RESERVED == min(indices)


async def test_a_handle_in_doubt_answers_each_of_the_callers_with_an_error_of_its_own() -> None:
    faults = Faults()
    async with supervised(MemoryDisk(), faults=faults) as supervisor:
        await share(supervisor)
        await supervisor.ask(MESSAGE)
        faults.at("look", StorePoisoned(reason="test"))
        answers = await ask_together(supervisor, 5)

    assert [StorePoisoned] * 5 == [type(answer) for answer in answers]
    assert 5 == len({id(answer) for answer in answers})


async def test_a_caller_that_is_cancelled_already_gets_no_index() -> None:
    async with supervised(MemoryDisk()) as supervisor:
        await share(supervisor)
        await supervisor.ask(MESSAGE)
        with trio.CancelScope() as scope:
            scope.cancel()
            await supervisor.ask(MESSAGE)
        assert 1 == (await supervisor.ask(MESSAGE)).message_index
