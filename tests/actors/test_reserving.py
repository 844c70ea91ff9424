"""Many callers and one block of message indices: one of them reserves, all use it, and all hear if that fails."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors.testing import Faults, MemoryDisk
from olmstate.messages import (
    CreateAccount,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    MarkRoomKeyShared,
    OlmStateError,
    RoomKey,
    RotationPeriod,
    Statistics,
    StoreFull,
)
from tests.actors.peers import ROOM
from tests.actors.supervised import supervised

MESSAGE = EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={"body": "hello"})


async def share(supervisor: Supervisor) -> None:
    await supervisor.ask(CreateAccount())
    made = await supervisor.ask(RoomKey(room_id=ROOM, rotation=RotationPeriod(messages=10_000)))
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
    assert after.commits - before.commits == 4  # 8, 16, 32, 64 indices


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
