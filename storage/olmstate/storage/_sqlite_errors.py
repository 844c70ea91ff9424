"""sqlite3's exceptions as the library's: none of the former ever leaves the storage room."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from olmstate.messages import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreUnavailable

from ._sqlite3 import sqlite3

PRIMARY = 0xFF
"""The part of an extended result code that names the primary one (sqlite.org/rescode.html)."""


def store_error(error: sqlite3.Error) -> StoreError:
    """The library's error for one of sqlite3's."""
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    match code & PRIMARY if code is not None else None:
        case sqlite3.SQLITE_FULL:
            return StoreFull()
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreCorrupt(reason=name)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            # only a program that is not olmstate takes SQLite's own lock without ours
            return StoreBusy(holder_pid=None, waited=0.0)
        case _:
            return StoreUnavailable(reason=f"{name}: {error}")


@contextmanager
def translated() -> Generator[None]:
    """Turn sqlite3's exceptions in the block into `StoreError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(error) from error
