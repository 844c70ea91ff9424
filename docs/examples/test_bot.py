"""Tests of the bot, under pytest-trio."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from bot import say
from trio.testing import MockClock

from olmstate.actors import Supervisor, run_supervisor
from olmstate.actors.testing import (
    DEVICE,
    USER,
    ActorsUnderTest,
    Faults,
    MemoryDisk,
    MemoryStore,
    random_latency,
    run_actor,
)
from olmstate.messages import (
    CreateAccount,
    Devices,
    MarkRoomKeyShared,
    PrepareRoomKey,
    RoomId,
    StoreUnavailable,
)

ROOM = RoomId("!room:example.org")


@asynccontextmanager
async def process(
    disk: MemoryDisk, faults: Faults | None = None, *, seed: int = 0
) -> AsyncGenerator[Supervisor]:
    store = MemoryStore(disk, faults=faults, latency=random_latency(seed))
    async with run_supervisor(store, user_id=USER, device_id=DEVICE) as supervisor:
        yield supervisor


async def disk_with_a_room_key() -> MemoryDisk:
    disk = MemoryDisk()
    async with process(disk) as supervisor:
        await supervisor.ask(CreateAccount())
        key = await supervisor.ask(PrepareRoomKey(room_id=ROOM))
        await supervisor.ask(
            MarkRoomKeyShared(room_id=ROOM, session_id=key.session_id, devices=())
        )
    return disk


async def test_two_processes_use_different_indices(autojump_clock: MockClock) -> None:
    disk = await disk_with_a_room_key()
    used: list[int] = []

    async def say_ten_times(supervisor: Supervisor) -> None:
        used.extend(
            [(await say(supervisor, ROOM, "hello")).message_index for _ in range(10)]
        )

    async with (
        process(disk, seed=1) as one,
        process(disk, seed=2) as other,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(say_ten_times, one)
        nursery.start_soon(say_ten_times, other)
    assert len(set(used)) == len(used)


async def test_a_message_waits_for_a_process_that_holds_the_store_for_a_minute(
    autojump_clock: MockClock,
) -> None:
    disk = await disk_with_a_room_key()
    debugged = MemoryStore(disk, pid=4711)
    assert debugged.lock.acquire_nowait()
    async with process(disk) as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(say, supervisor, ROOM, "hello")
        await trio.sleep(60)
        debugged.lock.release()


async def test_a_disk_that_fails_once_costs_one_message_at_most(
    autojump_clock: MockClock,
) -> None:
    for step in range(1000):
        disk = await disk_with_a_room_key()
        faults = Faults()
        faults.at(step, StoreUnavailable(reason="I/O error"))
        used: list[int] = []
        async with process(disk, faults) as supervisor:
            for _ in range(3):
                with suppress(StoreUnavailable):
                    used.append((await say(supervisor, ROOM, "hello")).message_index)
        assert len(set(used)) == len(used) >= 2
        if step >= len(faults.steps):
            return  # there is no such step any more: all were tried
    pytest.fail("three messages take more than 1,000 steps")


async def test_devices_are_read_again_when_another_process_has_written() -> None:
    disk = MemoryDisk()
    actors = ActorsUnderTest(MemoryStore(disk))
    async with run_actor(actors.devices) as devices:
        await devices.ask(Devices(user_id=USER))
        await devices.ask(Devices(user_id=USER))
        assert devices.statistics()["devices"].loaded == 1
        disk.write_from_elsewhere(keys_known=False)
        actors.refresh()
        await devices.ask(Devices(user_id=USER))
        assert devices.statistics()["devices"].loaded == 2
