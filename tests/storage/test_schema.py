"""The schema: what a new store has, how an older one becomes it, and which databases are left alone."""
# ruff: noqa: S608 - our own names

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlite_utils import Database

from olmstate.messages import SchemaTooNew, StoreCorrupt, StoreUnavailable
from olmstate.storage import Table
from olmstate.storage.sqlite import migrations
from olmstate.storage.sqlite.migrations import (
    MIGRATIONS,
    make_keys_only_table,
    make_partitioned_table,
    make_table,
)
from olmstate.storage.sqlite.schema import APPLICATION_ID, create, migrate, newest, version
from olmstate.storage.sqlite.statements import page_of
from olmstate.storage.tables import GROUPED, KEYS_ONLY, PARTITIONED
from tests.storage.handles import Handles, device, put, values
from tests.storage.record_migrations import effects, recorded


def fill(db: Database) -> None:
    meta = {"id": 1, "schema": newest(), "store_id": b"0", "user_id": "@alice:example.org", "device_id": "ALICE"}
    db.table("meta").insert({**meta, "generation": 0, "writer": "", "floor": 0, "restored_generation": 0})


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database(sqlite3.connect(":memory:", isolation_level=None), execute_plugins=False)
    create(database.conn, fill)
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
        columns += ["grouped"] if table in GROUPED else []
        assert (["key"] if table in KEYS_ONLY else columns) == list(db.table(table).columns_dict)
    assert (newest(), APPLICATION_ID) == (version(db.conn), db.conn.execute("PRAGMA application_id").fetchone()[0])


@pytest.mark.parametrize("table", [table for table in Table if table not in KEYS_ONLY])
def test_neither_changes_nor_marks_nor_partitions_are_looked_for_row_by_row(db: Database, table: Table) -> None:
    def plan(query: str) -> str:
        parameters = dict.fromkeys(("partition", "key", "group"), b"") | {"limit": 1}
        return " ".join(row[3] for row in db.conn.execute(f"EXPLAIN QUERY PLAN {query}", parameters))

    lookups = [
        f"SELECT key FROM {table} WHERE generation > 5",
        f"DELETE FROM {table} WHERE value IS NULL AND generation <= 5",
        f"SELECT value FROM {table} WHERE {'partition' if table in PARTITIONED else 'key'} IN (x'00', x'01')",
        *(page_of(table, group) for group in ([None, b"", b"a"] if table in GROUPED else [None])),
    ]
    for lookup in lookups:
        assert plan(lookup).startswith("SEARCH"), lookup
        assert "TEMP B-TREE" not in plan(lookup)


def test_a_migration_does_what_it_did_when_it_was_recorded() -> None:
    # a migration that was changed makes stores of one version differ: write another instead. What a new one does is
    # recorded by `python -m tests.storage.record_migrations`
    assert effects() == {migration.__name__: recorded(migration.__name__) for migration in MIGRATIONS}


def test_a_table_that_a_migration_makes_looks_as_tables_do(db: Database) -> None:
    make_table(db, "one")
    make_partitioned_table(db, "several")
    make_keys_only_table(db, "keys")

    def sql(name: str) -> set[str]:
        """The SQL of a table and its indexes, without the table's name."""
        found = db.conn.execute(
            "SELECT replace(sql, :name, '_') FROM sqlite_master WHERE tbl_name = :name", {"name": name}
        )
        return {text for (text,) in found}

    assert sql("account") == sql("one")
    assert sql("devices") == sql("several")
    assert sql("olm_messages") == sql("keys")


def test_only_due_migrations_run_and_the_generation_tells_other_handles(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = newest()
    migrate(db.conn)
    assert (present, 0) == db.conn.execute("SELECT schema, generation FROM meta").fetchone()

    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, next_one))
    migrate(db.conn)
    assert (present + 1, 1, 7) == db.conn.execute("SELECT schema, generation, later FROM meta").fetchone()

    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, later))
    migrate(db.conn)
    migrate(db.conn)
    assert (present + 2, 2, 7) == db.conn.execute("SELECT schema, generation, later FROM meta").fetchone()
    assert present + 2 == version(db.conn) == newest()


def test_a_migration_that_fails_leaves_the_older_schema_whole(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    present = newest()
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, next_one, fails))

    with pytest.raises(sqlite3.OperationalError):
        migrate(db.conn)

    assert present == version(db.conn)
    assert "half" not in db.table_names()
    assert "later" not in db.table("meta").columns_dict


def test_a_new_store_that_can_not_be_filled_is_none() -> None:
    db = Database(sqlite3.connect(":memory:", isolation_level=None), execute_plugins=False)

    with pytest.raises(sqlite3.OperationalError):
        create(db.conn, fails)

    assert [] == db.table_names()
    db.close()


def test_where_sqlite_utils_cannot_be_imported_just_then_no_store_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite_utils", None)

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection, pytest.raises(StoreUnavailable):
        create(connection, fill)


@pytest.mark.parametrize("statement", ["PRAGMA application_id = 0", "PRAGMA application_id = 1", "DELETE FROM meta"])
def test_a_database_that_is_not_ours_any_more_is_corrupt(db: Database, statement: str) -> None:
    db.conn.execute(statement)

    with pytest.raises(StoreCorrupt):
        version(db.conn)
    with pytest.raises(StoreCorrupt):
        migrate(db.conn)


def test_a_later_schema_is_refused(db: Database) -> None:
    db.conn.execute("UPDATE meta SET schema = schema + 1")

    with pytest.raises(SchemaTooNew):
        version(db.conn)
    with pytest.raises(SchemaTooNew):
        migrate(db.conn)


async def test_opening_migrates_and_handles_of_the_older_version_stop(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await stores.open()
    await put(older, device(1))
    older.changes(0)
    present = newest()
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, next_one))

    newer = await stores.open()

    assert present + 1 == newer.info().schema
    assert [b"value"] == await values(newer)
    assert older.changed()
    with pytest.raises(SchemaTooNew) as refused:
        older.changes(1)
    assert (present + 1, present) == (refused.value.found, refused.value.supported)
    assert 3 == await put(newer, device(2))


async def test_a_migration_that_fails_is_an_error_of_the_store(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(await stores.open(), device(1))
    await stores.aclose()
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, fails))
        with pytest.raises(StoreCorrupt):
            await stores.open()

    store = await stores.open()
    assert [b"value"] == await values(store)
    assert newest() == store.info().schema
