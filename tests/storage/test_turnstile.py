"""The lock in one process: exclusion, order, cancellation, misuse. On Trio's mock clock: nothing really sleeps."""

from __future__ import annotations

import math
import os
import random
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from olmstate.messages import StoreBusy
from olmstate.storage.lock.lock_file import LockFile
from olmstate.storage.lock.turnstile import (
    CROWD_POLL,
    HEAD_POLL,
    LATE,
    LATE_POLL,
    PATIENCE,
    WAITER_POLL,
    LockWait,
    Turnstile,
)
from olmstate.storage.lock.wake_up import WakeUp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from trio.testing import MockClock


class Opener:
    """Opens turnstiles on one folder, and closes them when the test is over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: list[Turnstile] = []

    def __call__(self, rng: random.Random | None = None) -> Turnstile:
        turnstile = Turnstile(self.folder, rng=rng or random.Random(len(self._opened)))
        self._opened.append(turnstile)
        return turnstile

    def close(self) -> None:
        for turnstile in self._opened:
            turnstile.close()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    with closing(Opener(tmp_path)) as opener:
        yield opener


class Script(random.Random):
    """Does things at checkpoints by their number: the time until the next try is drawn just before each sleep."""

    def __init__(self, *acts: tuple[int, Callable[[], object]]) -> None:
        super().__init__(1)
        self.drawn: list[tuple[float, float]] = []
        self._acts = acts

    def uniform(self, a: float, b: float) -> float:
        self.drawn.append((a, b))
        for number, act in self._acts:
            if len(self.drawn) == number:
                act()
        return b


# --- exclusion -------------------------------------------------------------------------------------------------------


async def test_a_free_lock_is_acquired_at_once(opened: Opener, autojump_clock: MockClock) -> None:
    turnstile = opened()

    wait = await turnstile.acquire(0)

    assert LockWait(waited=0.0, tries=1, bypassed=False) == wait
    assert turnstile.held


async def test_handles_in_one_process_exclude_one_another(opened: Opener, autojump_clock: MockClock) -> None:
    first, second = opened(), opened()

    assert first.acquire_nowait()
    assert not second.acquire_nowait()
    with pytest.raises(StoreBusy):
        await second.acquire(0.3)
    assert not second.held
    first.release()
    assert second.acquire_nowait()


async def test_busy_comes_after_the_timeout_and_names_the_holder(opened: Opener, autojump_clock: MockClock) -> None:
    opened().acquire_nowait()
    began = trio.current_time()

    with pytest.raises(StoreBusy) as refused:
        await opened().acquire(5)

    assert os.getpid() == refused.value.holder_pid
    assert pytest.approx(5) == refused.value.waited == trio.current_time() - began


async def test_with_no_time_to_wait_the_lock_is_tried_once(opened: Opener, autojump_clock: MockClock) -> None:
    opened().acquire_nowait()

    with trio.testing.assert_no_checkpoints(), pytest.raises(StoreBusy):
        await opened().acquire(0)


async def test_a_waiter_gets_the_lock_that_is_released_and_reports_how_it_went(
    opened: Opener, autojump_clock: MockClock
) -> None:
    holder, waiter = opened(), opened()
    holder.acquire_nowait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(release_after, holder, 3.0)
        wait = await waiter.acquire(10)

    assert waiter.held
    assert 3 <= wait.waited <= 3 + HEAD_POLL[1]
    assert 3 / HEAD_POLL[1] <= wait.tries <= 2 + 3 / HEAD_POLL[0]
    assert not wait.bypassed


async def test_a_seeded_generator_makes_a_wait_repeat(opened: Opener, autojump_clock: MockClock) -> None:
    waits = [await wait_for_release(opened, seed=seed) for seed in (1, 1, 2)]

    assert waits[0] == waits[1]
    assert waits[0] != waits[2]


async def wait_for_release(opened: Opener, *, seed: int) -> tuple[int, float]:
    holder, waiter = opened(), opened(random.Random(seed))
    holder.acquire_nowait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(release_after, holder, 0.05)
        wait = await waiter.acquire(10)
    waiter.release()
    return wait.tries, round(wait.waited, 9)


async def release_after(holder: Turnstile, seconds: float) -> None:
    await trio.sleep(seconds)
    holder.release()


# --- turn ------------------------------------------------------------------------------------------------------------


async def test_who_comes_back_at_once_waits_behind_who_waits(opened: Opener, autojump_clock: MockClock) -> None:
    greedy, patient = opened(), opened()
    order: list[str] = []
    greedy.acquire_nowait()

    async def take_a_turn(name: str, turnstile: Turnstile) -> None:
        await turnstile.acquire(10)
        order.append(name)
        turnstile.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_a_turn, "patient", patient)
        await trio.testing.wait_all_tasks_blocked()
        greedy.release()
        assert not greedy.acquire_nowait()
        nursery.start_soon(take_a_turn, "greedy", greedy)

    assert ["patient", "greedy"] == order


async def test_only_the_head_of_the_queue_tries_the_lock(opened: Opener, autojump_clock: MockClock) -> None:
    with closing(LockFile(opened.folder / "turn")) as head:
        head.take()

        with pytest.raises(StoreBusy) as refused:
            await opened().acquire(PATIENCE * 0.9)

    assert refused.value.holder_pid is None


async def test_a_head_that_does_not_move_is_bypassed(opened: Opener, autojump_clock: MockClock) -> None:
    waiter = opened()
    with closing(LockFile(opened.folder / "turn")) as head:
        head.take()

        wait = await waiter.acquire(10)

        assert wait.bypassed
        assert PATIENCE <= wait.waited <= PATIENCE + WAITER_POLL[1]
        assert waiter.held
        assert waiter.contended()


async def test_a_waiter_leaves_the_queue_when_it_holds_the_lock(opened: Opener, autojump_clock: MockClock) -> None:
    holder, waiter = opened(), opened()
    holder.acquire_nowait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter.acquire, 10)
        await trio.testing.wait_all_tasks_blocked()
        holder.release()

    assert waiter.held
    assert not waiter.contended()


def test_trying_once_leaves_the_queue_whether_it_succeeds_or_not(opened: Opener) -> None:
    holder, other = opened(), opened()

    assert holder.acquire_nowait()
    assert not holder.contended()
    assert not other.acquire_nowait()
    assert not holder.contended()


async def test_who_has_waited_long_tries_more_often(opened: Opener, autojump_clock: MockClock) -> None:
    script = Script()
    opened().acquire_nowait()
    with closing(LockFile(opened.folder / "turn")) as head:
        head.take()
        with pytest.raises(StoreBusy):
            await opened(script).acquire(LATE * 2)

    assert [WAITER_POLL] * 3 == script.drawn[:3]
    assert {LATE_POLL} == set(script.drawn[3:])


async def test_a_crowd_behind_the_head_leaves_the_processor_to_the_holder(
    opened: Opener, autojump_clock: MockClock
) -> None:
    # fifty who tried every millisecond took both processors, and the holder's turn thirty times as long
    head, behind = Script(), Script()
    opened().acquire_nowait()

    async with trio.open_nursery() as nursery:
        for script in (head, behind):
            nursery.start_soon(wait_in_vain, opened(script))
            await trio.testing.wait_all_tasks_blocked()

    assert {HEAD_POLL} == set(head.drawn)
    early = [drawn for drawn in behind.drawn if drawn != CROWD_POLL]
    assert {WAITER_POLL, LATE_POLL} == set(early)
    assert sum(longest for _, longest in early) <= PATIENCE + LATE_POLL[1]
    assert len(behind.drawn) - len(early) == pytest.approx((3 - PATIENCE) / CROWD_POLL[1], abs=2)


async def wait_in_vain(turnstile: Turnstile) -> None:
    with pytest.raises(StoreBusy):
        await turnstile.acquire(3)


async def test_a_head_that_can_be_woken_tries_seldom(opened: Opener, autojump_clock: MockClock) -> None:
    script = Script()
    opened().acquire_nowait()

    with pytest.raises(StoreBusy):
        await opened(script).acquire(LATE * 2)

    assert {HEAD_POLL} == set(script.drawn)


async def test_a_head_that_can_not_be_woken_tries_as_often_as_those_who_may_overtake_it(
    opened: Opener, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script()
    opened().acquire_nowait()
    monkeypatch.setattr(WakeUp, "listen", in_vain)

    with pytest.raises(StoreBusy):
        await opened(script).acquire(LATE * 2)

    assert [WAITER_POLL] * 3 == script.drawn[:3]
    assert {LATE_POLL} == set(script.drawn[3:])


def in_vain(_: WakeUp) -> bool:
    return False


async def test_the_holder_learns_that_somebody_waits(opened: Opener, autojump_clock: MockClock) -> None:
    holder, waiter = opened(), opened()
    holder.acquire_nowait()
    assert not holder.contended()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter.acquire, 10)
        await trio.testing.wait_all_tasks_blocked()
        assert holder.contended()
        assert holder.contended()
        nursery.cancel_scope.cancel()

    assert not holder.contended()


# --- cancellation ----------------------------------------------------------------------------------------------------


async def test_a_free_lock_is_held_on_return_even_in_a_cancelled_scope(
    opened: Opener, autojump_clock: MockClock
) -> None:
    turnstile = opened()

    with trio.CancelScope() as scope:
        scope.cancel()
        await turnstile.acquire(10)

    assert turnstile.held


@pytest.mark.parametrize("freed", [False, True], ids=["lock still held", "lock freed at that moment"])
@pytest.mark.parametrize("frozen", [False, True], ids=["as the head", "behind a frozen head and past it"])
async def test_cancelled_at_any_checkpoint_nothing_stays_taken(
    opened: Opener, autojump_clock: MockClock, *, frozen: bool, freed: bool
) -> None:
    checkpoints = math.ceil(PATIENCE / LATE_POLL[1]) + 10 if frozen else 10
    for checkpoint in range(1, checkpoints + 1):
        holder, head, scope = opened(), LockFile(opened.folder / "turn"), trio.CancelScope()
        holder.acquire_nowait()
        if frozen:
            head.take()
        acts: list[tuple[int, Callable[[], object]]] = [(checkpoint, scope.cancel)]
        if freed:
            acts.append((checkpoint, holder.release))
        waiter = opened(Script(*acts))

        with scope:
            await waiter.acquire(60)

        assert scope.cancelled_caught
        assert not waiter.held
        head.close()
        if not freed:
            assert not holder.contended()
            holder.release()
        assert holder.acquire_nowait()
        opened.close()


async def test_a_timeout_at_any_moment_leaves_nothing_taken(opened: Opener, autojump_clock: MockClock) -> None:
    holder = opened()
    holder.acquire_nowait()

    for timeout in (0, 0.0001, 0.001, 0.05, 0.2):
        with pytest.raises(StoreBusy):
            await opened().acquire(timeout)
        assert not holder.contended()


async def test_ctrl_c_can_not_land_between_taken_and_recorded(opened: Opener, autojump_clock: MockClock) -> None:
    turnstile = opened(Script((1, lambda: protected.append(trio.lowlevel.currently_ki_protected()))))
    protected: list[bool] = []

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code in (LockFile.take.__code__, LockFile.let_go.__code__):
            protected.append(trio.lowlevel.currently_ki_protected())

    other = opened()
    sys.setprofile(profile)
    try:
        assert turnstile.holder_pid() is None
        assert turnstile.acquire_nowait()
        turnstile.contended()
        turnstile.release()
        await turnstile.acquire(1)
        turnstile.release()
        other.acquire_nowait()
        with pytest.raises(StoreBusy):
            await turnstile.acquire(0.001)
    finally:
        sys.setprofile(None)

    assert len(protected) > 10
    assert all(protected)


# --- who holds it ----------------------------------------------------------------------------------------------------


def test_nobody_is_named_when_nobody_holds_the_lock(opened: Opener) -> None:
    turnstile = opened()

    assert turnstile.holder_pid() is None
    turnstile.acquire_nowait()
    assert os.getpid() == turnstile.holder_pid() == opened().holder_pid()
    turnstile.release()
    assert turnstile.holder_pid() is None
    assert opened().holder_pid() is None


def test_asking_who_holds_the_lock_takes_it_from_nobody(opened: Opener) -> None:
    holder, other = opened(), opened()
    holder.acquire_nowait()

    holder.holder_pid()
    other.holder_pid()

    assert not other.acquire_nowait()
    holder.release()
    other.holder_pid()
    assert holder.acquire_nowait()


@pytest.mark.parametrize("record", [b"", b"\0" * 11, b"nobody\n", b"-1\n", b"0\n", b"99999999999\n", b"\xff" * 11])
def test_a_damaged_record_names_nobody(opened: Opener, record: bytes) -> None:
    opened().acquire_nowait()
    (opened.folder / "lock").write_bytes(record)

    assert opened().holder_pid() is None


def test_a_process_of_another_user_can_be_named(opened: Opener) -> None:
    opened().acquire_nowait()
    (opened.folder / "lock").write_bytes(b"%-10d %20d\n" % (1, 7))

    assert opened().holder_pid() == 1


def test_a_process_that_is_its_own_successor_writes_nothing(opened: Opener) -> None:
    turnstile = opened()
    turnstile.acquire_nowait()
    turnstile.release()
    os.utime(opened.folder / "lock", (0, 0))

    turnstile.acquire_nowait()

    assert (opened.folder / "lock").stat().st_mtime_ns == 0


# --- misuse ----------------------------------------------------------------------------------------------------------


def test_releasing_what_is_not_held_is_an_error(opened: Opener) -> None:
    turnstile = opened()
    with pytest.raises(RuntimeError, match="not held"):
        turnstile.release()

    turnstile.acquire_nowait()
    turnstile.release()

    with pytest.raises(RuntimeError, match="not held"):
        turnstile.release()
    with pytest.raises(RuntimeError, match="not held"):
        turnstile.contended()


async def test_acquiring_what_is_held_is_an_error(opened: Opener, autojump_clock: MockClock) -> None:
    turnstile = opened()
    turnstile.acquire_nowait()

    with pytest.raises(RuntimeError, match="held already"):
        await turnstile.acquire(1)
    with pytest.raises(RuntimeError, match="held already"):
        turnstile.acquire_nowait()
    assert turnstile.held


async def test_two_tasks_can_not_acquire_with_one_handle(opened: Opener, autojump_clock: MockClock) -> None:
    holder, shared = opened(), opened()
    holder.acquire_nowait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shared.acquire, 10)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await shared.acquire(10)
        with pytest.raises(trio.BusyResourceError):
            shared.acquire_nowait()
        assert holder.contended()
        holder.release()

    assert shared.held


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan])
async def test_a_timeout_that_is_none_is_an_error(opened: Opener, autojump_clock: MockClock, seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        await opened().acquire(seconds)


async def test_a_wait_without_end_is_allowed(opened: Opener, autojump_clock: MockClock) -> None:
    holder, waiter = opened(), opened()
    holder.acquire_nowait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(release_after, holder, 1.0)
        await waiter.acquire(math.inf)

    assert waiter.held


def test_closing_releases_the_lock(opened: Opener) -> None:
    turnstile = opened()
    turnstile.acquire_nowait()

    turnstile.close()
    turnstile.close()

    assert not turnstile.held
    assert opened().acquire_nowait()


async def test_closing_wakes_who_waits_and_leaves_nothing_taken(opened: Opener, autojump_clock: MockClock) -> None:
    holder, closed = opened(), opened()
    holder.acquire_nowait()

    async def wait_in_vain() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await closed.acquire(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_vain)
        await trio.testing.wait_all_tasks_blocked()
        closed.close()

    assert not holder.contended()


async def test_a_closed_handle_refuses_every_use(opened: Opener, autojump_clock: MockClock) -> None:
    turnstile = opened()
    turnstile.close()

    with pytest.raises(trio.ClosedResourceError):
        await turnstile.acquire(1)
    for use in (
        turnstile.acquire_nowait,
        turnstile.release,
        turnstile.contended,
        turnstile.holder_pid,
        turnstile.check,
    ):
        with pytest.raises(trio.ClosedResourceError):
            use()
