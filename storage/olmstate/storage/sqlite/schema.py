"""The schema, and how an older one becomes it.

One migration a version, all that are due in one transaction; ``meta.schema`` counts them. A database of a later version
is refused, never guessed at, and so is a handle's commit after a later version has migrated the database under it.

Tables of rows look alike: ``key`` (what the row is), ``partition`` (with whom it is loaded; only where there are such
others, and then first in the primary key), the sealed ``value``, and the ``generation`` that wrote it, by which "what
changed since g" is one seek a table. A deleted row stays as a mark without value until nobody can be asking any more. A
set has keys and no more.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlite_utils import Database

from olmstate.messages import SchemaTooNew, StoreCorrupt
from olmstate.storage.tables import PARTITIONED, SETS, Table

APPLICATION_ID = 0x6F6C6D73
"""``olms``: what ``file`` and we recognise the database by."""


def _first(db: Database) -> None:
    """Version 1: meta, the wrapped data key, a table a data type."""
    db.table("meta").create(
        {
            "id": int,
            "schema": int,
            "store_id": bytes,
            "user_id": str,
            "device_id": str,
            "generation": int,
            "writer": str,
            "floor": int,
            "restored_generation": int,
        },
        pk="id",
        not_null={
            "schema",
            "store_id",
            "user_id",
            "device_id",
            "generation",
            "writer",
            "floor",
            "restored_generation",
        },
        strict=True,
    )
    db.table("wrapping").create(
        {
            "id": int,
            "kind": str,
            "salt": bytes,
            "iterations": int,
            "lanes": int,
            "memory_kib": int,
            "data_key": bytes,
        },
        pk="id",
        not_null={"kind", "salt", "iterations", "lanes", "memory_kib", "data_key"},
        strict=True,
    )
    for table in SETS:
        # one tree, not two: rows are small, and come by the hundred
        db.conn.execute(f"CREATE TABLE {table} (key BLOB NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID")
    for table in (table for table in Table if table not in SETS):
        columns = {"key": bytes, "partition": bytes, "value": bytes, "generation": int}
        if table not in PARTITIONED:
            del columns["partition"]
        db.table(table).create(columns, pk="key", not_null=set(columns) - {"value"}, strict=True)
        if table in PARTITIONED:
            db.table(table).create_index(["partition"])
        db.table(table).create_index(["generation"])
        db.conn.execute(f"CREATE INDEX {table}_marks ON {table} (generation) WHERE value IS NULL")


def _second(db: Database) -> None:
    """Version 2: one index of keys by partition, instead of one of keys and one of partitions (decision 0027)."""
    for table in PARTITIONED:
        db.conn.execute(f"DROP INDEX idx_{table}_partition")
        db.table(table).transform(pk=("partition", "key"))  # pyright: ignore[reportUnknownMemberType] - untyped dicts


MIGRATIONS: tuple[Callable[[Database], None], ...] = (_first, _second)


def newest() -> int:
    """The schema that this version writes."""
    return len(MIGRATIONS)


def create(db: Database, fill: Callable[[Database], None]) -> None:
    """Make the newest schema in an empty database, and what ``fill`` puts into it, in one transaction.

    Raises:
        sqlite3.Error: Any.
    """
    with db.atomic():
        for migration in MIGRATIONS:
            migration(db)
        fill(db)
        db.conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def version(db: Database) -> int:
    """The schema that the database has.

    Raises:
        StoreCorrupt: It is somebody else's database, or has lost its content.
        SchemaTooNew: A later olmstate wrote it.
        sqlite3.Error: Any.
    """
    (application,) = db.conn.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise StoreCorrupt(reason="the database is empty, or not olmstate's")
    row = db.conn.execute("SELECT schema FROM meta WHERE id = 1").fetchone()
    if row is None:
        raise StoreCorrupt(reason="the meta row is missing")
    found = int(row[0])
    if found > newest():
        raise SchemaTooNew(found=found, supported=newest())
    return found


def migrate(db: Database) -> None:
    """Bring the database to the newest schema, in one transaction. Under the lock only.

    Raises:
        StoreCorrupt, SchemaTooNew: See `version`.
        sqlite3.Error: Any.
    """
    found = version(db)
    if found == newest():
        return
    with db.atomic():
        for migration in MIGRATIONS[found:]:
            migration(db)
        # the generation moves too: other handles look, and find that the schema isn't theirs any more
        db.conn.execute("UPDATE meta SET schema = ?, generation = generation + 1 WHERE id = 1", [newest()])
