"""How olmstate talks to SQLite: two connections a handle, opened and closed only under the store's lock.

The writer exists for ``BEGIN IMMEDIATE … COMMIT``; the reader reads committed state in autocommit, whoever holds the
lock. We checkpoint, open and close only under the lock: SQLite before 3.51.3 can lose commits when several
connections checkpoint at once. The sqlite3 module is the one that sqlite-utils uses: a second copy of SQLite in one
process, or an ``open`` and ``close`` of the file, would silently cancel the process's POSIX locks.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from sqlite_utils import Database

from ._sqlite3 import sqlite3

BUSY_SECONDS = 1.0
"""How long SQLite waits for programs that don't take our lock, a database browser say."""


def create_file(path: Path) -> None:
    """Make an empty database file that only its owner may read, under any umask; leave an existing one alone."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return  # and never open it but through SQLite: closing it would drop SQLite's locks
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def connect(path: Path, *, write: bool) -> Database:
    """Open the database, which must exist.

    Raises:
        sqlite3.Error: Any.
    """
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # transactions are ours to begin and to end
        check_same_thread=False,  # a slow commit runs in a thread, one at a time
        cached_statements=256,
    )
    try:
        # plugins could run code of others in the process that holds the keys
        database = Database(connection, execute_plugins=False)
        for pragma in _PRAGMAS_WRITE if write else _PRAGMAS_READ:
            connection.execute(pragma).fetchall()
    except BaseException:
        connection.close()
        raise
    return database


_PRAGMAS_WRITE = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # NORMAL loses the last commits at a power cut: ratchet steps would be used twice
    "PRAGMA secure_delete = ON",  # an old pickle decrypts old messages
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
)
_PRAGMAS_READ = ("PRAGMA query_only = ON", "PRAGMA trusted_schema = OFF", "PRAGMA temp_store = MEMORY")
