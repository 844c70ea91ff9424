"""The lock: one handle at a time, in the order of asking."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from olmstate.messages import StoreBusy
from olmstate.storage import Store


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
