"""Which schema a database has, and how an older one becomes the newest.

One migration a version, all that are due in one transaction; ``meta.schema`` counts them. A database of a later version
is refused, never guessed at, and so is a handle's commit after a later version has migrated the database under it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from olmstate.messages import SchemaTooNew, StoreCorrupt, StoreUnavailable

from . import migrations
from .sqlite3 import sqlite3

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x6F6C6D73
"""``olms``: what ``file`` and we recognise the database by."""


def newest() -> int:
    """The schema that this version writes."""
    return len(migrations.MIGRATIONS)


def as_database(connection: sqlite3.Connection) -> Database:
    """What sqlite-utils makes of it.

    Importing that takes half as long as importing Trio, and who opens a store that is there needs none of it.

    Raises:
        StoreUnavailable: It can't be imported: the process may have no descriptor left.
    """
    try:
        from sqlite_utils import Database  # noqa: PLC0415 - as above
    except ImportError as error:
        raise StoreUnavailable(reason=str(error)) from error

    # plugins could run code of others in the process that holds the keys
    return Database(connection, execute_plugins=False)


def create(connection: sqlite3.Connection, fill: Callable[[Database], None]) -> None:
    """Make the newest schema in an empty database, and what ``fill`` puts into it, in one transaction.

    Raises:
        sqlite3.Error: Any.
    """
    with as_database(connection).atomic() as db:
        for migration in migrations.MIGRATIONS:
            migration(db)
        fill(db)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def version(connection: sqlite3.Connection) -> int:
    """The schema that the database has.

    Raises:
        StoreCorrupt: It is somebody else's database, or has lost its content.
        SchemaTooNew: A later olmstate wrote it.
        sqlite3.Error: Any.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise StoreCorrupt(reason="the database is empty, or not olmstate's")
    row = connection.execute("SELECT schema FROM meta WHERE id = 1").fetchone()
    if row is None:
        raise StoreCorrupt(reason="the meta row is missing")
    found = int(row[0])
    if found > newest():
        raise SchemaTooNew(found=found, supported=newest())
    return found


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the newest schema, in one transaction. Under the lock only.

    Raises:
        StoreCorrupt, SchemaTooNew: See `version`.
        sqlite3.Error: Any.
    """
    found = version(connection)
    if found == newest():
        return
    with as_database(connection).atomic() as db:
        for migration in migrations.MIGRATIONS[found:]:
            migration(db)
        # the generation moves too: other handles look, and find that the schema isn't theirs any more
        connection.execute("UPDATE meta SET schema = ?, generation = generation + 1 WHERE id = 1", [newest()])
