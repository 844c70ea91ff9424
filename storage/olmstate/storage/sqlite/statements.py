"""The SQL of every day, written once for all tables. The names in it are our own, never a user's."""
# ruff: noqa: S608 - see above

from __future__ import annotations

from olmstate.storage.tables import BY_ROW, GROUPED, KEYS_ONLY, PARTITIONED, Table

ROWS_A_PART = 250
"""Parameters of one statement, or rows of a partition, before the event loop goes on: a millisecond."""


def places(number: int) -> str:
    """``(?, …)`` for that many parameters."""
    return f"({','.join('?' * number)})"


def _partition(table: Table) -> str:
    return "partition" if table in PARTITIONED else "key"


def _columns(table: Table) -> str:
    return "key, key, x'', 0" if table in KEYS_ONLY else f"key, {_partition(table)}, value, generation"


def _there(table: Table) -> str:
    """Whether a row isn't the tombstone of a deleted one."""
    return "TRUE" if table in KEYS_ONLY else "value IS NOT NULL"


def _behind(table: Table) -> str:
    """Rows behind a place, in order."""
    if table in PARTITIONED:
        return "(partition, key) > (:partition, :key) ORDER BY partition, key"
    return "key > :key ORDER BY key"


def _rest(table: Table) -> str:
    """What of a row's unit isn't its partition; see `unit_of`."""
    return "key" if table in BY_ROW else "x''"


def _upsert(table: Table) -> str:
    if table in KEYS_ONLY:
        return f"INSERT OR IGNORE INTO {table} (key) VALUES (?)"
    names = ("partition", "key") if table in PARTITIONED else ("key",)
    values = ("value", "generation", "grouped") if table in GROUPED else ("value", "generation")
    return (
        f"INSERT INTO {table} ({', '.join((*names, *values))}) VALUES {places(len(names) + len(values))} "
        f"ON CONFLICT ({', '.join(names)}) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in values)}"
    )


FENCE = (
    "UPDATE meta SET generation = generation + 1, writer = ? "
    "WHERE id = 1 AND generation = ? AND store_id = ? AND schema = ?"
)
FACTS = "UPDATE meta SET facts = ? WHERE id = 1"
STATE = "SELECT generation, floor, writer, store_id, schema FROM meta WHERE id = 1"
CHANGED = " UNION ALL ".join(
    f"SELECT '{table}', {_partition(table)}, {_rest(table)} FROM {table} WHERE generation > :since"
    for table in Table
    if table not in KEYS_ONLY
)
"""Table and unit of each row, the unit in two parts."""


def read(table: Table, number: int) -> tuple[str, int]:
    """What reads the rows of that many units, and how many parameters there are for each."""
    if table in BY_ROW:
        # SQLite before 3.45 would look through the table for pairs that are IN something
        pairs = ",".join(["(?,?)"] * number)
        return f"WITH wanted(one, other) AS (VALUES {pairs}) {_READ_BY_ROW[table]}", 2
    return _READ[table] + places(number), 1


_READ = {
    table: f"SELECT {_columns(table)} FROM {table} WHERE {_there(table)} AND {_partition(table)} IN " for table in Table
}
_READ_BY_ROW = {
    table: f"SELECT {_columns(table)} FROM wanted CROSS JOIN {table} ON partition = one AND key = other "
    f"WHERE {_there(table)}"
    for table in BY_ROW
}


def read_partition(table: Table) -> str:
    """What reads the rows of a ``partition`` behind a ``key``, up to a ``limit``."""
    return (
        f"SELECT {_columns(table)} FROM {table} WHERE {_there(table)} AND partition = :partition AND key > :key "
        "ORDER BY key LIMIT :limit"
    )


def page_of(table: Table, group: bytes | None) -> str:
    """What reads a page of all rows, of those of a ``group``, or of those that have none.

    The page lies behind a ``partition`` and a ``key``, and has up to a ``limit`` of rows.
    """
    of = "" if group is None else "AND grouped = :group " if group else "AND grouped IS NULL "
    return f"SELECT {_columns(table)} FROM {table} WHERE {_there(table)} {of}AND {_behind(table)} LIMIT :limit"


UPSERT = {table: _upsert(table) for table in Table}
DELETE = {table: f"DELETE FROM {table} WHERE key = ?" for table in KEYS_ONLY}
FORGET = [f"DELETE FROM {table} WHERE value IS NULL AND generation <= ?" for table in Table if table not in KEYS_ONLY]
COUNT = {table: f"SELECT count(*) FROM {table} WHERE {_there(table)}" for table in Table}
