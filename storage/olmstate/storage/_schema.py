"""The schema, and how an older one becomes it.

One migration a version, all that are due in one transaction; ``PRAGMA user_version`` counts them. A database of a
later version is refused, never guessed at.

Every table of rows looks the same: ``key`` (what the row is), ``partition`` (with whom it is loaded; only where there
are such others), the sealed ``value``, and the ``generation`` that wrote it, by which "what changed since g" is one
seek a table. A deleted row stays as a mark without value until nobody can be asking any more.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlite_utils import Database

from olmstate.messages import SchemaTooNew, StoreCorrupt

from ._rows import PARTITIONED, UNTRACKED, Table

APPLICATION_ID = 0x6F6C6D73
"""``olms``: what ``file`` and we recognise the database by."""


def _first(db: Database) -> None:
    """Version 1: meta, the wrapped data key, a table a data type."""
    db.table("meta").create(
        {
            "id": int,
            "store_id": bytes,
            "user_id": str,
            "device_id": str,
            "generation": int,
            "writer": str,
            "floor": int,
            "restored_generation": int,
        },
        pk="id",
        not_null={"store_id", "user_id", "device_id", "generation", "writer", "floor", "restored_generation"},
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
    for table in Table:
        columns = {"key": bytes, "partition": bytes, "value": bytes, "generation": int}
        if table not in PARTITIONED:
            del columns["partition"]
        db.table(table).create(columns, pk="key", not_null=set(columns) - {"value"}, strict=True)
        if table in PARTITIONED:
            db.table(table).create_index(["partition"])
        if table not in UNTRACKED:
            db.table(table).create_index(["generation"])
            db.conn.execute(f"CREATE INDEX {table}_marks ON {table} (generation) WHERE value IS NULL")


MIGRATIONS: tuple[Callable[[Database], None], ...] = (_first,)


def version(db: Database) -> int:
    """The schema that the database has; 0 for an empty one.

    Raises:
        StoreCorrupt: It is somebody else's database.
        SchemaTooNew: A later olmstate wrote it.
    """
    (found,) = db.conn.execute("PRAGMA user_version").fetchone()
    (application,) = db.conn.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID and (application or found or db.table_names()):
        raise StoreCorrupt(reason="the database is not olmstate's")
    if found > len(MIGRATIONS):
        raise SchemaTooNew(found=found, supported=len(MIGRATIONS))
    return int(found)


def migrate(db: Database, make: Callable[[Database], None] | None = None) -> None:
    """Bring the database to the newest schema in one transaction; under the lock only.

    Args:
        db: The writer.
        make: What else a new store needs; in the same transaction, so that a crash leaves no half-made store.
    """
    found = version(db)
    if found == len(MIGRATIONS):
        return
    with db.atomic():
        for migration in MIGRATIONS[found:]:
            migration(db)
        if found == 0 and make is not None:
            make(db)
        db.conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.conn.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
