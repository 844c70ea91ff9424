"""The SQL of every day, written once for all tables. The names in it are our own, never a user's."""
# ruff: noqa: S608 - see above

from __future__ import annotations

from ._rows import PARTITIONED, UNTRACKED, Table

MOST_PARAMETERS = 500
"""Of one statement; SQLite allows 32,766."""


def _partition(table: Table) -> str:
    return "partition" if table in PARTITIONED else "key"


def _columns(table: Table) -> str:
    return f"key, {_partition(table)}, value, generation"


def _upsert(table: Table) -> str:
    columns = ("key", "partition", "value", "generation") if table in PARTITIONED else ("key", "value", "generation")
    changed = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT (key) DO UPDATE SET {changed}"
    )


FENCE = (
    "UPDATE meta SET generation = generation + 1, writer = ? "
    "WHERE id = 1 AND generation = ? AND store_id = ? AND schema = ?"
)
STATE = "SELECT generation, floor, writer, store_id, schema FROM meta WHERE id = 1"
CHANGED = " UNION ALL ".join(
    f"SELECT '{table}', {_partition(table)} FROM {table} WHERE generation > ?1"
    for table in Table
    if table not in UNTRACKED
)
READ = {
    table: f"SELECT {_columns(table)} FROM {table} WHERE value IS NOT NULL AND {_partition(table)} IN "
    for table in Table
}
PAGE = {
    table: f"SELECT {_columns(table)} FROM {table} WHERE value IS NOT NULL AND key > ? ORDER BY key LIMIT ?"
    for table in Table
}
UPSERT = {table: _upsert(table) for table in Table}
DELETE = {table: f"DELETE FROM {table} WHERE key = ?" for table in UNTRACKED}
FORGET = [f"DELETE FROM {table} WHERE value IS NULL AND generation <= ?" for table in Table if table not in UNTRACKED]
COUNT = {table: f"SELECT count(*) FROM {table} WHERE value IS NOT NULL" for table in Table}


def places(number: int) -> str:
    """``(?, …)`` for that many parameters."""
    return f"({','.join('?' * number)})"
