"""Trouble from outside: a process is stopped while it holds the lock, or while it is the next in the queue."""

from __future__ import annotations

import os
import signal

import attrs
import pytest
import trio

from olmstate.messages import RotateRoomKey, StoreBusy
from tests.faults.client import BUSY, OPTIONS, SHARED, check, open_client, send
from tests.faults.worker import STOPPED, Workers
from tests.faults.world import World

IMPATIENT = attrs.evolve(OPTIONS, lock_timeout=0.3)


async def test_a_frozen_holder_is_named_and_keeps_the_lock_until_it_goes_on(world: World, workers: Workers) -> None:
    homeserver = world.homeserver()
    async with open_client(world.store, homeserver, options=IMPATIENT) as (supervisor, store):
        await send(supervisor, homeserver, SHARED, 2)  # blocks begin at one index: the second has one to spare
        frozen = workers.start(world.store, world.journal, "freeze")
        assert await trio.to_thread.run_sync(workers.go) == STOPPED
        before = store.info().generation
        for _ in range(2):
            with pytest.raises(StoreBusy) as busy:
                await supervisor.ask(RotateRoomKey(room_id=BUSY))
            assert busy.value.holder_pid == frozen
        # what is reserved, and what is only read, needs no lock
        await send(supervisor, homeserver, SHARED, 1)
        await check(supervisor, store, homeserver)
        assert before == store.info().generation
        os.kill(frozen, signal.SIGCONT)
        assert await trio.to_thread.run_sync(workers.wait) == 0
        assert before < store.info().generation
        await send(supervisor, homeserver, BUSY, 30)
        await check(supervisor, store, homeserver)
    homeserver.judge()


async def test_a_killed_holder_gives_the_lock_up(world: World, workers: Workers) -> None:
    homeserver = world.homeserver()
    async with open_client(world.store, homeserver) as (supervisor, store):
        frozen = workers.start(world.store, world.journal, "freeze")
        assert await trio.to_thread.run_sync(workers.go) == STOPPED
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, supervisor, homeserver, BUSY, 30)
            await trio.testing.wait_all_tasks_blocked()
            os.kill(frozen, signal.SIGKILL)
        assert await trio.to_thread.run_sync(workers.wait) == -signal.SIGKILL
        await check(supervisor, store, homeserver)
    homeserver.judge()


async def test_a_frozen_head_of_the_queue_holds_nobody_up_for_long(world: World, workers: Workers) -> None:
    homeserver = world.homeserver()
    async with open_client(world.store, homeserver) as (supervisor, store):
        assert store.lock.acquire_nowait()
        waiting = workers.start(world.store, world.journal, "send", one_thread=False)
        workers.let_go()
        while not store.lock.contended():  # noqa: ASYNC110 - no event of ours tells that another process waits
            await trio.sleep(0.01)
        os.kill(waiting, signal.SIGSTOP)
        assert await trio.to_thread.run_sync(workers.wait) == STOPPED
        store.lock.release()
        await send(supervisor, homeserver, BUSY, 30)
        os.kill(waiting, signal.SIGCONT)
        assert await trio.to_thread.run_sync(workers.wait) == 0
        await check(supervisor, store, world.homeserver())
    world.homeserver().judge()
