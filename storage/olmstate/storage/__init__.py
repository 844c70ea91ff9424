"""One device's store: rows in SQLite, sealed, fenced by a generation, under a fair cross-process lock. Knows no Olm."""

from __future__ import annotations

from .contract import (
    START,
    Changes,
    Fenced,
    Lock,
    Position,
    Presence,
    Role,
    Row,
    RowReader,
    Rows,
    Store,
    position_of,
    unit_of,
)
from .lock.turnstile import Turnstile
from .sealing import Secret
from .sqlite.backup import backup
from .sqlite.inspect import StoreInspection, inspect_store
from .sqlite.meta import StoreInfo
from .sqlite.open import open_store
from .sqlite.store import SqliteStore
from .tables import Table
from .threads import in_thread

__all__ = [
    "START",
    "Changes",
    "Fenced",
    "Lock",
    "Position",
    "Presence",
    "Role",
    "Row",
    "RowReader",
    "Rows",
    "Secret",
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
    "position_of",
    "unit_of",
]
