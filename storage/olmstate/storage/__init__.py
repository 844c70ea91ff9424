"""One device's store: rows in SQLite, sealed, fenced by a generation, under a fair cross-process lock. Knows no Olm."""

from __future__ import annotations

from ._backup import backup
from ._inspect import StoreInspection, inspect_store
from ._meta import StoreInfo
from ._open import open_store
from ._rows import START, Changes, Fenced, Lock, Place, Row, RowReader, Rows, Store, Table, place_of
from ._store import SqliteStore
from ._threads import in_thread
from ._turnstile import Turnstile

__all__ = [
    "START",
    "Changes",
    "Fenced",
    "Lock",
    "Place",
    "Row",
    "RowReader",
    "Rows",
    "SqliteStore",
    "Store",
    "StoreInfo",
    "StoreInspection",
    "Table",
    "Turnstile",
    "backup",
    "in_thread",
    "inspect_store",
    "open_store",
    "place_of",
]
