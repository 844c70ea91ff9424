"""Files of a store that somebody removes or replaces while it is open."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from olmstate.messages import StoreCorrupt, StorePoisoned, StoreUnavailable
from olmstate.storage import Table
from tests.storage.handles import (
    Handles,
    device,
    put,
    values,
)
from tests.storage.processes import peer


def unlink(handles: Handles, name: str) -> None:
    (handles.folder / name).unlink()


def replace(handles: Handles, name: str) -> None:
    other = handles.folder / "other"
    other.touch(0o600)
    other.replace(handles.folder / name)


@pytest.mark.parametrize("name", ["olmstate.sqlite", "olmstate.sqlite-wal", "olmstate.sqlite-shm", "lock"])
@pytest.mark.parametrize("lose", [unlink, replace])
async def test_a_file_that_was_lost_or_replaced_poisons_the_next_commit(
    stores: Handles, lose: Callable[[Handles, str], None], name: str
) -> None:
    store = await stores.open()
    await put(store, device(1))
    await store.lock.acquire(5)
    lose(stores, name)

    with pytest.raises(StorePoisoned):
        await store.commit({Table.DEVICES: [device(2)]}, 1)
    with pytest.raises(StorePoisoned):
        await store.commit({Table.DEVICES: [device(2)]}, 1)
    with pytest.raises(StorePoisoned):
        store.changed()


async def test_a_log_that_is_lost_during_a_commit_makes_its_outcome_unknown(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))
    store._writer.set_trace_callback(  # pyright: ignore[reportPrivateUsage]
        lambda text: unlink(stores, "olmstate.sqlite-wal") if text == "COMMIT" else None
    )

    with pytest.raises(StorePoisoned):
        await put(store, device(2))

    await store.aclose()
    assert len(await values(await stores.open())) <= 2


async def test_when_the_folder_is_removed_nothing_is_written(stores: Handles) -> None:
    store = await stores.open()
    await store.lock.acquire(5)
    for path in stores.folder.iterdir():
        path.unlink()
    stores.folder.rmdir()

    with pytest.raises(StorePoisoned):
        await store.commit({Table.DEVICES: [device(1)]}, 0)

    await store.aclose()
    assert not stores.folder.exists()
    assert [] == await values(await stores.open())


async def test_a_store_is_not_opened_anew_while_another_handle_of_the_process_keeps_shared_memory_that_was_removed(
    stores: Handles,
) -> None:
    store, other = await stores.open(), await stores.open()
    await put(store, device(1, b"before"))
    unlink(stores, "olmstate.sqlite-shm")
    with peer(stores.folder) as process:
        assert process.ask("open") == "opened"
        assert process.ask("put 1 theirs") == "2"

        with pytest.raises(StorePoisoned):
            await put(store, device(1, b"ours"))
        await store.aclose()
        with pytest.raises(StoreUnavailable, match="another handle of this process"):
            await stores.open()
        await other.aclose()

        assert [b"theirs"] == await values(await stores.open())
        assert process.ask("put 1 again") == "3"


async def test_a_database_that_was_lost_is_not_begun_anew_while_its_log_is_there(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))
    stores.database.unlink()

    with pytest.raises(StoreCorrupt, match="is gone"):
        await stores.open()
    await store.aclose()
    with pytest.raises(StoreCorrupt, match="is gone"):
        await stores.open()


async def test_a_database_that_was_removed_is_begun_anew_apart_from_who_has_the_old_one_open(stores: Handles) -> None:
    await stores.open()
    await stores.aclose()
    store = await stores.open()
    store.changes(0)
    stores.database.unlink()

    fresh = await stores.open()

    await put(fresh, device(1, b"fresh"))
    assert fresh.info().store_id != store.info().store_id
    with pytest.raises(StorePoisoned, match="replaced"):
        await put(store, device(1, b"old"))
    await store.aclose()
    assert [b"fresh"] == await values(fresh)
    assert 2 == await put(fresh, device(2))
