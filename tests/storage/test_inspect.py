"""Looking at a store without its key: what is shown, and that nothing is changed by it."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import closing
from pathlib import Path

import pytest

from olmstate.messages import DeviceId, SchemaTooNew, StoreCorrupt, StoreUnavailable, UserId
from olmstate.storage import Row, SqliteStore, Table, Turnstile, inspect_store, open_store
from olmstate.storage.sqlite.connection import connect
from olmstate.storage.sqlite.folder import DATABASE

KEY = bytes(range(32))
ALICE, PHONE = UserId("@alice:example.org"), DeviceId("PHONE")


async def made(folder: Path, key: bytes | str | None = KEY) -> SqliteStore:
    return await open_store(folder, user_id=ALICE, device_id=PHONE, key=key)


async def write(store: SqliteStore, table: Table, *names: str) -> None:
    rows = [Row(key := store.key(table, name), key, b"value") for name in names]
    await store.lock.acquire(0)
    await store.commit({table: rows}, store.info().generation)
    store.lock.release()


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


async def test_it_shows_what_the_store_says_of_itself(tmp_path: Path) -> None:
    store = await made(tmp_path)
    await write(store, Table.DEVICES, "one", "two")
    await write(store, Table.WITHHELD_ROOM_KEYS, "three")
    info, counts = store.info(), store.counts()
    await store.aclose()

    inspection = inspect_store(tmp_path)

    assert inspection.info == info
    assert inspection.rows == counts
    assert {Table.DEVICES: 2, Table.WITHHELD_ROOM_KEYS: 1} == {
        table: number for table, number in counts.items() if number
    }
    assert inspection.file_bytes[DATABASE] == (tmp_path / DATABASE).stat().st_size
    assert inspection.lock_holder is None


@pytest.mark.parametrize(("key", "sealed"), [(None, "none"), (KEY, "key"), ("secret", "passphrase")])
async def test_it_says_how_the_store_is_sealed_and_wants_no_key(
    tmp_path: Path, key: bytes | str | None, sealed: str
) -> None:
    await (await made(tmp_path, key)).aclose()

    assert inspect_store(tmp_path).info.sealed == sealed


async def test_what_is_stored_is_as_it_was(tmp_path: Path) -> None:
    store = await made(tmp_path)
    await write(store, Table.DEVICES, "one")
    await store.aclose()
    before = contents(tmp_path)

    inspect_store(tmp_path)

    after = contents(tmp_path)
    assert before.keys() == after.keys()
    assert before[DATABASE] == after[DATABASE]
    assert before[f"{DATABASE}-wal"] == after[f"{DATABASE}-wal"]


async def test_a_held_lock_is_no_obstacle_and_its_holder_is_named(tmp_path: Path) -> None:
    store = await made(tmp_path)
    await write(store, Table.DEVICES, "one")
    await store.lock.acquire(0)

    inspection = inspect_store(tmp_path)

    assert os.getpid() == inspection.lock_holder
    assert inspection.rows[Table.DEVICES] == 1
    assert store.lock.held
    store.lock.release()
    await write(store, Table.DEVICES, "two")
    await store.aclose()


async def test_what_others_commit_is_seen_while_they_have_the_store_open(tmp_path: Path) -> None:
    store = await made(tmp_path)
    await write(store, Table.DEVICES, "one")
    assert inspect_store(tmp_path).info.generation == 1
    await write(store, Table.DEVICES, "two")
    inspection = inspect_store(tmp_path)
    await store.aclose()

    assert inspection.info.generation == 2
    assert inspection.rows[Table.DEVICES] == 2


async def test_the_lock_is_free_afterwards(tmp_path: Path) -> None:
    await (await made(tmp_path)).aclose()

    inspect_store(tmp_path)

    with closing(Turnstile(tmp_path)) as lock:
        assert lock.acquire_nowait()


def test_a_folder_without_a_store_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no store"):
        inspect_store(tmp_path)
    assert [] == list(tmp_path.iterdir())


async def test_a_folder_that_is_closed_to_us_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await made(tmp_path)).aclose()
    stat = os.stat

    def refuse(path: object, **keywords: bool) -> os.stat_result:
        if str(path).endswith(DATABASE):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, **keywords)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", refuse)
        with pytest.raises(StoreUnavailable):
            inspect_store(tmp_path)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()
    with closing(connect(tmp_path / DATABASE, write=True)) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")

    with pytest.raises(StoreCorrupt, match="not olmstate's"):
        inspect_store(tmp_path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database at all" * 100)

    with pytest.raises(StoreCorrupt):
        inspect_store(tmp_path)


async def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    await (await made(tmp_path)).aclose()
    with closing(connect(tmp_path / DATABASE, write=True)) as connection:
        connection.execute("UPDATE meta SET schema = 99")

    with pytest.raises(SchemaTooNew) as raised:
        inspect_store(tmp_path)
    assert raised.value.found == 99


async def test_a_store_that_lost_how_its_key_is_wrapped_is_corrupt(tmp_path: Path) -> None:
    await (await made(tmp_path)).aclose()
    with closing(connect(tmp_path / DATABASE, write=True)) as connection:
        connection.execute("DELETE FROM wrapping")

    with pytest.raises(StoreCorrupt):
        inspect_store(tmp_path)
