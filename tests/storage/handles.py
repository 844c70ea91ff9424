"""Handles on one store, as tests need them, and ways to reach what users can't."""
# pyright: reportPrivateUsage=false

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from olmstate.messages import DeviceId, UserId
from olmstate.storage import Row, Rows, SqliteStore, Table, open_store

ALICE = UserId("@alice:example.org")
DEVICE = DeviceId("ALICE")
KEY = bytes(range(32))

PARTITION = b"a partition of 16"[:16]


class Handles:
    """Opens handles on the store in ``folder``, and closes them in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: list[SqliteStore] = []

    @property
    def database(self) -> Path:
        return self.folder / "olmstate.sqlite"

    async def open(self, key: bytes | str | None = KEY) -> SqliteStore:
        store = await open_store(self.folder, user_id=ALICE, device_id=DEVICE, key=key)
        self._opened.append(store)
        return store

    async def aclose(self) -> None:
        for store in self._opened:
            await store.aclose()

    def edit(self, statement: str, parameters: Sequence[object] = ()) -> None:
        """Change the database as a program that isn't olmstate does."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            connection.execute(statement, parameters)

    def file_bytes(self) -> dict[str, bytes]:
        """All that is in the folder; nobody in this process may have the store open, or SQLite would lose its locks."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


def device(number: int, value: bytes | None = b"value", partition: bytes = PARTITION) -> Row:
    """A row of a partitioned table."""
    return Row(b"key %012d" % number, partition, value)


def session(number: int, value: bytes | None = b"value") -> Row:
    """A row of a table that isn't partitioned."""
    key = b"key %012d" % number
    return Row(key, key, value)


async def commit(store: SqliteStore, rows: Rows, seen: int | None = None) -> int:
    """Take the lock, write, let it go; from the newest generation if none is given."""
    await store.lock.acquire(60)
    try:
        return await store.commit(rows, store.info().generation if seen is None else seen)
    finally:
        store.lock.release()


async def put(store: SqliteStore, *rows: Row, table: Table = Table.DEVICES) -> int:
    """Commit rows of one table."""
    return await commit(store, {table: rows})


async def values(store: SqliteStore, table: Table = Table.DEVICES, partition: bytes = PARTITION) -> list[bytes | None]:
    """What a partition's rows hold, by key."""
    found = await store.read(table, [partition])
    return [row.value for row in sorted(found[partition], key=lambda row: row.key)]


@contextmanager
def held_at(store: SqliteStore, statement: str) -> Generator[tuple[threading.Event, threading.Event]]:
    """Hold the writer before it runs ``statement``, in its thread: (it is there, it may go on)."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(text: str) -> None:
        if text == statement:
            reached.set()
            go_on.wait()

    store._writer.set_trace_callback(hold)
    try:
        yield reached, go_on
    finally:
        go_on.set()
        with suppress(sqlite3.ProgrammingError):  # closed meanwhile
            store._writer.set_trace_callback(None)


def refuse(store: SqliteStore, *actions: str) -> None:
    """Have SQLite refuse ``COMMIT``, ``ROLLBACK`` or a pragma of the writer, as if it failed."""

    def authorize(_code: int, first: str | None, *_: str | None) -> int:
        return sqlite3.SQLITE_DENY if first in actions else sqlite3.SQLITE_OK

    store._writer.set_authorizer(authorize if actions else None)


def descriptors() -> int:
    """How many are open in this process."""
    return len(list(Path("/proc/self/fd").iterdir()))
