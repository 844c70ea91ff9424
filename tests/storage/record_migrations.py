"""What each migration does to the schema, as text.

    python -m tests.storage.record_migrations

writes ``migrations/NAME.sql`` for each migration that has none yet. What is recorded stays as it is: a test compares.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlite_utils import Database

from olmstate.storage.sqlite.migrations import MIGRATIONS

FOLDER = Path(__file__).with_name("migrations")


def effects() -> dict[str, str]:
    """By the migrations' names, in order: which SQL is gone from the schema after it, and which is new."""
    texts: dict[str, str] = {}
    before = set[str]()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        db = Database(connection, execute_plugins=False)
        for migration in MIGRATIONS:
            migration(db)
            after = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
            gone = [f"-- gone\n{sql};\n" for sql in sorted(before - after)]
            new = [f"-- new\n{sql};\n" for sql in sorted(after - before)]
            texts[migration.__name__] = "".join(gone + new)
            before = after
    return texts


def recorded(name: str) -> str | None:
    """What a migration did when it was recorded."""
    file = FOLDER / f"{name}.sql"
    return file.read_text(encoding="utf-8") if file.exists() else None


def main() -> None:
    """Record what isn't."""
    for name, text in effects().items():
        if recorded(name) is None:
            (FOLDER / f"{name}.sql").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
