"""A commit that fails writes nothing, or the handle says that it knows no more."""

from __future__ import annotations

import sqlite3

import pytest
import trio
from trio.testing import MockClock

from olmstate.messages import StoreBusy, StoreCorrupt, StorePoisoned
from olmstate.storage import Table
from olmstate.storage.sqlite.sqlite_errors import BUSY_SECONDS
from tests.storage.handles import (
    PARTITION,
    Handles,
    commit,
    device,
    put,
    refuse,
    session,
    values,
)


async def test_what_can_not_be_written_is_rolled_back_whole(stores: Handles) -> None:
    store = await stores.open()
    stores.edit("CREATE TRIGGER no BEFORE INSERT ON account BEGIN SELECT raise(ROLLBACK, 'no'); END")
    stores.edit("CREATE TRIGGER never BEFORE INSERT ON sync BEGIN SELECT raise(ABORT, 'never'); END")

    for table in (Table.ACCOUNT, Table.SYNC):
        with pytest.raises(StoreCorrupt):
            await commit(store, {Table.DEVICES: [device(1)], table: [session(1)]})
        assert 0 == store.info().generation
        assert [] == await values(store)

    assert 1 == await put(store, device(1))


async def test_a_row_that_is_none_is_a_bug_and_leaves_no_transaction_open(stores: Handles) -> None:
    store = await stores.open()

    with pytest.raises(AttributeError):
        await commit(store, {Table.DEVICES: [device(1), "no row"]})  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]

    assert [] == await values(store)
    assert 1 == await put(store, device(1))


async def test_a_commit_that_may_have_failed_poisons_the_handle_and_leaves_the_store_usable(stores: Handles) -> None:
    store, other = await stores.open(), await stores.open()
    refuse(store, "COMMIT")

    with pytest.raises(StorePoisoned, match="unknown outcome"):
        await put(store, device(1))

    refuse(store)
    for use in (lambda: put(store, device(1)), lambda: store.read(Table.DEVICES, [PARTITION])):
        with pytest.raises(StorePoisoned, match="unknown outcome"):
            await use()
    with pytest.raises(StorePoisoned, match="unknown outcome"):
        store.changed()
    assert 1 == await put(other, device(1))


async def test_a_transaction_that_can_not_even_be_rolled_back_poisons(stores: Handles) -> None:
    store = await stores.open()
    refuse(store, "COMMIT", "ROLLBACK")

    with pytest.raises(StorePoisoned, match="rolled back"):
        await put(store, device(1))

    await store.aclose()
    assert [] == await values(await stores.open())


async def test_a_transaction_of_other_code_makes_busy_not_wrong(stores: Handles, autojump_clock: MockClock) -> None:
    store = await stores.open()
    browser = sqlite3.connect(stores.database, isolation_level=None)
    try:
        browser.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy) as busy:
            await put(store, device(1))
        assert busy.value.holder_pid is None
        browser.execute("ROLLBACK")
        assert 1 == await put(store, device(1))
    finally:
        browser.close()


async def test_others_go_on_while_other_code_has_a_transaction(stores: Handles, autojump_clock: MockClock) -> None:
    store = await stores.open()
    browser = sqlite3.connect(stores.database, isolation_level=None)
    browser.execute("BEGIN IMMEDIATE")

    async def let_go_later() -> None:
        await trio.sleep(BUSY_SECONDS / 2)
        browser.execute("ROLLBACK")

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_go_later)
            assert 1 == await put(store, device(1))
    finally:
        browser.close()
