"""sqlite3's exceptions as the library's: none of the former ever leaves the storage room.

An error of reading is not damage, though SQLite often takes it for that: EIO while a statement runs comes out as
SQLITE_CORRUPT, and what it says of the cause is lost. Who believed it would restore a backup, which lacks what came
since. So whatever was read is read once more (`look_again`); and before a store is called damaged, its files are
read as they are (`WalIndex.read_error`): if the system can't do that, the disk is at fault, and not what is on it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from olmstate.messages import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreUnavailable

from .sqlite3 import sqlite3

BUSY_SECONDS = 1.0
"""How long SQLite waits for programs that don't take our lock, a database browser say."""
PRIMARY = 0xFF
"""The part of an extended result code that names the primary one (sqlite.org/rescode.html)."""

T = TypeVar("T")

ReadError = Callable[[], OSError | None]
"""Reads the files as they are: the system's error, or None if they can be read."""


def result_code(error: sqlite3.Error) -> int:
    """SQLite's extended result code; 0 if the error is the sqlite3 module's own."""
    return getattr(error, "sqlite_errorcode", 0)


def look_again(act: Callable[[], T]) -> T:
    """What ``act`` returns; it is done once more if it fails as if the store couldn't be read, or were damaged.

    Raises:
        StoreError, OSError: As ``act`` does, the second time.
    """
    try:
        return act()
    except (StoreCorrupt, StoreUnavailable, OSError):
        return act()


def store_error(error: sqlite3.Error, read_error: ReadError = lambda: None) -> StoreError:
    """The library's error for one of sqlite3's."""
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    code = result_code(error)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StoreFull()  # only a file system without room refuses those 32 KiB
    match code & PRIMARY:
        case sqlite3.SQLITE_FULL:
            return StoreFull()
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _damage(name, read_error)
        case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_MISMATCH:
            # every statement is ours and fits our schema: so the schema, or what is in it, isn't ours any more
            return _damage(f"{name}: {error}", read_error)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return busy()
        case _:
            return StoreUnavailable(reason=f"{name}: {error}")


def _damage(what: str, read_error: ReadError) -> StoreError:
    refused = read_error()
    if refused is not None:
        return StoreUnavailable(reason=f"{refused.filename}: {refused.strerror}")
    return StoreCorrupt(reason=what)


def busy() -> StoreBusy:
    """What it is when SQLite has waited in vain: only a program that is not olmstate takes its locks without ours."""
    return StoreBusy(holder_pid=None, waited=BUSY_SECONDS)


class translated:  # noqa: N801 - it is used as a function
    """Turn sqlite3's exceptions in a ``with`` block into `StoreError`."""

    def __init__(self, read_error: ReadError = lambda: None) -> None:
        """Before damage is told of, ``read_error`` is asked."""
        self._read_error = read_error

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, sqlite3.Error):
            raise store_error(error, self._read_error) from error
