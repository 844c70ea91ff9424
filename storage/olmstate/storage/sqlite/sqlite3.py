"""The sqlite3 module that sqlite-utils uses: two copies of SQLite in one process would cancel each other's locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
else:
    # as sqlite-utils chooses it, without importing that: only who makes or migrates a store needs the rest of it
    try:
        import pysqlite3 as sqlite3
    except ImportError:
        import sqlite3

__all__ = ["sqlite3"]
