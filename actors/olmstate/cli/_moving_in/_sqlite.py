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

from ._found import FoundRoomKey, FoundSession, text

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

    def sessions(self, query: str, account: object) -> Iterator[FoundSession]:
        """What a query for the id, the sender's key and the pickle of an account's Olm sessions finds."""
        for session_id, sender_key, pickle in self.rows(query, account):
            yield FoundSession(session_id=text(session_id), sender_key=text(sender_key), pickle=text(pickle))

    def room_keys(self, query: str, account: object) -> Iterator[FoundRoomKey]:
        """The same of inbound group sessions: id, room, sender's keys, pickle, and who forwarded them, by commas."""
        for session_id, room_id, sender_key, ed25519, pickle, chain in self.rows(query, account):
            yield FoundRoomKey(
                session_id=text(session_id),
                room_id=text(room_id),
                sender_key=text(sender_key),
                ed25519=text(ed25519),
                forwarding_chain=text(chain).split(",") if chain else (),
                pickle=text(pickle),
            )


@contextmanager
def opened_copy(source: Path, folder: Path, program: str) -> Generator[Tables]:
    """A copy of ``source`` in ``folder``, open while the block runs.

    Raises:
        click.ClickException: ``source`` is no file, or somebody writes it meanwhile.
    """
    if not source.is_file():
        raise click.ClickException(f"{source} is no file")
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
