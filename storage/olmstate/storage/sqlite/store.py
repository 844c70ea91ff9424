"""One handle on a store: an SQLite database in a folder of its own, shared by any number of handles and processes.

It owns three promises. *Durable*: `SqliteStore.commit` returns after the disk has the rows (``synchronous=FULL``), or
raises. *Fenced*: a commit that derives from a generation that is not the newest any more writes nothing, so that even
a lost lock can't make a ratchet go back. *Told*: what changed since a generation is known by key, deletions too, for
as long as the tombstones are kept.

It knows rows, not Olm. Everything that writes or checkpoints does so under `Turnstile`; reads take no lock.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from olmstate.messages import (
    SchemaTooNew,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StorePoisoned,
    StoreUnavailable,
    WrongKey,
)
from olmstate.storage.contract import Changes, Fenced, Position, Row, Rows, unit_of
from olmstate.storage.facts import Facts
from olmstate.storage.lock.fork import poison_in_child
from olmstate.storage.lock.presence import Presence
from olmstate.storage.lock.role import Role
from olmstate.storage.lock.turnstile import Turnstile
from olmstate.storage.sealing import Seal, Secret, Wrapping, as_secret
from olmstate.storage.tables import BY_ROW, FOR_LIFE, GROUPED, KEYS_ONLY, PARTITIONED, Table
from olmstate.storage.threads import NoThread, in_thread, start_in_thread

from .connection import Connection, abandon, set_busy_timeout
from .folder import DATABASE
from .meta import (
    StoreInfo,
    claimed_facts,
    read_facts,
    read_info,
    read_wrapping,
    write_facts,
    write_wrapping,
)
from .sqlite3 import sqlite3
from .sqlite_errors import BUSY_SECONDS, PRIMARY, look_again, result_code, store_error, translated
from .statements import (
    CHANGED,
    COUNT,
    DELETE,
    FACTS,
    FENCE,
    FORGET,
    ROWS_A_PART,
    STATE,
    UPSERT,
    page_of,
    read,
    read_partition,
)

MANY_CHANGES = 4096
"""So many changed rows are not worth telling by key."""
TOMBSTONES_KEPT = 10_000
"""Generations for which a deleted row's tombstone is kept at least."""
FORGET_EVERY = 1_000
"""Generations between two sweeps of older tombstones."""

SLOW_COMMIT = 0.004
"""Seconds. What takes longer is worth a thread, so that the event loop goes on. A thread costs 0.1 ms on a machine with
nothing else to do, and half a millisecond between greedy processes."""
ROW_SECONDS = 0.000_012
"""About what it takes to write a row, however fast the disk is."""
BYTE_SECONDS = 0.000_000_001_3
"""The same of a byte, where rows are large."""
UNSEALED_AT_ONCE = 96
"""Rows, before the event loop goes on: half a millisecond."""
SEALED_AT_ONCE = 96
"""Rows, before the event loop goes on: half a millisecond, or a whole one."""
BYTES_AT_ONCE = 256 * 1024
"""The same, of rows that are large."""
SORTED_AT_ONCE = 1_024
"""Rows put as they lie in the tree, before the event loop goes on: a millisecond."""
READ_IN_PARTS = 3
"""Times that a large read is begun anew because somebody has committed meanwhile; then it is made at once."""
CHECKPOINT_PAGES = 1_000
"""Of the WAL, before who commits takes them into the database. A log that begins anew is written over, and to sync that
takes half as long as to sync what is appended."""
CHECKPOINT_SECONDS = 0.005
"""About what that takes at the least."""
TRUNCATE_SECONDS = 300.0
"""After which whoever commits also cuts the WAL. Until then it keeps what was written over in the database: earlier
states of ratchets, which read messages that the present ones can't."""
TRUNCATE_AGAIN_SECONDS = 10.0
"""After which that is tried again if somebody was reading an older snapshot."""

BUSY_PAUSE = 0.005
"""Seconds, before it is looked again whether a program that doesn't take our lock has let SQLite's go."""
CLOSE_SECONDS = 2.0
"""How long closing waits for the lock, in order to tidy up."""
CLOSE_BUSY_SECONDS = 0.05
"""And then for whoever reads an older snapshot."""

__all__ = ["DATABASE", "SqliteStore", "StoreInfo"]

T = TypeVar("T")

_Fetched = list[tuple[bytes, bytes, bytes, int]]
_Statement = tuple[str, list[tuple[object, ...]]]
"""SQL, and the parameters of each time that it is to be run."""


@attrs.frozen
class _State:
    generation: int
    floor: int
    """Marks of rows that were deleted up to this generation are gone."""
    writer: str


@attrs.frozen
class _Files:
    """The files that we have open, as the folder names them: another inode means that one was replaced or removed."""

    database: int
    wal: int
    shm: int

    @classmethod
    def of(cls, path: str) -> _Files:
        return cls(os.stat(path).st_ino, os.stat(path + "-wal").st_ino, os.stat(path + "-shm").st_ino)  # noqa: PTH116 - by the string it is twice as fast


class SqliteStore:
    """A handle on a store. `open_store` makes one; it is used from one Trio thread and must be closed.

    After a fork the child can't use it: everything raises `StorePoisoned` there, and the parent notices nothing.
    """

    def __init__(self, path: Path, lock: Turnstile, writer: Connection, reader: Connection) -> None:
        """Take over two open connections; `unlock` must follow before rows are read or written.

        Raises:
            StoreUnavailable: Another handle of this process has files that aren't there any more.
            OSError: The files aren't there any more.
            sqlite3.Error: Any.
        """
        self._path = path
        self._lock = lock
        self._presence = Presence(path.parent)
        self._sync_role = Role(path.parent)
        self._writer = writer
        self._reader = reader
        info = read_info(self._reader)
        self._store_id = bytes.fromhex(info.store_id)
        self._schema = info.schema
        self._facts = claimed_facts(self._reader, bound_since=0, filled=())
        """Nobody's word before the store is unlocked."""
        self._files = _Files.of(os.fspath(path))
        # one thread at a time uses the writer; not from Trio's threads, which the user's program may have taken all
        self._thread = trio.CapacityLimiter(1)
        self._seal: Seal | None = None
        self.key: Callable[..., bytes] = self._no_key
        """The keyed hash under which some parts, texts, are kept in a table; see `RowReader.key`."""
        assert self._reader.wal_index is not None  # noqa: S101 - it is open
        self._wal_index = self._reader.wal_index
        self._wal_index.header()  # or it fails here, and not at the first question
        one = self._writer.wal_index is self._wal_index
        if not (one and self._wal_index.is_of(self._files.database, self._files.shm)):
            # SQLite would go on with those too, and others have committed past them
            raise StoreUnavailable(
                reason="another handle of this process still has files that were removed or replaced; close it first"
            )
        # it is we who wait for programs that don't take our lock: SQLite would wait on the event loop. Readers never
        # wait for who writes, and only for a moment for who opens or closes a database
        set_busy_timeout(self._writer, 0)
        set_busy_timeout(self._reader, BUSY_SECONDS)
        self._seen_header, self._seen_generation = b"", -1
        self._last_commit = 0.0
        self._pages_left = 0
        """Of the WAL, that the last checkpoint could not take in, since somebody reads an older snapshot."""
        self._truncate_at: float | None = None
        """On Trio's clock; None before the first commit."""
        self._name = f"{os.getpid()} {secrets.token_hex(4)}"
        self._commits = 0
        self._doubt: str | None = None
        self._closed = False
        poison_in_child(self)

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
    def presence(self) -> Presence:
        """Which handles on the store are alive."""
        return self._presence

    @property
    def sync_role(self) -> Role:
        """Who syncs with the homeserver."""
        return self._sync_role

    @property
    def restored_generation(self) -> int:
        """Rows of this generation and before came from a backup; 0 if the store never was one."""
        return self._facts.restored_generation

    @property
    def pickle_key(self) -> bytes:
        """32 bytes for vodozemac's pickles."""
        return self._unlocked.pickle_key

    def _no_key(self, table: Table, *parts: str) -> bytes:
        return self._unlocked.key(table, *parts)

    @property
    def seal(self) -> Seal:
        """What seals this store's values: not for anybody outside of this room."""
        return self._unlocked

    @property
    def _unlocked(self) -> Seal:
        if self._seal is None:
            self.check_usable()
            raise StorePoisoned(reason="it was not unlocked")
        return self._seal

    def info(self) -> StoreInfo:
        """What the store says of itself."""
        self.check_usable()
        return self._read(lambda: read_info(self._reader))

    def counts(self) -> dict[Table, int]:
        """Rows of each table."""
        self.check_usable()
        return self._read(lambda: {table: self._reader.execute(COUNT[table]).fetchone()[0] for table in Table})

    # --- reading: no lock -----------------------------------------------------------------------------------

    async def read(self, table: Table, partitions: Collection[bytes]) -> dict[bytes, list[Row]]:
        """The rows of each of ``partitions``, from one snapshot.

        Reaches a checkpoint only between many rows, since a point read costs less than one.
        """
        self.check_usable()
        found: dict[bytes, list[Row]] = {partition: [] for partition in partitions}
        number = size = 0
        for each in await self._fetch_all(table, list(found)):
            if number == UNSEALED_AT_ONCE or size > BYTES_AT_ONCE:
                number = size = 0
                await self._let_others_run()
            row = self._row(table, *each)
            found[unit_of(table, row)].append(row)
            number += 1
            size += len(row.value or b"")
        if table in FOR_LIFE and not all(found.values()):
            self._require_never_filled(table)
        return found

    def _require_never_filled(self, table: Table) -> None:
        """Make sure that what isn't there was never there: each time, since another handle may have filled it."""
        self._facts = self._read(lambda: read_facts(self._reader, self._unlocked))
        if table.value in self._facts.filled:
            raise StoreCorrupt(reason=f"what was in {table} is gone")

    def _read(self, act: Callable[[], T]) -> T:
        """What ``act`` reads; once more if that fails, for what can't be read just now may be read at once."""
        try:
            return act()
        except sqlite3.Error as error:
            failure = store_error(error)
            if not isinstance(failure, StoreCorrupt | StoreUnavailable):
                raise failure from error
        with translated(self._wal_index.read_error):
            return act()

    async def _fetch_all(self, table: Table, wanted: Sequence[bytes]) -> _Fetched:
        """All of one snapshot: in parts if there is much, and at once if others commit between them time and again."""
        for _ in range(READ_IN_PARTS):
            header = self._wal_index.header()
            fetched = await self._fetch_in_parts(table, wanted)
            if self._wal_index.header() == header:
                return fetched
        return self._read(lambda: self._fetch_at_once(table, wanted))

    async def _fetch_in_parts(self, table: Table, wanted: Sequence[bytes]) -> _Fetched:
        fetched: _Fetched = []
        if len(wanted) == 1 and table in PARTITIONED and table not in BY_ROW:
            fetched = self._fetch_page(table, wanted[0], b"")
            while fetched and len(fetched) % ROWS_A_PART == 0:
                await self._let_others_run()
                page = self._fetch_page(table, wanted[0], fetched[-1][0])
                if not page:
                    break
                fetched += page
            return fetched
        for start in range(0, len(wanted), ROWS_A_PART):
            if start:
                await self._let_others_run()
            fetched += self._read(partial(self._fetch, table, wanted[start : start + ROWS_A_PART]))
        return fetched

    def _fetch_page(self, table: Table, partition: bytes, after: bytes) -> _Fetched:
        sql, parameters = read_partition(table), {"partition": partition, "key": after, "limit": ROWS_A_PART}
        return self._read(lambda: self._reader.execute(sql, parameters).fetchall())

    async def _let_others_run(self) -> None:
        await trio.lowlevel.checkpoint()
        self.check_usable()

    def _fetch_at_once(self, table: Table, wanted: Sequence[bytes]) -> _Fetched:
        self._reader.execute("BEGIN")
        try:
            return [
                row
                for start in range(0, len(wanted), ROWS_A_PART)
                for row in self._fetch(table, wanted[start : start + ROWS_A_PART])
            ]
        finally:
            self._end_snapshot()

    def _fetch(self, table: Table, wanted: Sequence[bytes]) -> _Fetched:
        sql, parameters = read(table, len(wanted))
        if parameters > 1:
            wanted = [half for unit in wanted for half in (unit[: len(unit) // 2], unit[len(unit) // 2 :])]
        # all at once: a statement that isn't run to its end keeps its snapshot, and all later reads would be as old
        return self._reader.execute(sql, wanted).fetchall()

    def _end_snapshot(self) -> None:
        if self._reader.in_transaction:  # after some errors SQLite has ended it by itself
            self._reader.execute("ROLLBACK")

    async def page(self, table: Table, after: Position, limit: int, group: bytes | None = None) -> list[Row]:
        """At most ``limit`` rows behind the position ``after``, in the order of their positions; see `RowReader`."""
        self.check_usable()
        partition, key = after
        sql, parameters = page_of(table, group), {"partition": partition, "key": key, "limit": limit, "group": group}
        fetched: _Fetched = self._read(lambda: self._reader.execute(sql, parameters).fetchall())
        return [self._row(table, *row) for row in fetched]

    def _row(self, table: Table, key: bytes, partition: bytes, sealed: bytes, generation: int) -> Row:
        value = sealed if table in KEYS_ONLY else self._unlocked.unseal(table, key, partition, sealed, generation)
        return Row(key, partition, value, generation)

    async def look(self, since: int | None) -> Changes | None:
        """What was committed after ``since``; None if nobody has committed since the last look. Waits for nothing."""
        if (
            self._doubt is None
            and not self._closed
            and self._wal_index.header() == self._seen_header
            and since == self._seen_generation  # or whoever asks has not heard of what was seen
        ):
            return None
        return self.changes(since)

    def changed(self) -> bool:
        """Whether anybody, we too, has committed since the last `changes`."""
        if self._doubt is not None or self._closed:
            self.check_usable()
        return self._wal_index.header() != self._seen_header

    def changes(self, since: int | None) -> Changes:
        """What was committed after ``since``, from one snapshot; with None, only how far the store is.

        Raises:
            StorePoisoned: The generation went back: the file was replaced by an older one.
            SchemaTooNew: A later olmstate has migrated the store.
        """
        self.check_usable()
        header, state, rows = self._read(lambda: self._changed_rows(since))
        if since is None:
            since = state.generation
        if state.generation < since:
            raise self._poisoned("the database was replaced by an older one")
        self._seen_header, self._seen_generation = header, state.generation
        ours = state.generation == since + 1 and state.writer == self._writing()
        if since < state.floor or len(rows) > MANY_CHANGES:
            return Changes(state.generation, None, ours)
        partitions: dict[Table, set[bytes]] = {}
        for table, partition, key in rows:
            partitions.setdefault(Table(table), set()).add(partition + key)
        return Changes(state.generation, {table: frozenset(keys) for table, keys in partitions.items()}, ours)

    def _changed_rows(self, since: int | None) -> tuple[bytes, _State, list[tuple[str, bytes, bytes]]]:
        """The log's header, how far the store is, and the table and unit of each row changed after ``since``."""
        # sampled before the rest: a commit in between is then asked for once more, never missed
        header = self._wal_index.header()
        state = self._state(self._reader)
        rows: list[tuple[str, bytes, bytes]] = []
        if since is not None and state.generation != since:
            self._reader.execute("BEGIN")
            try:
                state = self._state(self._reader)
                if since >= state.floor:
                    rows = self._reader.execute(f"{CHANGED} LIMIT {MANY_CHANGES + 1}", {"since": since}).fetchall()
            finally:
                self._end_snapshot()
        return header, state, rows

    def _state(self, connection: sqlite3.Connection) -> _State:
        row = connection.execute(STATE).fetchone()
        if row is None:
            raise StoreCorrupt(reason="the meta row is missing")
        generation, floor, writer, store_id, schema = row
        if store_id != self._store_id:
            raise self._poisoned("the database was replaced by another store's")
        if schema != self._schema:
            raise SchemaTooNew(found=schema, supported=self._schema)
        return _State(generation, floor, writer)

    def _writing(self) -> str:
        """What the present or last commit says of its writer: no other commit, of any handle, says the same."""
        return f"{self._name} {self._commits}"

    # --- writing: under the lock ----------------------------------------------------------------------------

    @enable_ki_protection
    async def commit(self, rows: Rows, seen: int) -> int:
        """Write ``rows`` in one durable transaction if the generation is still ``seen``; the new generation.

        No cancellation reaches it, so its outcome never gets lost.

        Raises:
            Fenced: The generation isn't ``seen`` any more; nothing was written.
            StoreFull, StoreBusy, StoreUnavailable, StoreCorrupt: Nothing was written.
            StorePoisoned: Nobody knows what was written; or nothing was, since the lock isn't held or the handle was in
                doubt before.
        """
        statements, size = await self._seal_all(rows, seen + 1)
        self.check_usable()
        facts = self._facts_with(rows)
        if facts is not self._facts:
            statements.append((FACTS, [(facts.seal(self._unlocked),)]))
        if not self._lock.held:
            raise StorePoisoned(reason="a commit was tried without the lock")
        number = sum(len(parameters) for _, parameters in statements)
        estimate = max(self._last_commit, ROW_SECONDS * number + BYTE_SECONDS * size)
        try:
            self._last_commit = await self._run_when_free(lambda: self._write(statements, seen), estimate)
        except (StoreFull, StoreCorrupt, StoreUnavailable) as error:
            self.check_usable()
            if isinstance(error, StoreFull):
                # it may be the WAL that fills the disk: once it is in the database, it begins anew in its own room
                await self._run(self._checkpoint, CHECKPOINT_SECONDS)
                self.check_usable()
            self._last_commit = await self._run_when_free(lambda: self._write(statements, seen), CHECKPOINT_SECONDS)
        self._facts = facts
        await self._tidy_up()
        while statements:
            if len(statements.pop()[1]) > SORTED_AT_ONCE:  # to free many rows takes as long as to make them
                await trio.lowlevel.cancel_shielded_checkpoint()
        return seen + 1

    def _facts_with(self, rows: Rows) -> Facts:
        """The store's facts once ``rows`` are written; those that we have, if that changes nothing."""
        told = self._facts.filled
        filled = [
            table
            for table in FOR_LIFE
            if table.value not in told and any(row.value is not None for row in rows.get(table, ()))
        ]
        if not filled:
            return self._facts
        # another handle may have changed them; whoever changes them from now on is fenced, or we are
        self._facts = self._read(lambda: read_facts(self._reader, self._unlocked))
        return self._facts.with_filled(filled)

    async def _tidy_up(self) -> None:
        pages = self._wal_index.log_pages()
        self._pages_left = min(self._pages_left, pages)
        now = trio.current_time()
        if self._truncate_at is None:
            self._truncate_at = now + TRUNCATE_SECONDS
        if now >= self._truncate_at:
            # not before: what is appended takes twice as long to sync as what is written over
            self._truncate_at = now + TRUNCATE_AGAIN_SECONDS
            await self._run(lambda: self._truncate(now), CHECKPOINT_SECONDS)
        elif pages - self._pages_left >= CHECKPOINT_PAGES:
            await self._run(self._checkpoint, CHECKPOINT_SECONDS)
        else:
            return
        self._pages_left = self._wal_index.log_pages()

    async def _run_when_free(self, work: Callable[[], None], estimate: float) -> float:
        """`_run`, again and again while a program that doesn't take our lock has SQLite's; nothing is written then."""
        deadline = trio.current_time() + BUSY_SECONDS
        while True:
            try:
                return await self._run(work, estimate)
            except StoreBusy:
                self.check_usable()
                if trio.current_time() >= deadline:
                    raise
            with trio.CancelScope(shield=True):
                await trio.sleep(BUSY_PAUSE)

    async def _run(self, work: Callable[[], object], estimate: float) -> float:
        """Do ``work`` with the writer, in a thread if that takes long or other work is there; the seconds it took."""

        def timed() -> float:
            start = time.perf_counter()
            work()
            return time.perf_counter() - start

        if estimate > SLOW_COMMIT or self._thread.borrowed_tokens:
            # shielded, for it may wait for the other; what runs in the thread can't be cancelled anyhow
            with trio.CancelScope(shield=True), contextlib.suppress(NoThread):
                return await start_in_thread(timed, self._thread)
        # or no thread can be started: a slow commit is better than none, and closing must close. Nobody else has the
        # writer, for it was our turn with it, and since then nobody else has run
        return timed()

    async def _seal_all(self, rows: Rows, generation: int) -> tuple[list[_Statement], int]:
        """What is to be written, and how many bytes. Sealed here: a thread would have Python to itself no sooner."""
        seal_all = self._unlocked.seal_all
        statements: list[_Statement] = []
        number = size = total = 0
        for table, table_rows in rows.items():
            if table in KEYS_ONLY:
                statements.append((UPSERT[table], [(row.key,) for row in table_rows if row.value is not None]))
                statements.append((DELETE[table], [(row.key,) for row in table_rows if row.value is None]))
                continue
            done = 0
            kept: list[tuple[object, ...]] = []
            while done < len(table_rows):
                if number >= SEALED_AT_ONCE or size > BYTES_AT_ONCE:
                    total += size
                    number = size = 0
                    await trio.lowlevel.cancel_shielded_checkpoint()
                part = _up_to(table_rows[done : done + SEALED_AT_ONCE - number], BYTES_AT_ONCE - size)
                done += len(part)
                number += len(part)
                size += sum([len(row.value or b"") for row in part])
                values = zip(part, seal_all(table, part, generation), strict=True)
                if table in PARTITIONED:
                    kept += [(row.partition, row.key, value, generation) for row, value in values]
                elif table in GROUPED:
                    kept += [(row.key, value, generation, row.group or None) for row, value in values]
                else:
                    kept += [(row.key, value, generation) for row, value in values]
                if len(kept) > SORTED_AT_ONCE:
                    statements.append((UPSERT[table], _as_they_lie(kept)))
                    kept = []
            statements.append((UPSERT[table], _as_they_lie(kept)))
        return statements, total + size

    def _write(self, statements: Sequence[_Statement], seen: int) -> None:
        generation = seen + 1

        def write(writer: sqlite3.Connection) -> None:
            for sql, parameters in statements:
                writer.executemany(sql, parameters)
            if generation % FORGET_EVERY == 0:
                _forget_marks(writer, generation - TOMBSTONES_KEPT)

        self._commits += 1
        self._transact(write, seen, self._lock, self._writing())

    def _transact(
        self, write: Callable[[sqlite3.Connection], None], seen: int, lock: Turnstile, writer_name: str
    ) -> None:
        """Run ``write`` in one transaction that moves the generation on from ``seen``."""
        self._check_files(lock)
        writer = self._writer
        try:
            writer.execute("BEGIN IMMEDIATE")
            self._pass_fence(seen, writer_name)
            write(writer)
        except sqlite3.Error as error:
            self._roll_back()
            raise self._failed_write(error) from error
        except BaseException:
            self._roll_back()
            raise
        try:
            writer.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            raise self._failed_commit(error, seen) from error
        self._check_files(lock)

    def _pass_fence(self, seen: int, writer_name: str) -> None:
        if self._writer.execute(FENCE, [writer_name, seen, self._store_id, self._schema]).rowcount != 1:
            raise Fenced

    def _roll_back(self) -> None:
        if self._writer.in_transaction:  # after some errors SQLite has done it by itself
            try:
                self._writer.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._poisoned(f"a transaction can't be rolled back ({error})") from error

    def _failed_write(self, error: sqlite3.Error) -> StoreError:
        code = result_code(error)
        if code & PRIMARY == sqlite3.SQLITE_IOERR and code not in _READ_ERRORS:
            failure = store_error(error)
            return failure if isinstance(failure, StoreFull) else self._poisoned(f"the disk has failed ({error})")
        return store_error(error, self._wal_index.read_error)

    def _failed_commit(self, error: BaseException, seen: int) -> StoreError:
        """A COMMIT that raises has not failed yet. What is sure to have failed is so; else, trust nothing any more.

        After a failed fsync the disk may hold less, or later more, than anybody can read now.
        """
        if isinstance(error, sqlite3.Error) and result_code(error) & PRIMARY in _NOT_COMMITTED:
            with contextlib.suppress(sqlite3.Error, StoreError):
                if self._state(self._writer).generation == seen:
                    return store_error(error)
        return self._poisoned(f"a commit has an unknown outcome ({error})")

    def _checkpoint(self, mode: str = "PASSIVE") -> bool:
        """Take the WAL into the database while nobody reads an older snapshot; whether that was all. Under the lock."""
        try:
            ((busy, _, _),) = self._writer.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except sqlite3.Error as error:
            if not isinstance(store_error(error), StoreFull):
                # what was committed is in the WAL, and whoever opens the store takes it from there once more
                self._poisoned(f"the write-ahead log can't be taken into the database ({error})")
            return False
        return not busy

    def _truncate(self, now: float) -> None:
        """Take the WAL into the database and cut it, unless somebody reads or writes just now. Under the lock."""
        if self._checkpoint("TRUNCATE"):
            self._truncate_at = now + TRUNCATE_SECONDS

    @enable_ki_protection
    async def change_secret(self, secret: Secret | None, *, lock_timeout: float = 5.0) -> None:
        """Wrap the data key with another key or passphrase. No value is rewritten.

        Other open handles go on: they hold the data key. Others may take turns with this one meanwhile, but not who
        asks for this.

        Raises:
            WrongKey: A store is sealed, or not, for its whole life; or ``secret`` can't be a key.
            StoreBusy: The lock was held by another for ``lock_timeout`` seconds.
            StoreUnavailable: No thread can be started to derive a key from a passphrase.
            StoreError: As for `commit`.
        """
        self.check_usable()
        secret = as_secret(secret)
        if (self.wrapping().kind == "none") != (secret is None):
            # values would stay as they are, sealed or plain, and the store would claim the contrary
            raise WrongKey(reason="a store is sealed, or not, for its whole life")
        new = Wrapping.new(secret)
        wrapped = new.wrap(self._unlocked.data_key, await in_thread(lambda: new.derive(secret)))
        # a handle of its own on the lock: another task may be waiting with the store's
        with closing(Turnstile(self._path.parent)) as lock:
            await lock.acquire(lock_timeout)
            self.check_usable()
            await self._run_when_free(lambda: look_again(lambda: self._rewrap(wrapped, lock)), CHECKPOINT_SECONDS)

    def _rewrap(self, wrapping: Wrapping, lock: Turnstile) -> None:
        with translated(self._wal_index.read_error):
            seen = self._state(self._writer).generation
        try:
            self._transact(lambda writer: write_wrapping(writer, wrapping), seen, lock, self._name)
        except Fenced as error:
            raise self._poisoned("another has committed though this process holds the lock") from error
        # or whoever has the old passphrase finds the data key in the WAL that it opened; if it can't be had now, the
        # change is made all the same
        set_busy_timeout(self._writer, BUSY_SECONDS)
        try:
            self._checkpoint("TRUNCATE")
        finally:
            set_busy_timeout(self._writer, 0)

    # --- opening and closing --------------------------------------------------------------------------------

    def wrapping(self) -> Wrapping:
        """How the data key is wrapped now."""
        self.check_usable()
        return self._read(lambda: read_wrapping(self._reader))

    def unlock(self, wrapping: Wrapping, wrapping_key: bytes) -> bool:
        """Unwrap the data key; whether the store has its facts. If not, an earlier version wrote it: `bind` it.

        Raises:
            WrongKey: ``wrapping_key`` is not the one.
            StoreCorrupt: What is wrapped is no data key, or what the store says of itself was changed.
        """
        data_key, has_facts = wrapping.unwrap(wrapping_key)
        seal = Seal(data_key, plain=wrapping.kind == "none")
        if has_facts:
            self._facts = self._read(lambda: read_facts(self._reader, seal))
            seal.bound_since = self._facts.bound_since
        self._seal = seal
        self.key = seal.key  # without a detour: each message asks for several
        return has_facts

    async def bind(self, wrapping: Wrapping, wrapping_key: bytes) -> None:
        """Have a store of an earlier version keep its facts, if no other handle was quicker. Under the lock.

        Raises:
            StoreError: As for `commit`.
        """
        await self._run_when_free(lambda: look_again(lambda: self._bind(wrapping, wrapping_key)), CHECKPOINT_SECONDS)

    def _bind(self, wrapping: Wrapping, wrapping_key: bytes) -> None:
        seal = self._unlocked
        with translated(self._wal_index.read_error):
            seen = self._state(self._writer).generation
            if read_wrapping(self._writer) == wrapping:
                filled = tuple(t.value for t in FOR_LIFE if self._writer.execute(COUNT[t]).fetchone()[0])
                facts = claimed_facts(self._writer, bound_since=seen + 1, filled=filled)

                def write(writer: sqlite3.Connection) -> None:
                    write_facts(writer, facts, seal)
                    write_wrapping(writer, wrapping.wrap(seal.data_key, wrapping_key))

                try:
                    self._transact(write, seen, self._lock, self._name)
                except Fenced as error:
                    raise self._poisoned("another has committed though this process holds the lock") from error
            self._facts = read_facts(self._writer, seal)
        seal.bound_since = self._facts.bound_since

    @enable_ki_protection
    async def aclose(self) -> None:
        """Checkpoint and close. Waits a moment for the lock; without it, the WAL is left for the next to take in.

        Closing again, or in a forked child, does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._presence.close()
        self._sync_role.close()
        try:
            with trio.CancelScope(shield=True):
                # without the lock nothing is tidied up; that is all that these errors mean
                with contextlib.suppress(StoreError, trio.BusyResourceError):
                    if not self._lock.held:
                        await self._lock.acquire(CLOSE_SECONDS)
                if self._lock.held and self._doubt is None:
                    await self._run(self._last_checkpoint, CLOSE_BUSY_SECONDS)
        finally:
            # here and now, if Ctrl-C came in between: no shield keeps it out
            self._seal = None
            self.key = self._no_key
            self._writer.close()
            self._reader.close()  # the last one: see _connection
            self._lock.close()

    def _last_checkpoint(self) -> None:
        with contextlib.suppress(sqlite3.Error, StorePoisoned):
            self._check_files(self._lock)  # or the log would go into a database that nobody finds again
            # an open snapshot of another process, a backup say, is no reason to keep the lock for long
            set_busy_timeout(self._writer, CLOSE_BUSY_SECONDS)
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # --- doubts ---------------------------------------------------------------------------------------------

    def check_usable(self) -> None:
        """Make sure that the handle is open, and in no doubt.

        Raises:
            StorePoisoned: It isn't.
        """
        if self._doubt is not None:
            raise StorePoisoned(reason=self._doubt)
        if self._closed:
            raise StorePoisoned(reason="it was closed")

    def poison(self) -> None:
        """Become unusable: this is a forked child, and the connections are its parent's."""
        self._poisoned("it belongs to the process that forked this one; fork before opening, or spawn")
        self._closed = True
        abandon(self._writer)
        abandon(self._reader)

    def _check_files(self, lock: Turnstile) -> None:
        """Poison the handle if a file that we have open isn't the one in the folder any more."""
        try:
            lock.check()
            same = _Files.of(os.fspath(self._path)) == self._files
        except StorePoisoned as error:
            raise self._poisoned(error.reason) from error
        except OSError as error:
            raise self._poisoned(f"a file of the store is gone ({error.strerror})") from error
        if not same:
            raise self._poisoned("a file of the store was replaced")

    def _poisoned(self, reason: str) -> StorePoisoned:
        self._doubt = reason
        return StorePoisoned(reason=reason)


_READ_ERRORS = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ)
"""Extended result codes: what could not be read, before anything was written."""
_NOT_COMMITTED = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
"""Primary result codes of a COMMIT that left the transaction open, or undid it."""


def _forget_marks(writer: sqlite3.Connection, floor: int) -> None:
    """Drop the tombstones of rows deleted long ago; a handle that is still behind them invalidates everything."""
    if sum(writer.execute(statement, [floor]).rowcount for statement in FORGET):
        writer.execute("UPDATE meta SET floor = ? WHERE id = 1", [floor])


def _up_to(rows: Sequence[Row], size: int) -> Sequence[Row]:
    """The first of ``rows``, as many as are no larger than that, and at least one."""
    for number, row in enumerate(rows, 1):
        size -= len(row.value or b"")
        if size < 0:
            return rows[:number]
    return rows


def _as_they_lie(kept: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Rows as they lie in the tree; what comes twice stays in its order."""
    kept.sort(key=itemgetter(0))
    return kept
