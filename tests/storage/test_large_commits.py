"""Many rows are sealed on the event loop, bit by bit: what others can do, and undo, in between."""

from __future__ import annotations

import pytest
import trio

from olmstate.messages import StorePoisoned
from olmstate.storage import Row, Table
from olmstate.storage.sqlite.store import SEALED_AT_ONCE
from tests.storage.handles import Handles, device, put, session, values

MANY = tuple(device(number) for number in range(4 * SEALED_AT_ONCE))


class Steps(trio.abc.Instrument):
    """Counts how often the event loop goes on."""

    def __init__(self) -> None:
        self.taken = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - the name is Trio's
        """Trio's."""
        self.taken += 1


async def steps_of(stores: Handles, rows: tuple[Row, ...], others: tuple[Row, ...] = ()) -> int:
    """Of a commit of so many devices, and other rows, that is made on the event loop."""
    store = await stores.open()
    await store.lock.acquire(5)
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        await store.commit({Table.INBOUND_GROUP_SESSIONS: others, Table.DEVICES: rows}, store.info().generation)
    finally:
        trio.lowlevel.remove_instrument(steps)
        store.lock.release()
    return steps.taken


async def test_others_get_their_turns_while_many_rows_are_sealed(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.storage.sqlite.store.SLOW_COMMIT", 60.0)

    assert 0 == await steps_of(stores, MANY[:SEALED_AT_ONCE])
    assert 3 == await steps_of(stores, MANY)
    assert 3 == await steps_of(stores, MANY[3:], others=tuple(map(session, range(3))))


async def test_no_cancellation_comes_between_rows_that_are_sealed_and_their_commit(stores: Handles) -> None:
    store = await stores.open()
    await store.lock.acquire(5)

    with trio.CancelScope() as scope:
        scope.cancel()
        assert 1 == await store.commit({Table.DEVICES: MANY}, 0)

    store.lock.release()
    assert not scope.cancelled_caught
    assert len(MANY) == len(await values(store))


async def test_a_store_that_is_closed_while_rows_are_sealed_gets_none_of_them(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(0, b"before"))
    await store.lock.acquire(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.aclose)
        with pytest.raises(StorePoisoned):
            await store.commit({Table.DEVICES: MANY}, 1)

    assert [b"before"] == await values(await stores.open())


async def test_a_lock_that_is_let_go_while_rows_are_sealed_protects_no_commit(stores: Handles) -> None:
    store = await stores.open()
    await store.lock.acquire(5)

    async def let_go() -> None:
        store.lock.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_go)
        with pytest.raises(StorePoisoned, match="without the lock"):
            await store.commit({Table.DEVICES: MANY}, 0)

    assert [] == await values(store)
