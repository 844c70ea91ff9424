"""The store of one device: an SQLite database in a folder of its own, shared by any number of handles and processes.

It owns three promises. *Durable*: `SqliteStore.commit` returns after the disk has the rows (``synchronous=FULL``), or
raises. *Fenced*: a commit that derives from a generation that is not the newest any more writes nothing, so that even
a lost lock can't make a ratchet go back. *Told*: what changed since a generation is known by key, deletions too, for
as long as the marks are kept.

It knows rows, not Olm. Everything that writes, checkpoints, opens or closes does so under `Turnstile`; reads take no
lock.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import attrs
import trio
from sqlite_utils import Database

from olmstate.messages import (
    DeviceId,
    StoreCorrupt,
    StoreError,
    StorePoisoned,
    StoreUnavailable,
    UserId,
    WrongDevice,
    WrongKey,
)

from ._connection import connect, create_file
from ._filesystem import refuse_network_filesystem
from ._rows import PARTITIONED, UNTRACKED, Changes, Fenced, Row, Rows, Table
from ._schema import migrate, version
from ._sealing import KEY_BYTES, Seal, Wrapping
from ._sqlite3 import sqlite3
from ._sqlite_errors import store_error, translated
from ._turnstile import Turnstile

DATABASE = "olmstate.sqlite"

MANY_CHANGES = 4096
"""So many changed rows are not worth telling by key."""
MARKS_KEPT = 10_000
"""Generations for which a deleted row's mark is kept at least."""
SLOW_COMMIT = 0.001
"""Seconds. A commit that takes longer is worth a thread (which costs about 0.1 ms), so that the event loop goes on."""
MOST_PARAMETERS = 500
"""Of one statement; SQLite allows 32,766, older ones 999."""

T = TypeVar("T")

_CHANGED = " UNION ALL ".join(
    f"SELECT '{table}', {'partition' if table in PARTITIONED else 'key'} FROM {table} WHERE generation > ?1"  # noqa: S608 - ours
    for table in Table
    if table not in UNTRACKED
)


def _columns(table: Table) -> str:
    return f"key, {'partition' if table in PARTITIONED else 'key'}, value, generation"


def _upsert(table: Table) -> str:
    columns = ("key", "partition", "value", "generation") if table in PARTITIONED else ("key", "value", "generation")
    changed = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "  # noqa: S608 - ours
        f"ON CONFLICT (key) DO UPDATE SET {changed}"
    )


_UPSERT = {table: _upsert(table) for table in Table}
_SELECT = {
    table: f"SELECT {_columns(table)} FROM {table} "  # noqa: S608 - ours
    f"WHERE value IS NOT NULL AND {'partition' if table in PARTITIONED else 'key'}"
    for table in Table
}


@attrs.frozen(kw_only=True)
class StoreInfo:
    """What a store says of itself without its key."""

    store_id: str
    """Hexadecimal."""
    user_id: UserId
    device_id: DeviceId
    generation: int
    writer: str
    """Process id, handle and number of the last commit."""
    restored_generation: int
    schema: int
    sealed: str
    """``none``, ``key`` or ``passphrase``."""


def _read_wrapping(db: Database) -> Wrapping:
    row = db.conn.execute(
        "SELECT kind, salt, iterations, lanes, memory_kib, data_key FROM wrapping WHERE id = 1"
    ).fetchone()
    if row is None:
        raise StoreCorrupt(reason="the wrapped data key is missing")
    kind, salt, iterations, lanes, memory_kib, data_key = row
    return Wrapping(kind=kind, salt=salt, iterations=iterations, lanes=lanes, memory_kib=memory_kib, data_key=data_key)


def _write_wrapping(db: Database, wrapping: Wrapping) -> None:
    db.table("wrapping").upsert({"id": 1, **attrs.asdict(wrapping)}, pk="id")


@attrs.frozen(kw_only=True)
class _Inodes:
    """The files that we have open, as the folder names them: with another inode, somebody has replaced one."""

    database: int
    wal: int

    @classmethod
    def of(cls, path: Path) -> _Inodes:
        return cls(database=path.stat().st_ino, wal=Path(f"{path}-wal").stat().st_ino)


class SqliteStore:
    """A handle on a store. `open_store` makes one; it is used from one Trio thread and must be closed."""

    def __init__(self, folder: Path, lock: Turnstile, writer: Database, reader: Database) -> None:
        """Take over two open connections; `unlock` must follow before rows are read or written."""
        self._path = folder / DATABASE
        self._lock = lock
        self._writer = writer
        self._reader = reader
        self._inodes = _Inodes.of(self._path)
        self._seal: Seal | None = None
        self._data_version = -1
        self._last_commit = 0.0
        self._name = f"{os.getpid()} {secrets.token_hex(4)}"
        self._commits = 0
        self._poison: str | None = None
        self._closed = False
        self._pid = os.getpid()
        with translated():
            row = writer.conn.execute("SELECT hex(store_id), restored_generation FROM meta WHERE id = 1").fetchone()
        if row is None:
            raise StoreCorrupt(reason="the meta row is missing")
        self._store_id: str = row[0]
        self._restored_generation: int = row[1]

    # --- what it is -----------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    @property
    def lock(self) -> Turnstile:
        """The cross-process lock of this store."""
        return self._lock

    @property
    def restored_generation(self) -> int:
        """Rows of this generation and before came from a backup; 0 if the store never was one."""
        return self._restored_generation

    @property
    def pickle_key(self) -> bytes:
        """32 bytes for vodozemac's pickles."""
        return self._unlocked.pickle_key

    def key(self, table: Table, *parts: str) -> bytes:
        """The keyed hash under which ``parts`` are kept in ``table``."""
        return self._unlocked.key(table, *parts)

    @property
    def _unlocked(self) -> Seal:
        if self._seal is None:
            raise StorePoisoned(reason="it was not unlocked")
        return self._seal

    def info(self) -> StoreInfo:
        """What the store says of itself."""
        with translated():
            user_id, device_id, generation, writer = self._reader.conn.execute(
                "SELECT user_id, device_id, generation, writer FROM meta WHERE id = 1"
            ).fetchone()
            return StoreInfo(
                store_id=self._store_id,
                user_id=user_id,
                device_id=device_id,
                generation=generation,
                writer=writer,
                restored_generation=self._restored_generation,
                schema=version(self._reader),
                sealed=_read_wrapping(self._reader).kind,
            )

    def counts(self) -> dict[Table, int]:
        """Rows of each table."""
        with translated():
            return {table: self._reader.table(table).count_where("value IS NOT NULL") for table in Table}

    # --- reading: no lock -----------------------------------------------------------------------------------

    async def read(self, table: Table, partitions: Collection[bytes]) -> dict[bytes, list[Row]]:
        """The rows of each of ``partitions``; never reaches a checkpoint, since a point read costs less than one."""
        self._check_usable()
        found: dict[bytes, list[Row]] = {partition: [] for partition in partitions}
        wanted = list(found)
        with translated():
            for start in range(0, len(wanted), MOST_PARAMETERS):
                chunk = wanted[start : start + MOST_PARAMETERS]
                for row in self._reader.conn.execute(f"{_SELECT[table]} IN ({','.join('?' * len(chunk))})", chunk):
                    found[row[1]].append(self._row(table, *row))
        return found

    async def page(self, table: Table, after: bytes, limit: int) -> list[Row]:
        """At most ``limit`` rows with a key greater than ``after``, by key."""
        self._check_usable()
        with translated():
            rows = self._reader.conn.execute(
                f"SELECT {_columns(table)} FROM {table} WHERE value IS NOT NULL AND key > ? ORDER BY key LIMIT ?",  # noqa: S608 - ours
                [after, limit],
            ).fetchall()
        return [self._row(table, *row) for row in rows]

    def _row(self, table: Table, key: bytes, partition: bytes, sealed: bytes, generation: int) -> Row:
        return Row(key, partition, self._unlocked.unseal(table, key, partition, sealed), generation)

    def changed(self) -> bool:
        """Whether anybody, we too, has committed since the last `changes`: one pragma, 3 µs."""
        self._check_usable()
        with translated():
            return bool(self._reader.conn.execute("PRAGMA data_version").fetchone()[0] != self._data_version)

    def changes(self, since: int) -> Changes:
        """What was committed after ``since``, from one snapshot.

        Raises:
            StorePoisoned: The generation went back: the file was replaced by an older one.
        """
        self._check_usable()
        with translated():
            # sampled before the rest: a commit in between is then asked for once more, never missed
            (data_version,) = self._reader.conn.execute("PRAGMA data_version").fetchone()
            if self._meta() == (since, self._store_id):
                self._data_version = data_version
                return Changes(since, {})
            self._reader.conn.execute("BEGIN")  # one snapshot
            try:
                generation, floor, store_id, writer = self._reader.conn.execute(
                    "SELECT generation, floor, hex(store_id), writer FROM meta WHERE id = 1"
                ).fetchone()
                rows: list[tuple[str, bytes]] | None = None
                if floor <= since <= generation:
                    rows = self._reader.conn.execute(f"{_CHANGED} LIMIT {MANY_CHANGES + 1}", [since]).fetchall()
            finally:
                self._reader.conn.execute("COMMIT")
        if generation < since or store_id != self._store_id:
            raise self._poisoned("the database was replaced by another or an older one")
        self._data_version = data_version
        ours = generation == since + 1 and writer == self._writing()
        if rows is None or len(rows) > MANY_CHANGES:
            return Changes(generation, None, ours)
        partitions: dict[Table, set[bytes]] = {}
        for table, partition in rows:
            partitions.setdefault(Table(table), set()).add(partition)
        return Changes(generation, {table: frozenset(keys) for table, keys in partitions.items()}, ours)

    def _meta(self) -> tuple[int, str]:
        generation, store_id = self._reader.conn.execute(
            "SELECT generation, hex(store_id) FROM meta WHERE id = 1"
        ).fetchone()
        return generation, store_id

    def _writing(self) -> str:
        """What the present or last commit says of its writer: no other commit, of any handle, says the same."""
        return f"{self._name} {self._commits}"

    # --- writing: under the lock ----------------------------------------------------------------------------

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write ``rows`` in one durable transaction if the generation is still ``seen``; the new generation.

        The caller shields it: cancelled half-way, its outcome would be unknown.

        Raises:
            Fenced: The generation isn't ``seen`` any more; nothing was written.
            StoreFull, StoreBusy, StoreUnavailable, StoreCorrupt: Nothing was written.
            StorePoisoned: Nobody knows what was written.
        """
        self._check_usable()
        self._commits += 1
        writer = self._writing()
        generation = seen + 1
        sealed = [
            (
                _UPSERT[table],
                [self._sealed(table, row, generation) for row in table_rows],
            )
            for table, table_rows in rows.items()
        ]
        await self._timed(lambda: self._write(sealed, seen, writer))
        return generation

    def _sealed(self, table: Table, row: Row, generation: int) -> tuple[object, ...]:
        value = None if row.value is None else self._unlocked.seal(table, row.key, row.partition, row.value)
        if table in PARTITIONED:
            return row.key, row.partition, value, generation
        return row.key, value, generation

    async def _timed(self, write: Callable[[], None]) -> None:
        """Run ``write`` here if the last one was quick, else in a thread."""

        def timed() -> float:
            start = time.perf_counter()
            write()
            return time.perf_counter() - start

        if self._last_commit > SLOW_COMMIT:
            self._last_commit = await trio.to_thread.run_sync(timed)
        else:
            self._last_commit = timed()

    def _write(self, sealed: list[tuple[str, list[tuple[object, ...]]]], seen: int, writer: str) -> None:
        if not self._lock.held:
            raise StorePoisoned(reason="a commit was tried without the lock")
        self._check_files()
        execute = self._writer.conn.execute
        try:
            execute("BEGIN IMMEDIATE")
            fence = execute(
                "UPDATE meta SET generation = generation + 1, writer = ?2 "
                "WHERE id = 1 AND generation = ?1 AND hex(store_id) = ?3",
                [seen, writer, self._store_id],
            )
            if fence.rowcount != 1:
                execute("ROLLBACK")
                raise Fenced
            for statement, parameters in sealed:
                self._writer.conn.executemany(statement, parameters)
        except sqlite3.Error as error:
            self._roll_back()
            raise store_error(error) from error
        self._commit_or_find_out(seen)
        self._check_files()

    def _commit_or_find_out(self, seen: int) -> None:
        """COMMIT. One that raises is not yet a failed one: look, and if that doesn't tell, trust nothing any more."""
        try:
            self._writer.conn.execute("COMMIT")
        except sqlite3.Error as error:
            failure = store_error(error)
            try:
                self._roll_back()
                (generation,) = self._reader.conn.execute("SELECT generation FROM meta WHERE id = 1").fetchone()
            except (sqlite3.Error, StoreError):
                raise self._poisoned(f"a commit has an unknown outcome ({failure})") from error
            if generation != seen or isinstance(failure, StoreUnavailable):
                # after a failed fsync the disk may hold less, or later more, than anybody can read now
                raise self._poisoned(f"a commit has an unknown outcome ({failure})") from error
            raise failure from error

    def _roll_back(self) -> None:
        if self._writer.conn.in_transaction:  # SQLite may have rolled back by itself
            with translated():
                self._writer.conn.execute("ROLLBACK")

    async def change_secret(self, secret: bytes | str | None, *, lock_timeout: float = 5.0) -> None:
        """Wrap the data key with another key or passphrase. No value is rewritten.

        Other open handles go on: they hold the data key.

        Raises:
            WrongKey: A store is sealed, or not, for its whole life.
            StoreBusy: The lock was held by another for ``lock_timeout`` seconds.
        """
        self._check_usable()
        if (self.wrapping().kind == "none") != (secret is None):
            # values would stay as they are, sealed or plain, and the store would claim the contrary
            raise WrongKey
        new = Wrapping.new(secret)
        wrapped = new.wrap(self._unlocked.data_key, await trio.to_thread.run_sync(new.derive, secret))
        await self._lock.acquire(lock_timeout)
        try:
            self._check_files()
            with translated(), self._writer.atomic():
                _write_wrapping(self._writer, wrapped)
        finally:
            self._lock.release()

    # --- opening and closing --------------------------------------------------------------------------------

    def wrapping(self) -> Wrapping:
        """How the data key is wrapped now."""
        with translated():
            return _read_wrapping(self._reader)

    def unlock(self, wrapping: Wrapping, wrapping_key: bytes) -> None:
        """Unwrap the data key.

        Raises:
            WrongKey: ``wrapping_key`` is not the one.
        """
        self._seal = Seal(wrapping.unwrap(wrapping_key), plain=wrapping.kind == "none")

    def forget_old_marks(self) -> None:
        """Drop the marks of rows deleted long ago, under the lock; who is still behind them invalidates everything."""
        with translated(), self._writer.atomic():
            (generation,) = self._writer.conn.execute("SELECT generation FROM meta WHERE id = 1").fetchone()
            floor = max(0, generation - MARKS_KEPT)
            forgotten = 0
            for table in Table:
                forgotten += self._writer.conn.execute(
                    f"DELETE FROM {table} WHERE value IS NULL AND generation <= ?",  # noqa: S608 - ours
                    [floor],
                ).rowcount
            if forgotten:
                self._writer.conn.execute("UPDATE meta SET floor = ? WHERE id = 1", [floor])

    async def aclose(self) -> None:
        """Checkpoint and close. Waits a moment for the lock; without it, the next to close tidies up."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        with trio.CancelScope(shield=True):
            try:
                if not self._lock.held:
                    await self._lock.acquire(CLOSE_SECONDS)
                if self._poison is None:
                    self._writer.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except (StoreError, sqlite3.Error):
                pass  # everything committed is in the WAL, whoever opens next reads it there
            finally:
                self._reader.close()
                self._writer.close()
                self._lock.close()

    # --- doubts ---------------------------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._poison is not None:
            raise StorePoisoned(reason=self._poison)
        if self._closed:
            raise StorePoisoned(reason="it was closed")
        if os.getpid() != self._pid:
            raise StorePoisoned(reason="it belongs to the process that forked this one; open the store in the child")

    def _check_files(self) -> None:
        """Poison the handle if a file that we have open isn't the one in the folder any more."""
        try:
            self._lock.check()
            same = _Inodes.of(self._path) == self._inodes
        except StorePoisoned as error:
            raise self._poisoned(error.reason) from error
        except OSError as error:
            raise self._poisoned(f"a file of the store is gone ({error.strerror})") from error
        if not same:
            raise self._poisoned("a file of the store was replaced")

    def _poisoned(self, reason: str) -> StorePoisoned:
        self._poison = reason
        return StorePoisoned(reason=reason)


CLOSE_SECONDS = 2.0
"""How long closing waits for the lock, in order to tidy up."""


async def open_store(
    folder: Path,
    *,
    user_id: UserId | None = None,
    device_id: DeviceId | None = None,
    key: bytes | str | None,
    lock_timeout: float = 5.0,
) -> SqliteStore:
    """Open the store in ``folder``, or make it there.

    Args:
        folder: Made, with mode 0700, if it isn't there.
        user_id: Whose; needed to make a store, compared when one is there. None: open whatever is there.
        device_id: Which device; likewise.
        key: 32 bytes, or a passphrase, or None for a store that isn't sealed.
        lock_timeout: Seconds to wait for the lock.

    Raises:
        StoreError: Any of them.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow a link that may be changed later
    try:
        if user_id is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        refuse_network_filesystem(folder)
        lock = Turnstile(folder)
    except OSError as error:
        raise StoreUnavailable(reason=f"{folder}: {error.strerror}") from error
    store: SqliteStore | None = None
    try:
        made: Wrapping | None = None
        wrapping_key = b""
        while store is None:
            await lock.acquire(lock_timeout)
            try:
                store = _open_locked(folder, lock, user_id, device_id, made)
            finally:
                lock.release()
            if store is None:
                # an empty folder; deriving a key takes long, so it is done without the lock, and another may be quicker
                new = Wrapping.new(key)
                wrapping_key = await trio.to_thread.run_sync(new.derive, key)
                made = new.wrap(os.urandom(KEY_BYTES), wrapping_key)
        wrapping = store.wrapping()
        if wrapping != made:
            wrapping_key = await trio.to_thread.run_sync(wrapping.derive, key)
        store.unlock(wrapping, wrapping_key)
    except BaseException:
        if store is None:
            lock.close()
        else:
            await store.aclose()
        raise
    return store


def _open_locked(
    folder: Path,
    lock: Turnstile,
    user_id: UserId | None,
    device_id: DeviceId | None,
    made: Wrapping | None,
) -> SqliteStore | None:
    """Under the lock: open the database, and make it if there is none and ``made`` says with which key; else None."""
    path = folder / DATABASE

    def make(db: Database) -> None:
        if made is None or user_id is None or device_id is None:
            raise StoreUnavailable(reason=f"there is no store in {folder}")
        db.table("meta").insert(
            {
                "id": 1,
                "store_id": os.urandom(16),
                "user_id": user_id,
                "device_id": device_id,
                "generation": 0,
                "writer": "",
                "floor": 0,
                "restored_generation": 0,
            }
        )
        _write_wrapping(db, made)

    if user_id is None and not path.exists():
        raise StoreUnavailable(reason=f"there is no store in {folder}")
    try:
        create_file(path)
    except OSError as error:
        raise StoreUnavailable(reason=f"{path}: {error.strerror}") from error
    connections: list[Database] = []
    try:
        with translated():
            connections.append(writer := connect(path, write=True))
            if version(writer) == 0 and made is None:
                writer.close()
                return None
            migrate(writer, make)
            _check_device(writer, user_id, device_id)
            connections.append(reader := connect(path, write=False))
            store = SqliteStore(folder, lock, writer, reader)
            store.forget_old_marks()
            return store
    except BaseException:
        for connection in connections:
            connection.close()
        raise


def _check_device(db: Database, user_id: UserId | None, device_id: DeviceId | None) -> None:
    row = db.conn.execute("SELECT user_id, device_id FROM meta WHERE id = 1").fetchone()
    if row is not None and user_id is not None and row != (user_id, device_id):
        raise WrongDevice(user_id=row[0], device_id=row[1])
