"""A commit derives from the newest generation, is made under the lock, or writes nothing."""

from __future__ import annotations

import pytest

from olmstate.messages import SchemaTooNew, StorePoisoned
from olmstate.storage import Fenced, Table
from tests.storage.handles import (
    PARTITION,
    Handles,
    commit,
    device,
    put,
    values,
)


async def test_a_commit_from_an_older_generation_writes_nothing(stores: Handles) -> None:
    store, other = await stores.open(), await stores.open()
    await put(other, device(1, b"theirs"))

    with pytest.raises(Fenced):
        await commit(store, {Table.DEVICES: [device(1, b"ours"), device(2)]}, seen=0)

    assert [b"theirs"] == await values(store)
    assert 1 == store.info().generation
    assert 2 == await put(store, device(1, b"ours"))


async def test_a_commit_from_a_generation_that_never_was_writes_nothing(stores: Handles) -> None:
    store = await stores.open()

    with pytest.raises(Fenced):
        await commit(store, {Table.DEVICES: [device(1)]}, seen=1)

    assert [] == await values(store)


async def test_a_commit_into_another_store_under_the_same_name_writes_nothing(stores: Handles) -> None:
    store = await stores.open()
    stores.edit("UPDATE meta SET store_id = x'00'")

    with pytest.raises(Fenced):
        await commit(store, {Table.DEVICES: [device(1)]}, seen=0)

    with pytest.raises(StorePoisoned, match="another store"):
        store.changes(0)
    with pytest.raises(StorePoisoned, match="another store"):
        await store.read(Table.DEVICES, [PARTITION])


async def test_a_commit_under_a_later_schema_writes_nothing(stores: Handles) -> None:
    store = await stores.open()
    assert store.changes(0).generation == 0
    stores.edit("UPDATE meta SET schema = 99, generation = 1")

    with pytest.raises(Fenced):
        await commit(store, {Table.DEVICES: [device(1)]}, seen=1)

    assert store.changed()
    with pytest.raises(SchemaTooNew):
        store.changes(0)
    with pytest.raises(SchemaTooNew):
        await store.change_secret(bytes(32))
    assert store.changed()


async def test_without_the_lock_a_commit_is_refused_and_the_handle_goes_on(stores: Handles) -> None:
    store = await stores.open()

    with pytest.raises(StorePoisoned, match="without the lock"):
        await store.commit({Table.DEVICES: [device(1)]}, 0)

    assert [] == await values(store)
    assert 1 == await put(store, device(1))


async def test_a_commit_of_nothing_still_moves_the_generation(stores: Handles) -> None:
    store = await stores.open()

    assert 1 == await commit(store, {})

    assert ({}, 1) == (store.changes(0).partitions, store.changes(0).generation)
