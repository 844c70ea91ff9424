"""The lock between real processes, and real signals. Trio's mock clock keeps the waits of this process short.

Rule: what another process has to reach first is waited for, however long it takes; nothing is judged by the clock.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel

from olmstate.messages import StoreBusy
from olmstate.storage.lock.turnstile import PATIENCE, Turnstile
from tests.storage.processes import Steered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trio.testing import MockClock

PEER = Path(__file__).with_name("turnstile_peer.py")


class Peer(Steered):
    """Another process with a handle on the lock."""

    def __init__(self, folder: Path) -> None:
        ours_ends, self._life = os.pipe()
        super().__init__(sys.executable, str(PEER), str(folder), str(ours_ends), pass_fds=[ours_ends])
        os.close(ours_ends)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process and everything that it left behind."""
        self.kill()
        os.close(self._life)
        # Its children have its output open: when that ends, they have.
        self._process.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Peer]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Peer(tmp_path)))


@pytest.fixture
def turnstile(tmp_path: Path) -> Iterator[Turnstile]:
    with closing(Turnstile(tmp_path)) as opened:
        yield opened


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.001)


def test_processes_exclude_one_another(start: Callable[[], Peer], turnstile: Turnstile) -> None:
    first, second = start(), start()

    assert first.ask("acquire 0") == "held"
    assert f"busy {first.pid}" == second.ask("acquire 0")
    assert not turnstile.acquire_nowait()
    assert first.ask("release") == "released"
    assert turnstile.acquire_nowait()
    assert f"busy {os.getpid()}" == second.ask("acquire 0")
    assert turnstile.holder_pid() == os.getpid()


def test_a_killed_holder_gives_the_lock_back_and_is_named_no_more(
    start: Callable[[], Peer], turnstile: Turnstile
) -> None:
    holder = start()
    holder.ask("acquire 0")
    assert holder.pid == turnstile.holder_pid()

    holder.kill()

    assert turnstile.holder_pid() is None
    assert turnstile.acquire_nowait()


def test_a_killed_head_of_the_queue_gives_its_place_back(start: Callable[[], Peer], turnstile: Turnstile) -> None:
    head = start()
    turnstile.acquire_nowait()
    head.tell("acquire 600")
    wait_until(turnstile.contended)

    head.kill()

    assert not turnstile.contended()


async def test_a_frozen_holder_is_waited_for_and_named_and_robbed_by_nobody(
    start: Callable[[], Peer], turnstile: Turnstile, autojump_clock: MockClock
) -> None:
    holder = start()
    holder.ask("acquire 0")
    holder.freeze()

    with pytest.raises(StoreBusy) as refused:
        await turnstile.acquire(5)

    assert holder.pid == refused.value.holder_pid
    assert pytest.approx(5) == refused.value.waited
    holder.thaw()
    assert holder.ask("release") == "released"
    await turnstile.acquire(5)


async def test_a_frozen_head_of_the_queue_holds_up_nobody(
    tmp_path: Path, start: Callable[[], Peer], turnstile: Turnstile, autojump_clock: MockClock
) -> None:
    head = start()
    turnstile.acquire_nowait()
    head.tell("acquire 600")
    wait_until(turnstile.contended)
    head.freeze()
    turnstile.release()

    assert not turnstile.acquire_nowait()
    with pytest.raises(StoreBusy) as refused:
        await turnstile.acquire(PATIENCE / 2)
    assert refused.value.holder_pid is None
    with closing(Turnstile(tmp_path)) as another:
        for waiter in (turnstile, another, turnstile):
            wait = await waiter.acquire(60)
            assert wait.bypassed
            waiter.release()

    head.thaw()
    assert head.answer() == "held"


async def test_who_waits_gets_the_lock_when_its_holder_is_killed(
    start: Callable[[], Peer], turnstile: Turnstile
) -> None:
    """On the real clock: the waiter is asleep between two tries when the kernel releases the lock."""
    holder = start()
    holder.ask("acquire 0")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(turnstile.acquire, 600)
        await trio.lowlevel.checkpoint()
        await trio.to_thread.run_sync(holder.kill)

    assert turnstile.held


def test_a_full_disk_keeps_nobody_from_the_lock(start: Callable[[], Peer], turnstile: Turnstile) -> None:
    holder = start()
    holder.ask("fill-disk")

    assert holder.ask("acquire 0") == "held"

    assert not turnstile.acquire_nowait()
    assert turnstile.holder_pid() is None


def test_the_record_of_a_dead_holder_is_not_taken_for_the_present_one(
    start: Callable[[], Peer], turnstile: Turnstile
) -> None:
    dead, unrecorded = start(), start()
    dead.ask("acquire 0")
    dead.kill()
    unrecorded.ask("fill-disk")
    assert unrecorded.ask("acquire 0") == "held"

    assert turnstile.holder_pid() is None


def test_a_forked_child_is_refused_every_use(start: Callable[[], Peer], turnstile: Turnstile) -> None:
    assert start().ask("fork") == "allowed:"

    parent = start()
    parent.ask("acquire 0")
    assert parent.ask("fork") == "allowed:"

    assert parent.pid == turnstile.holder_pid()
    assert parent.ask("release") == "released"
    assert turnstile.acquire_nowait()


@pytest.mark.parametrize("leave_behind", ["fork", "spawn"])
def test_a_child_that_outlives_the_holder_does_not_keep_the_lock(
    start: Callable[[], Peer], turnstile: Turnstile, leave_behind: str
) -> None:
    holder = start()
    holder.ask("acquire 0")
    holder.ask(leave_behind)
    assert not turnstile.acquire_nowait()

    holder.kill()

    assert turnstile.acquire_nowait()
