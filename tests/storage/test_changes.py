"""What others wrote is told, by key for as long as it is known, and never missed."""

from __future__ import annotations

import pytest

from olmstate.messages import StoreCorrupt, StorePoisoned
from olmstate.storage import START, Fenced, Table, unit_of
from olmstate.storage.tables import KEYS_ONLY
from tests.storage.handles import (
    PARTITION,
    Handles,
    commit,
    device,
    put,
    session,
    values,
)

TRACKED = [table for table in Table if table not in KEYS_ONLY]


async def test_changes_name_the_partitions_that_others_wrote_and_no_others(stores: Handles) -> None:
    store, other = await stores.open(), await stores.open()
    await put(store, device(1, partition=b"one"), device(2, partition=b"two"))
    seen = store.changes(0).generation

    await put(other, device(2, partition=b"two"), device(3, partition=b"three"))
    await put(other, session(4), table=Table.ACCOUNT)

    changes = store.changes(seen)
    assert {
        Table.DEVICES: frozenset({b"two", b"three"}),
        Table.ACCOUNT: frozenset({session(4).key}),
    } == changes.partitions
    assert 3 == changes.generation
    assert ({}, 3) == (store.changes(3).partitions, store.changes(3).generation)


@pytest.mark.parametrize("table", TRACKED)
async def test_what_was_deleted_is_told_too(stores: Handles, table: Table) -> None:
    store, other = await stores.open(), await stores.open()
    row = session(1)
    await put(store, row, table=table)
    seen = store.changes(0).generation

    await put(other, session(1, None), table=table)

    assert {table: frozenset({unit_of(table, row)})} == store.changes(seen).partitions


async def test_what_nobody_caches_is_not_told_and_leaves_no_mark(stores: Handles) -> None:
    store = await stores.open()
    await put(store, session(1, b""), table=Table.OLM_MESSAGES)
    await put(store, session(1, None), table=Table.OLM_MESSAGES)

    assert {} == store.changes(0).partitions
    (rows,) = store._reader.execute("SELECT count(*) FROM olm_messages").fetchone()  # pyright: ignore[reportPrivateUsage]
    assert 0 == rows


async def test_too_many_changes_are_told_as_a_change_of_everything(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.storage.sqlite.store.MANY_CHANGES", 10)
    store, other = await stores.open(), await stores.open()

    await put(other, *(device(number) for number in range(10)))
    partitions = store.changes(0).partitions
    await put(other, device(10))

    assert {Table.DEVICES: frozenset({PARTITION})} == partitions
    assert store.changes(0).partitions is None
    assert 2 == store.changes(0).generation


async def test_marks_are_forgotten_in_time_and_who_is_behind_them_hears_that_everything_changed(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.storage.sqlite.store.TOMBSTONES_KEPT", 3)
    monkeypatch.setattr("olmstate.storage.sqlite.store.FORGET_EVERY", 5)
    store = await stores.open()
    await put(store, device(1), device(2))
    await put(store, device(1, None))
    for _ in range(2):
        await put(store, device(3))
    assert {Table.DEVICES: frozenset({PARTITION})} == store.changes(1).partitions  # generation 4: nothing is swept

    await put(store, device(2, None))  # generation 5: sweeps the marks up to 2

    (marks,) = store._reader.execute("SELECT count(*) FROM devices WHERE value IS NULL").fetchone()  # pyright: ignore[reportPrivateUsage]
    assert 1 == marks
    assert store.changes(1).partitions is None
    assert {Table.DEVICES: frozenset({PARTITION})} == store.changes(2).partitions


async def test_as_long_as_no_mark_was_forgotten_all_changes_are_told(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.storage.sqlite.store.TOMBSTONES_KEPT", 3)
    monkeypatch.setattr("olmstate.storage.sqlite.store.FORGET_EVERY", 5)
    store = await stores.open()
    for _ in range(11):
        await put(store, device(1))

    assert {Table.DEVICES: frozenset({PARTITION})} == store.changes(0).partitions


async def test_a_generation_that_went_back_poisons(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))

    with pytest.raises(StorePoisoned, match="older"):
        store.changes(2)
    with pytest.raises(StorePoisoned, match="older"):
        store.changed()


async def test_every_commit_of_another_is_noticed(stores: Handles) -> None:
    store, other = await stores.open(), await stores.open()
    generation = 0
    for number in range(100):
        assert generation == store.changes(generation).generation
        assert not store.changed()
        if number % 3 == 0:
            await values(store)  # a read in between hides nothing
        generation = await put(other, device(number))
        if number % 7 == 0:
            other._checkpoint()  # pyright: ignore[reportPrivateUsage]
        if number % 5 == 0:
            await values(store)
        assert store.changed()
        assert store.changed()  # until it is asked for
        assert generation == store.changes(generation - 1).generation


async def test_a_new_handle_has_everything_to_ask_for(stores: Handles) -> None:
    store = await stores.open()

    assert store.changed()
    store.changes(0)
    assert not store.changed()


async def test_a_value_that_is_damaged_makes_no_later_read_stale(stores: Handles) -> None:
    """It did: the statement that was reading when the seal broke kept its snapshot for as long as the error lived."""
    store, other = await stores.open(), await stores.open()
    await put(store, device(1), device(2), device(3))
    stores.edit("UPDATE devices SET value = x'00' WHERE key = ?", [device(1).key])
    generation = store.changes(0).generation

    for read in (store.read(Table.DEVICES, [PARTITION]), store.page(Table.DEVICES, START, 10)):
        with pytest.raises(StoreCorrupt) as damaged:
            await read
        generation = await put(other, device(1))
        assert store.changed()
        assert generation == store.changes(0).generation
        assert 3 == len(await values(store))
        stores.edit("UPDATE devices SET value = x'00' WHERE key = ?", [device(1).key])
        assert damaged.value.reason


async def test_an_error_in_a_snapshot_ends_the_snapshot(stores: Handles) -> None:
    store = await stores.open()
    stores.edit("ALTER TABLE olm_sessions RENAME TO lost")
    await put(store, device(1))

    with pytest.raises(StoreCorrupt):
        store.changes(0)
    with pytest.raises(StoreCorrupt):
        await store.read(Table.OLM_SESSIONS, [b"%d" % number for number in range(600)])

    assert not store._reader.in_transaction  # pyright: ignore[reportPrivateUsage]
    stores.edit("ALTER TABLE lost RENAME TO olm_sessions")
    assert 1 == store.changes(0).generation


async def test_without_its_own_row_a_store_is_corrupt(stores: Handles) -> None:
    store = await stores.open()
    stores.edit("DELETE FROM meta")

    with pytest.raises(StoreCorrupt, match="meta"):
        store.changes(0)
    with pytest.raises(StoreCorrupt, match="meta"):
        store.info()
    with pytest.raises(Fenced):
        await commit(store, {}, seen=0)
