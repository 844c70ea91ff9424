"""The schema: what a new store has, how an older one becomes it, and which databases are left alone."""
# ruff: noqa: S608 - our own names

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from olmstate.messages import SchemaTooNew, StoreCorrupt
from olmstate.storage import Table
from olmstate.storage.sqlite import schema
from olmstate.storage.sqlite.schema import APPLICATION_ID, create, migrate, newest, version
from olmstate.storage.sqlite.statements import PAGE
from olmstate.storage.tables import PARTITIONED, SETS
from tests.storage.handles import PARTITION, Handles, device, put, session, values, version_1


def fill(db: Database) -> None:
    db.conn.execute("INSERT INTO meta VALUES (1, 2, x'00', '@alice:example.org', 'ALICE', 0, '', 0, 0)")


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database(sqlite3.connect(":memory:", isolation_level=None), execute_plugins=False)
    create(database, fill)
    yield database
    database.close()


def next_one(db: Database) -> None:
    db.conn.execute("ALTER TABLE meta ADD COLUMN later INTEGER NOT NULL DEFAULT 7")


def later(db: Database) -> None:
    db.conn.execute("CREATE TABLE latest (key BLOB PRIMARY KEY) STRICT")


def fails(db: Database) -> None:
    db.conn.execute("CREATE TABLE half (key BLOB PRIMARY KEY) STRICT")
    db.conn.execute("no SQL")


def test_each_type_has_its_table_and_only_our_types_of_columns(db: Database) -> None:
    assert {*Table, "meta", "wrapping"} == set(db.table_names())
    assert all(db.table(name).strict for name in db.table_names())
    for table in Table:
        columns = ["key", *(["partition"] if table in PARTITIONED else []), "value", "generation"]
        assert (["key"] if table in SETS else columns) == list(db.table(table).columns_dict)
    assert (2, APPLICATION_ID) == (version(db), db.conn.execute("PRAGMA application_id").fetchone()[0])


@pytest.mark.parametrize("table", [table for table in Table if table not in SETS])
def test_neither_changes_nor_marks_nor_partitions_are_looked_for_row_by_row(db: Database, table: Table) -> None:
    def plan(query: str) -> str:
        return " ".join(row[3] for row in db.conn.execute(f"EXPLAIN QUERY PLAN {query}"))

    lookups = [
        f"SELECT key FROM {table} WHERE generation > 5",
        f"DELETE FROM {table} WHERE value IS NULL AND generation <= 5",
        f"SELECT value FROM {table} WHERE {'partition' if table in PARTITIONED else 'key'} IN (x'00', x'01')",
        PAGE[table].replace("?1", "x'00'").replace("?2", "x'00'").replace("?3", "10"),
    ]
    for lookup in lookups:
        assert plan(lookup).startswith("SEARCH"), lookup
        assert "TEMP B-TREE" not in plan(lookup)


def test_only_due_migrations_run_and_the_generation_tells_other_handles(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(db)
    assert (2, 0) == db.conn.execute("SELECT schema, generation FROM meta").fetchone()

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, next_one))
    migrate(db)
    assert (3, 1, 7) == db.conn.execute("SELECT schema, generation, later FROM meta").fetchone()

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, later))
    migrate(db)
    migrate(db)
    assert (4, 2, 7) == db.conn.execute("SELECT schema, generation, later FROM meta").fetchone()
    assert 4 == version(db) == newest()


def test_a_migration_that_fails_leaves_the_older_schema_whole(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, next_one, fails))

    with pytest.raises(sqlite3.OperationalError):
        migrate(db)

    assert 2 == version(db)
    assert "half" not in db.table_names()
    assert "later" not in db.table("meta").columns_dict


def test_a_new_store_that_can_not_be_filled_is_none() -> None:
    db = Database(sqlite3.connect(":memory:", isolation_level=None), execute_plugins=False)

    with pytest.raises(sqlite3.OperationalError):
        create(db, fails)

    assert [] == db.table_names()
    db.close()


@pytest.mark.parametrize("statement", ["PRAGMA application_id = 0", "PRAGMA application_id = 1", "DELETE FROM meta"])
def test_a_database_that_is_not_ours_any_more_is_corrupt(db: Database, statement: str) -> None:
    db.conn.execute(statement)

    with pytest.raises(StoreCorrupt):
        version(db)
    with pytest.raises(StoreCorrupt):
        migrate(db)


def test_a_later_schema_is_refused(db: Database) -> None:
    db.conn.execute("UPDATE meta SET schema = 3")

    with pytest.raises(SchemaTooNew):
        version(db)
    with pytest.raises(SchemaTooNew):
        migrate(db)


async def test_a_store_of_version_1_is_read_and_written_on_after_its_migration(stores: Handles, tmp_path: Path) -> None:
    with version_1():
        older = await stores.open()
        assert 1 == older.info().schema
        await put(older, device(1, b"first"), device(2, b"second"), device(3, b"elsewhere", partition=b"elsewhere"))
        await put(older, device(2, None))
        await put(older, session(1), table=Table.INBOUND_GROUP_SESSIONS)
        await stores.aclose()

    store = await stores.open()

    assert 2 == store.info().schema
    assert [b"first"] == await values(store)
    assert [b"elsewhere"] == await values(store, partition=b"elsewhere")
    assert [b"value"] == await values(store, Table.INBOUND_GROUP_SESSIONS, session(1).partition)
    # the mark of the deleted one, too
    assert {Table.DEVICES: frozenset({PARTITION}), Table.INBOUND_GROUP_SESSIONS: frozenset({session(1).partition})} == (
        store.changes(1).partitions
    )
    await put(store, device(1, b"changed"), device(2, b"back"))
    assert [b"changed", b"back"] == await values(store)
    with contextlib.closing(sqlite3.connect(stores.database)) as db:
        assert ("ok",) == db.execute("PRAGMA integrity_check").fetchone()
        migrated = set(db.execute("SELECT name, sql FROM sqlite_master"))
    fresh = Handles(tmp_path)
    await fresh.open()
    with contextlib.closing(sqlite3.connect(fresh.database)) as db:
        assert migrated == set(db.execute("SELECT name, sql FROM sqlite_master"))
    await fresh.aclose()


async def test_opening_migrates_and_handles_of_the_older_version_stop(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await stores.open()
    await put(older, device(1))
    older.changes(0)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, next_one))

    newer = await stores.open()

    assert 3 == newer.info().schema
    assert [b"value"] == await values(newer)
    assert older.changed()
    with pytest.raises(SchemaTooNew) as refused:
        older.changes(1)
    assert (3, 2) == (refused.value.found, refused.value.supported)
    assert 3 == await put(newer, device(2))


async def test_a_migration_that_fails_is_an_error_of_the_store(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(await stores.open(), device(1))
    await stores.aclose()
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, fails))
        with pytest.raises(StoreCorrupt):
            await stores.open()

    store = await stores.open()
    assert [b"value"] == await values(store)
    assert 2 == store.info().schema
