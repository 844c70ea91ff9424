"""The lock: one handle at a time, in the order of asking."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.messages import StoreBusy
from olmstate.storage import Store
from tests.storage.contract.engines import Engine


async def test_one_handle_at_a_time_has_the_lock(one: Store, two: Store, autojump_clock: MockClock) -> None:
    assert one.lock.acquire_nowait()
    assert (True, False) == (one.lock.held, two.lock.held)
    assert not two.lock.acquire_nowait()
    with pytest.raises(StoreBusy) as caught:
        await two.lock.acquire(0.5)
    assert caught.value.waited >= 0.5
    assert caught.value.holder_pid == one.lock.holder_pid() == two.lock.holder_pid() is not None
    one.lock.release()
    assert one.lock.holder_pid() is None
    await two.lock.acquire(0.5)
    assert (False, True) == (one.lock.held, two.lock.held)
    two.lock.release()


async def test_nobody_gives_up_as_long_as_the_lock_goes_from_one_to_the_next(
    engine: Engine, autojump_clock: MockClock
) -> None:
    # the whole wait counted: of fifty programs that sent at once most failed, though each had the lock for a moment
    took: list[float] = []

    async def take_turns(store: Store) -> None:
        for _ in range(2):
            await store.lock.acquire(3)
            await trio.sleep(2)
            took.append(trio.current_time())
            store.lock.release()

    async with trio.open_nursery() as nursery:
        for _ in range(7):
            nursery.start_soon(take_turns, await engine.open())
    assert 14 == len(took)
    assert took[-1] - took[0] >= 13 * 2


async def test_who_waits_gives_up_when_the_lock_has_not_gone_on_for_too_long(
    engine: Engine, one: Store, two: Store, autojump_clock: MockClock
) -> None:
    third = await engine.open()
    one.lock.acquire_nowait()
    began = trio.current_time()

    async def wait_in_vain() -> None:
        with pytest.raises(StoreBusy) as caught:
            await third.lock.acquire(3)
        assert 5 == pytest.approx(trio.current_time() - began, abs=0.1)
        assert 3 == pytest.approx(caught.value.waited, abs=0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(two.lock.acquire, 3)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait_in_vain)
        await trio.sleep(2)
        one.lock.release()
    two.lock.release()


async def test_the_lock_is_for_those_who_hold_it_and_those_who_do_not(one: Store) -> None:
    lock = one.lock
    with pytest.raises(RuntimeError):
        lock.release()
    with pytest.raises(RuntimeError):
        lock.contended()
    lock.acquire_nowait()
    with pytest.raises(RuntimeError):
        lock.acquire_nowait()
    with pytest.raises(RuntimeError):
        await lock.acquire(1)
    lock.release()


async def test_the_holder_sees_that_somebody_waits_and_that_one_gets_the_lock(
    one: Store, two: Store, autojump_clock: MockClock
) -> None:
    one.lock.acquire_nowait()
    assert not one.lock.contended()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(two.lock.acquire, 5)
        await trio.sleep(0.05)
        assert one.lock.contended()
        one.lock.release()
        assert not one.lock.acquire_nowait()  # no barging
    assert two.lock.held
    two.lock.release()


async def test_who_gives_up_waiting_holds_nothing(one: Store, two: Store, autojump_clock: MockClock) -> None:
    one.lock.acquire_nowait()
    with trio.move_on_after(1) as scope:
        await two.lock.acquire(5)
    assert scope.cancelled_caught
    assert not one.lock.contended()
    one.lock.release()
    assert not two.lock.held
    assert one.lock.acquire_nowait()
    one.lock.release()
