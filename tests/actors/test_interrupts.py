"""Ctrl-C comes where a cancellation can, ends the block at once, and is never lost; `tests/faults` sends real ones."""

from __future__ import annotations

import signal
import sys
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.lowlevel import enable_ki_protection
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.actors import Options, Supervisor, open_supervisor
from olmstate.actors._devices.actor import DevicesActor
from olmstate.actors._engine.states import State
from olmstate.actors.testing import MemoryDisk, MemoryStore
from olmstate.messages import (
    ActorStopped,
    CreateAccount,
    DeviceId,
    Devices,
    DevicesChanged,
    Message,
    OlmStateError,
    Reply,
    RotateRoomKey,
    UserId,
)
from olmstate.storage import Table, open_store
from tests.actors.supervised import state_of, supervised
from tests.operations.device import ROOM
from tests.operations.peer import Peer, add_devices

ALICE = UserId("@alice:example.org")


def press_ctrl_c() -> None:
    """Where whoever calls it is protected, it comes to the program's own task."""
    signal.raise_signal(signal.SIGINT)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """As a program does, so that Ctrl-C comes to ``main``; in virtual time."""
    trio.run(main, clock=MockClock(autojump_threshold=0))


async def ask(supervisor: Supervisor, message: Message[Any], heard: list[object]) -> None:
    """And hear the answer, whatever else ends."""
    with trio.CancelScope(shield=True):
        try:
            heard.append(await supervisor.ask(message))
        except OlmStateError as error:
            heard.append(type(error))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_ctrl_c_while_closing_waits_for_the_lock_ends_the_block_at_once(times: int) -> None:
    # it never ended: whoever ended the shielded task was skipped
    disk, heard = MemoryDisk(), list[object]()
    holder = MemoryStore(disk, pid=2).lock

    @enable_ki_protection
    async def press() -> None:
        for _ in range(times):
            await trio.sleep(1)
            press_ctrl_c()

    async def main() -> None:
        options = Options(lock_timeout=1e6, drain=1e6)
        async with trio.open_nursery() as nursery, supervised(disk, options=options) as supervisor:
            holder.acquire_nowait()
            nursery.start_soon(ask, supervisor, CreateAccount(), heard)
            await wait_all_tasks_blocked()
            nursery.start_soon(press)

    with pytest.raises(BaseExceptionGroup) as caught:
        run(main)
    assert caught.group_contains(KeyboardInterrupt)
    assert [ActorStopped] == heard
    assert holder.held


def test_ctrl_c_in_the_block_ends_it_and_what_was_sent_is_answered() -> None:
    disk, heard = MemoryDisk(), list[object]()

    async def main() -> None:
        async with trio.open_nursery() as nursery, supervised(disk, latency=lambda _: 1.0) as supervisor:
            nursery.start_soon(ask, supervisor, CreateAccount(), heard)
            await wait_all_tasks_blocked()
            press_ctrl_c()

    with pytest.raises(BaseExceptionGroup) as caught:
        run(main)
    assert caught.group_contains(KeyboardInterrupt)
    assert 1 == disk.generation
    assert disk.slot.holder is None


def test_ctrl_c_alone_comes_out_as_it_is() -> None:
    async def main() -> None:
        async with supervised(MemoryDisk()):
            press_ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        run(main)


@pytest.mark.parametrize("loaded", [False, True])
def test_ctrl_c_never_comes_into_a_handler(
    loaded: bool,  # noqa: FBT001 - whether it runs in the asker's own slice of time
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handle, peer, finished = DevicesActor.handle, Peer(), list[Reply]()

    def interrupted(self: DevicesActor, message: Any) -> Reply:  # noqa: ANN401 - as the actor's
        if isinstance(message, Devices):
            press_ctrl_c()
        reply = handle(self, message)
        if isinstance(message, Devices):
            finished.append(reply)
        return reply

    async def main() -> None:
        async with supervised(MemoryDisk()) as supervisor:
            await supervisor.ask(add_devices(peer))
            if loaded:
                await supervisor.ask(Devices(user_id=peer.user_id))
            monkeypatch.setattr(DevicesActor, "handle", interrupted)
            await supervisor.ask(Devices(user_id=peer.user_id))
            await trio.lowlevel.checkpoint()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert 1 == len(finished)


def test_a_command_whose_asker_is_interrupted_before_it_was_begun_is_never_run() -> None:
    disk, heard = MemoryDisk(), list[object]()
    holder = MemoryStore(disk, pid=2).lock

    async def main() -> None:
        async with trio.open_nursery() as nursery, supervised(disk) as supervisor:
            holder.acquire_nowait()
            nursery.start_soon(ask, supervisor, CreateAccount(), heard)  # a turn of its own
            await wait_all_tasks_blocked()

            @enable_ki_protection
            async def press() -> None:
                await wait_all_tasks_blocked()
                press_ctrl_c()
                holder.release()

            nursery.start_soon(press)
            await supervisor.ask(RotateRoomKey(room_id=ROOM))

    with pytest.raises(BaseExceptionGroup):
        run(main)
    assert 1 == len(heard)
    assert disk.rows(Table.OUTBOUND_GROUP_SESSIONS) == []


# --- where Python loses it ----------------------------------------------------------------------------------


def test_no_block_of_ours_is_an_asynchronous_generator(tmp_path: Path) -> None:
    # Trio keeps those in a WeakSet, whose callback swallowed a Ctrl-C
    begun: list[object] = []

    async def main() -> None:
        first = sys.get_asyncgen_hooks().firstiter
        assert first is not None

        def note(generator: Any) -> None:  # noqa: ANN401 - an asynchronous generator
            begun.append(generator)
            first(generator)

        sys.set_asyncgen_hooks(firstiter=note)
        async with open_supervisor(tmp_path / "store", user_id=ALICE, device_id="A", key=None) as supervisor:
            await supervisor.ask(CreateAccount())
            with supervisor.subscribe(DevicesChanged):
                await supervisor.ask(add_devices(Peer()))
            async with supervisor.sync_turn():
                pass
            assert state_of(supervisor) is State.IDLE

    trio.run(main)
    assert begun == []


async def test_no_code_runs_when_a_handle_is_collected(tmp_path: Path) -> None:
    # the set of handles that a fork poisons was a WeakSet, too
    store = await open_store(tmp_path / "store", user_id=ALICE, device_id=DeviceId("A"), key=None)
    for handle in (store, store.lock, store.presence):
        assert all(reference.__callback__ is None for reference in weakref.getweakrefs(handle))
    await store.aclose()
