"""Another program's SQLite file, read from a copy.

Why a copy: SQLite writes beside a file that it only reads, and tidies up what a program that was killed has left
there; and a reader that is told that nothing changes doesn't see what stands in the log alone.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import click

from ._found import text

_PARTS = ("", "-wal", "-journal")
"""Of an SQLite database: its file, and what may not have got into it yet."""


@attrs.frozen
class Tables:
    """The copy."""

    source: Path
    program: str
    """Whose store it should be."""
    _connection: sqlite3.Connection

    def rows(self, query: str, *arguments: object) -> Iterator[tuple[Any, ...]]:
        """What a query finds, a row at a time.

        Raises:
            click.ClickException: There are no such tables, or they are damaged.
        """
        try:
            yield from self._connection.execute(query, arguments)
        except sqlite3.Error as error:
            raise click.ClickException(f"{self.source} is no store of {self.program}, or damaged: {error}") from error

    def has(self, table: str) -> bool:
        """Whether there is such a table."""
        return bool(list(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table)))


@contextmanager
def opened_copy(source: Path, folder: Path, program: str) -> Generator[Tables]:
    """A copy of ``source`` in ``folder``, open while the block runs.

    Raises:
        click.ClickException: Somebody writes ``source`` meanwhile.
    """
    before = _looks(source)
    for part in before:
        shutil.copyfile(_part(source, part), folder / f"source{part}")
    if before != _looks(source):
        raise click.ClickException(f"somebody is writing {source}: stop the program that uses it, for good")
    with closing(sqlite3.connect(folder / "source")) as connection:
        connection.text_factory = text
        yield Tables(source, program, connection)


def _part(source: Path, part: str) -> Path:
    return source.with_name(source.name + part)


def _looks(source: Path) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for part in _PARTS:
        if (path := _part(source, part)).exists():
            status = path.stat()
            found[part] = status.st_size, status.st_mtime_ns
    return found
