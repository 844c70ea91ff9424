"""sqlite3's exceptions as the library's: none of the former ever leaves the storage room."""

from __future__ import annotations

from types import TracebackType

from olmstate.messages import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreUnavailable

from .connection import BUSY_SECONDS
from .sqlite3 import sqlite3

PRIMARY = 0xFF
"""The part of an extended result code that names the primary one (sqlite.org/rescode.html)."""


def result_code(error: sqlite3.Error) -> int:
    """SQLite's extended result code; 0 if the error is the sqlite3 module's own."""
    return getattr(error, "sqlite_errorcode", 0)


def store_error(error: sqlite3.Error) -> StoreError:
    """The library's error for one of sqlite3's."""
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    code = result_code(error)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StoreFull()  # only a file system without room refuses those 32 KiB
    match code & PRIMARY:
        case sqlite3.SQLITE_FULL:
            return StoreFull()
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreCorrupt(reason=name)
        case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_MISMATCH:
            # every statement is ours and fits our schema: so the schema, or what is in it, isn't ours any more
            return StoreCorrupt(reason=f"{name}: {error}")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return busy()
        case _:
            return StoreUnavailable(reason=f"{name}: {error}")


def busy() -> StoreBusy:
    """What it is when SQLite has waited in vain: only a program that is not olmstate takes its locks without ours."""
    return StoreBusy(holder_pid=None, waited=BUSY_SECONDS)


class _Translated:
    """A class, where a generator would be shorter: a point read takes 6 µs, and entering a generator one."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, sqlite3.Error):
            raise store_error(error) from error


_TRANSLATED = _Translated()


def translated() -> _Translated:
    """Turn sqlite3's exceptions in a ``with`` block into `StoreError`."""
    return _TRANSLATED
