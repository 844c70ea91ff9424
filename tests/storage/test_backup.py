"""Backups: made while others write, whole or not at all, and never the same device twice."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from olmstate.messages import SchemaTooNew, StoreBusy, StoreCorrupt, StorePoisoned, StoreUnavailable, WrongKey
from olmstate.storage import SqliteStore, Table, Turnstile, backup, open_store
from olmstate.storage.lock.line import PLACES
from olmstate.storage.sqlite.backup import _check_step as check_step  # pyright: ignore[reportPrivateUsage]
from olmstate.storage.sqlite.folder import create_file
from olmstate.storage.tables import NOT_IN_BACKUPS
from tests.storage.handles import ALICE, DEVICE, KEY, PARTITION, Handles, device, put, session, values
from tests.storage.processes import peer


@pytest.fixture
def target(tmp_path: Path) -> Handles:
    return Handles(tmp_path / "above" / "backup")


async def test_a_backup_opens_with_the_same_key_and_holds_what_was_committed(stores: Handles, target: Handles) -> None:
    store = await stores.open()
    await put(store, *(device(number) for number in range(100)))
    await put(store, session(1), table=Table.ACCOUNT)

    await backup(store, target.folder)

    restored = await target.open(KEY)
    assert [b"value"] * 100 == await values(restored)
    assert [b"value"] == await values(restored, Table.ACCOUNT, session(1).key)
    assert store.pickle_key == restored.pickle_key
    assert (ALICE, DEVICE) == (restored.info().user_id, restored.info().device_id)
    await target.aclose()
    with pytest.raises(WrongKey):
        await target.open(bytes(32))


async def test_a_backup_is_another_store_that_knows_what_came_from_the_first(stores: Handles, target: Handles) -> None:
    store = await stores.open()
    for number in range(3):
        await put(store, device(number))

    await backup(store, target.folder)

    restored = await target.open()
    assert store.info().store_id != restored.info().store_id
    assert (0, 3) == (store.restored_generation, restored.restored_generation)
    assert 3 == restored.info().restored_generation
    assert 4 == await put(restored, device(9))
    (old, new) = (row.generation for row in (await restored.read(Table.DEVICES, [PARTITION]))[PARTITION][2:])
    assert old <= restored.restored_generation < new
    await target.aclose()


async def test_no_outbound_session_is_restored_to_be_used_twice(stores: Handles, target: Handles) -> None:
    store = await stores.open()
    for table in Table:
        await put(store, session(1, b""), table=table)

    await backup(store, target.folder)

    lost = {table for table, rows in (await target.open()).counts().items() if not rows}
    assert set(NOT_IN_BACKUPS) == lost
    assert {Table.OUTBOUND_GROUP_SESSIONS, Table.ROOM_KEY_RECIPIENTS, Table.REQUESTS, Table.VERIFICATIONS} < lost
    assert {1} == set(store.counts().values())
    await target.aclose()


async def test_a_store_that_a_later_version_has_migrated_is_not_backed_up(stores: Handles, target: Handles) -> None:
    # it was, with what is in tables of the later version that belong into no backup
    store = await stores.open()
    stores.edit("UPDATE meta SET schema = schema + 1, generation = generation + 1")

    with pytest.raises(SchemaTooNew):
        await backup(store, target.folder)

    assert not target.database.exists()


async def test_a_backup_is_one_file_for_its_owner_alone(stores: Handles, target: Handles) -> None:
    store, before = await stores.open(), os.umask(0)
    try:
        await backup(store, target.folder)
    finally:
        os.umask(before)

    assert {"olmstate.sqlite", "lock", *PLACES} == {path.name for path in target.folder.iterdir()}
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in target.folder.iterdir()}
    assert 0o700 == stat.S_IMODE(target.folder.stat().st_mode)
    with closing(sqlite3.connect(target.database)) as connection:
        assert ("ok",) == connection.execute("PRAGMA integrity_check").fetchone()


@pytest.mark.usefixtures("cheap_argon2")
async def test_a_backup_has_the_passphrase_of_its_time(stores: Handles, target: Handles) -> None:
    store = await stores.open("old")
    await backup(store, target.folder)
    await store.change_secret("new")

    restored = await target.open("old")

    await restored.change_secret("another")
    assert "passphrase" == (await stores.open("new")).info().sealed
    await target.aclose()


async def test_a_backup_of_a_backup_counts_all_as_restored(stores: Handles, target: Handles, tmp_path: Path) -> None:
    store = await stores.open()
    await put(store, device(1))
    await backup(store, target.folder)
    first = await target.open()
    await put(first, device(2))

    await backup(first, tmp_path / "second")

    second = await open_store(tmp_path / "second", key=KEY)
    assert 2 == second.restored_generation
    assert 3 == len({handle.info().store_id for handle in (store, first, second)})
    await second.aclose()
    await target.aclose()


async def test_others_write_while_a_backup_is_made_and_it_is_one_moment_of_theirs(
    stores: Handles, target: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one snapshot for all of it, every commit made SQLite begin anew."""
    store = await stores.open()
    await put(store, *(device(number, os.urandom(4_000)) for number in range(500)))
    steps = 0

    async def write(number: int) -> None:
        await put(store, device(number, b"later"), device(number + 100, b"later"))

    def step(*_: int) -> None:
        nonlocal steps
        steps += 1
        assert steps < 1_000, "the backup begins anew and anew"
        trio.from_thread.run(write, steps % 100)

    monkeypatch.setattr("olmstate.storage.sqlite.backup.PAGES_A_STEP", 50)
    monkeypatch.setattr("olmstate.storage.sqlite.backup._check_step", step)
    await backup(store, target.folder)

    assert steps > 5
    restored = await target.open()
    assert 1 == restored.info().generation
    assert b"later" not in await values(restored)
    assert b"later" in await values(store)
    await target.aclose()


def test_another_process_writes_as_fast_as_it_can_and_the_backup_comes_to_its_end(tmp_path: Path) -> None:
    with peer(tmp_path / "store") as writer, peer(tmp_path / "store") as other:
        assert writer.ask("open") == "opened"
        assert writer.ask("put-large 7 3000000") == "1"
        assert other.ask("open") == "opened"
        writer.tell("put-for-ever")
        writer.answer()

        assert other.ask(f"backup {tmp_path / 'backup'}") == "written"

        writer.kill()
    with peer(tmp_path / "backup") as restored:
        assert restored.ask("open") == "opened"
        assert restored.ask("count") == "2"


# --- what it refuses --------------------------------------------------------------------------------------


async def test_a_store_that_is_there_already_is_left_alone(stores: Handles, target: Handles) -> None:
    store = await stores.open()
    await put(await target.open(), device(7, b"precious"))
    await target.aclose()

    for folder in (target.folder, stores.folder):
        with pytest.raises(StoreUnavailable, match="already"):
            await backup(store, folder)

    assert [b"precious"] == await values(await target.open())
    await target.aclose()


async def test_a_folder_whose_store_was_lost_is_left_alone(stores: Handles, target: Handles) -> None:
    store = await stores.open()
    target.folder.mkdir(parents=True)
    (target.folder / "olmstate.sqlite-wal").write_text("what was written last")

    with pytest.raises(StoreCorrupt, match="gone"):
        await backup(store, target.folder)


async def test_a_folder_that_is_none_is_unavailable(stores: Handles, tmp_path: Path) -> None:
    store = await stores.open()
    (tmp_path / "file").touch()

    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreUnavailable):
            await backup(store, folder)


async def test_a_folder_that_another_uses_is_busy(stores: Handles, target: Handles, autojump_clock: MockClock) -> None:
    store = await stores.open()
    target.folder.mkdir(parents=True)
    with closing(Turnstile(target.folder)) as other:
        other.acquire_nowait()
        with pytest.raises(StoreBusy):
            await backup(store, target.folder, lock_timeout=1)


async def test_of_two_backups_into_one_folder_one_is_refused(stores: Handles, target: Handles) -> None:
    store, outcomes = await stores.open(), list[str]()
    await put(store, device(1, os.urandom(5_000_000)))

    async def make() -> None:
        try:
            await backup(store, target.folder, lock_timeout=60)
            outcomes.append("written")
        except StoreUnavailable:
            outcomes.append("refused")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        nursery.start_soon(make)

    assert ["refused", "written"] == sorted(outcomes)
    assert 1 == len(await values(await target.open()))
    await target.aclose()


async def test_a_store_that_is_made_there_meanwhile_is_not_replaced(
    stores: Handles, target: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await stores.open()

    def make_another(*_: int) -> None:
        target.database.write_text("somebody else's")

    monkeypatch.setattr("olmstate.storage.sqlite.backup._check_step", make_another)
    with pytest.raises(StoreUnavailable, match="already"):
        await backup(store, target.folder)

    assert "somebody else's" == target.database.read_text()
    assert {"olmstate.sqlite", "lock", *PLACES} == {path.name for path in target.folder.iterdir()}


async def test_a_file_that_can_not_be_locked_is_not_tried_for_ever(
    stores: Handles, target: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await stores.open()
    monkeypatch.setattr("olmstate.storage.sqlite.connection.BUSY_SECONDS", 0.01)

    with closing(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)) as other:

        def create_and_read(path: Path) -> None:
            create_file(path)
            other.execute("ATTACH ? AS copy", [os.fspath(path)])
            other.execute("BEGIN")
            other.execute("SELECT * FROM copy.sqlite_schema").fetchall()

        monkeypatch.setattr("olmstate.storage.sqlite.backup.create_file", create_and_read)
        with trio.fail_after(60), pytest.raises(StoreBusy):
            await backup(store, target.folder)

    assert {"lock", *PLACES} == {path.name for path in target.folder.iterdir()}


async def test_a_handle_in_doubt_makes_no_backup(stores: Handles, target: Handles) -> None:
    store: SqliteStore = await stores.open()
    await store.aclose()

    with pytest.raises(StorePoisoned, match="closed"):
        await backup(store, target.folder)

    assert not target.folder.exists()


# --- what it leaves ---------------------------------------------------------------------------------------


async def test_a_cancelled_backup_stops_half_way_and_leaves_nothing(
    stores: Handles, target: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, steps = await stores.open(), 0
    await put(store, device(1, os.urandom(5_000_000)))

    with trio.CancelScope() as scope:

        def cancel(*arguments: int) -> None:
            nonlocal steps
            steps += 1
            trio.from_thread.run_sync(scope.cancel)
            check_step(*arguments)

        monkeypatch.setattr("olmstate.storage.sqlite.backup._check_step", cancel)
        await backup(store, target.folder)

    assert scope.cancelled_caught
    assert 1 == steps
    assert {"lock", *PLACES} == {path.name for path in target.folder.iterdir()}


async def test_what_a_killed_backup_left_is_cleared_away(stores: Handles, target: Handles) -> None:
    store = await stores.open()
    target.folder.mkdir(parents=True)
    for suffix in ("", "-wal", "-shm", "-journal"):
        (target.folder / f"olmstate.sqlite.partial{suffix}").write_text("half")
    with pytest.raises(StoreUnavailable, match="no store"):
        await open_store(target.folder, key=KEY)

    await backup(store, target.folder)

    assert {"olmstate.sqlite", "lock", *PLACES} == {path.name for path in target.folder.iterdir()}


async def test_a_damaged_store_gives_no_backup(stores: Handles, target: Handles) -> None:
    store = await stores.open()
    stores.edit("DROP TABLE outbound_group_sessions")

    with pytest.raises(StoreCorrupt):
        await backup(store, target.folder)

    assert {"lock", *PLACES} == {path.name for path in target.folder.iterdir()}
