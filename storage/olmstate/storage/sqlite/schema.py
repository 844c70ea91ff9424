"""Which schema a database has, and how an older one becomes the newest.

One migration a version, all that are due in one transaction; ``meta.schema`` counts them. A database of a later version
is refused, never guessed at, and so is a handle's commit after a later version has migrated the database under it.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlite_utils import Database

from olmstate.messages import SchemaTooNew, StoreCorrupt

from . import migrations

APPLICATION_ID = 0x6F6C6D73
"""``olms``: what ``file`` and we recognise the database by."""


def newest() -> int:
    """The schema that this version writes."""
    return len(migrations.MIGRATIONS)


def create(db: Database, fill: Callable[[Database], None]) -> None:
    """Make the newest schema in an empty database, and what ``fill`` puts into it, in one transaction.

    Raises:
        sqlite3.Error: Any.
    """
    with db.atomic():
        for migration in migrations.MIGRATIONS:
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
        for migration in migrations.MIGRATIONS[found:]:
            migration(db)
        # the generation moves too: other handles look, and find that the schema isn't theirs any more
        db.conn.execute("UPDATE meta SET schema = ?, generation = generation + 1 WHERE id = 1", [newest()])
