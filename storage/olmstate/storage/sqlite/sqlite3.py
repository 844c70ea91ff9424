"""The sqlite3 module that sqlite-utils uses: two copies of SQLite in one process would cancel each other's locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
else:
    from sqlite_utils.utils import sqlite3

__all__ = ["sqlite3"]
