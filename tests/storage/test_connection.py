"""How the store talks to SQLite: what is in force on its connections, and who checkpoints."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlite_utils.utils
import trio

from olmstate.messages import StoreUnavailable
from olmstate.storage import SqliteStore
from olmstate.storage.sqlite import connection
from olmstate.storage.sqlite.connection import connect, require_writable, use_wal
from olmstate.storage.sqlite.folder import create_file
from olmstate.storage.sqlite.sqlite3 import sqlite3 as sqlite3_of_the_store
from tests.storage.handles import KEY, Handles, device, put, values

FULL, MEMORY = 2, 2


def writer(store: SqliteStore) -> sqlite3.Connection:
    return store._writer  # pyright: ignore[reportPrivateUsage]


def reader(store: SqliteStore) -> sqlite3.Connection:
    return store._reader  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("of", "pragma", "expected"),
    [
        (writer, "journal_mode", "wal"),
        (writer, "synchronous", FULL),
        (writer, "fullfsync", 1),
        (writer, "secure_delete", 1),
        (writer, "wal_autocheckpoint", 0),
        (writer, "journal_size_limit", 4 * 1024 * 1024),
        (writer, "trusted_schema", 0),
        (writer, "temp_store", MEMORY),
        (writer, "busy_timeout", 0),
        (reader, "journal_mode", "wal"),
        (reader, "trusted_schema", 0),
        (reader, "temp_store", MEMORY),
        (reader, "busy_timeout", 1_000),
    ],
)
async def test_what_is_asked_of_sqlite_is_in_force(
    stores: Handles, of: Callable[[SqliteStore], sqlite3.Connection], pragma: str, expected: object
) -> None:
    connection = of(await stores.open())

    assert (expected,) == connection.execute(f"PRAGMA {pragma}").fetchone()
    assert connection.isolation_level is None


async def test_the_reader_can_not_write(stores: Handles) -> None:
    store = await stores.open()

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader(store).execute("UPDATE meta SET generation = 7")


async def test_what_was_deleted_or_replaced_is_gone_from_the_file(stores: Handles) -> None:
    old, older = b"an old pickle of " * 100, b"an older pickle of " * 100
    store = await stores.open(None)  # not sealed, to find it
    await put(store, device(1, older), device(2, older))
    await put(store, device(1, old))
    await put(store, device(1, b"new"), device(2, None))
    await stores.aclose()

    content = stores.database.read_bytes()

    assert b"new" in content
    assert b"an old" not in content


async def test_a_checkpoint_in_the_last_closing_connection_is_none_of_sqlite_s_business(stores: Handles) -> None:
    """SQLite would make one without our lock."""
    store = await stores.open()
    await put(store, device(1))
    wal = stores.folder / "olmstate.sqlite-wal"
    before = wal.stat().st_size, stores.database.stat().st_mtime_ns

    writer(store).close()
    reader(store).close()

    assert before == (wal.stat().st_size, stores.database.stat().st_mtime_ns)
    assert [b"value"] == await values(await stores.open())


def test_a_log_that_one_large_transaction_made_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_file(tmp_path / "database")
    database = connect(tmp_path / "database", write=True)
    use_wal(database)
    database.execute("CREATE TABLE t (x)")
    database.execute("INSERT INTO t VALUES (zeroblob(9000000))")
    assert (tmp_path / "database-wal").stat().st_size > 9_000_000

    database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    database.execute("INSERT INTO t VALUES (1)")

    assert connection.WAL_BYTES == (tmp_path / "database-wal").stat().st_size
    database.close()


def test_a_database_that_can_have_no_log_is_unavailable() -> None:
    database = sqlite3.connect(
        ":memory:"
    )  # as where no memory can be shared, SQLite answers with the mode that it keeps

    with pytest.raises(StoreUnavailable, match="journal mode memory"):
        use_wal(database)

    database.close()


def test_sqlite_is_the_one_that_sqlite_utils_uses() -> None:
    # two copies of it in one process would cancel each other's locks
    assert sqlite3_of_the_store is vars(sqlite_utils.utils)["sqlite3"]


async def test_who_opens_a_store_that_is_there_imports_no_sqlite_utils(stores: Handles) -> None:
    await (await stores.open()).aclose()
    program = (
        "import sys, pathlib, trio\n"
        "from olmstate.storage import open_store\n"
        f"store = trio.run(lambda: open_store(pathlib.Path({str(stores.folder)!r}), key={KEY!r}))\n"
        "print(store.info().generation, 'sqlite_utils' in sys.modules)\n"
    )

    printed = await trio.run_process([sys.executable, "-c", program], capture_stdout=True)

    assert b"0 False" == printed.stdout.strip()


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    for write in (True, False):
        with pytest.raises(StoreUnavailable, match="missing"):
            connect(tmp_path / "missing", write=write)

    assert [] == list(tmp_path.iterdir())


def test_a_connection_that_can_only_read_is_found_before_it_is_used(tmp_path: Path) -> None:
    # SQLite opens a file for reading if it can't be written to just then, and the handle stayed so for life
    path = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE meta (id INTEGER)")
        require_writable(made)
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reading,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        require_writable(reading)
