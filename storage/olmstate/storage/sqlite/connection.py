"""How olmstate talks to SQLite: two connections a handle.

The writer exists for ``BEGIN IMMEDIATE … COMMIT``, under the store's lock. The reader reads committed state in
autocommit, whoever holds the lock, also while the writer commits in a thread.

The reader has the file open read-only, and is closed last. SQLite checkpoints and removes the WAL when a database's
last connection is closed, whether or not its process holds our lock; a connection that can't write can't, so nothing is
checkpointed but by `SqliteStore`, under the lock. (SQLite before 3.51.3 can lose commits when several checkpoint at
once.)
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from urllib.parse import quote

from olmstate.messages import StoreUnavailable

from .sqlite3 import sqlite3
from .sqlite_errors import BUSY_SECONDS, PRIMARY, ReadError, look_again, result_code, translated
from .wal_index import WalIndex

OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables."""
WAL_BYTES = 4 * 1024 * 1024
"""To this the WAL is cut when it is begun anew, so that one large transaction doesn't keep its room for ever."""


class Connection(sqlite3.Connection):
    """One that is counted, so that its process keeps its locks: see `_wal_index`."""

    wal_index: WalIndex | None = None

    def close(self) -> None:
        """Close it. Closing again does nothing."""
        super().close()
        index, self.wal_index = self.wal_index, None
        if index is not None:
            index.leave()


def connect(path: Path, *, write: bool, busy_seconds: float = BUSY_SECONDS) -> Connection:
    """Open the database, which must exist; its file is not changed by that.

    For ``busy_seconds`` SQLite waits, then and later, for programs that don't take our lock; nothing else goes on in
    that thread meanwhile.

    Raises:
        StoreUnavailable: SQLite is too old, there is no such file, or this process was forked from one that had it
            open.
        StoreError: SQLite can't read it.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreUnavailable(reason=f"SQLite {sqlite3.sqlite_version} is older than 3.37")
    return look_again(lambda: _connect(path, write=write, busy_seconds=busy_seconds))


def _connect(path: Path, *, write: bool, busy_seconds: float) -> Connection:
    try:
        index = WalIndex.enter(os.fspath(path))
    except OSError as error:
        raise StoreUnavailable(reason=f"{error.strerror}: {path}") from error
    try:
        with translated():
            connection = sqlite3.connect(
                f"file://{quote(os.fsencode(path))}?mode={'rw' if write else 'ro'}",
                uri=True,
                timeout=busy_seconds,
                isolation_level=None,  # transactions are ours to begin and to end
                check_same_thread=False,  # what may be slow runs in a thread, one at a time
                cached_statements=256,
                factory=Connection,
            )
    except BaseException:
        index.leave()
        raise
    connection.wal_index = index
    try:
        with translated(index.read_error):
            for pragma in (*_PRAGMAS, *(_PRAGMAS_WRITE if write else _PRAGMAS_READ)):
                connection.execute(pragma).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def read_error_of(connection: Connection) -> ReadError:
    """How to see whether the system can read the files of an open database."""
    assert connection.wal_index is not None  # noqa: S101 - it is open
    return connection.wal_index.read_error


def use_wal(connection: sqlite3.Connection) -> None:
    """Make the database one with a write-ahead log, if it isn't.

    Raises:
        StoreUnavailable: The file system can't do it.
        sqlite3.Error: Any.
    """
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":  # SQLite says so, and raises nothing
        raise StoreUnavailable(reason=f"the file system has no memory to share between processes (journal mode {mode})")


def require_writable(connection: sqlite3.Connection) -> None:
    """Make sure that the database can be written to by this connection, now and later.

    SQLite opens a file for reading if the system refuses to open it for writing, be it for want of descriptors just
    then, and says so only to who writes.

    Raises:
        sqlite3.Error: Any; SQLITE_READONLY if it can't.
    """
    try:
        # this begins by reading, if the file is open for that; only a statement that writes fails
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("UPDATE meta SET id = id WHERE FALSE")
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if result_code(error) & PRIMARY != sqlite3.SQLITE_BUSY:  # somebody else writes, as we could
            raise


def set_busy_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    """How long SQLite waits from now on for whoever has locked the database.

    Raises:
        sqlite3.Error: Any.
    """
    connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}").fetchall()


def abandon(connection: sqlite3.Connection) -> None:
    """Never close it, in a forked child: not even at exit.

    Closing waits for SQLite's mutex. If a thread of the parent had it at the fork, nobody will ever let it go here.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_PRAGMAS = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
)
_PRAGMAS_READ = (
    # KiB. The actors cache what is read; SQLite would keep 2 MB of it once more, and drop it when another has written
    "PRAGMA cache_size = -256",
)
_PRAGMAS_WRITE = (
    "PRAGMA synchronous = FULL",  # NORMAL loses the last commits at a power cut: ratchet steps would be used twice
    "PRAGMA fullfsync = ON",  # what fsync is elsewhere is F_FULLFSYNC on macOS
    "PRAGMA secure_delete = ON",  # an old pickle decrypts old messages
    "PRAGMA wal_autocheckpoint = 0",  # it would run inside some COMMIT, on the event loop, and hide its errors
    f"PRAGMA journal_size_limit = {WAL_BYTES}",
)
