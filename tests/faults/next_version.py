"""A later olmstate, as far as its schema goes: what migrations of opened stores are tested with."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlite_utils import Database

from olmstate.storage.sqlite import migrations


def _next(db: Database) -> None:
    """What a migration may be like: a new table, a new column, every row of an old table rewritten."""
    db.table("later").create({"key": bytes, "value": bytes}, pk="key", strict=True)
    db.conn.execute("ALTER TABLE meta ADD COLUMN later INTEGER NOT NULL DEFAULT 0")
    db.conn.execute("UPDATE inbound_group_sessions SET generation = generation")


@contextmanager
def next_version() -> Generator[None]:
    """While the block runs, this process's olmstate is the next version."""
    before = migrations.MIGRATIONS
    migrations.MIGRATIONS = (*before, _next)
    try:
        yield
    finally:
        migrations.MIGRATIONS = before
