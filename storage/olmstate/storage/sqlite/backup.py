"""Backups that can be restored by opening them.

A copy of the files is no backup: it has the same ratchets as the original, and both would use the same steps. So a
backup gets a store id of its own, loses every outbound group session (each room makes a new one), and remembers the
generation that it was made at: an Olm session as old as that is used to decrypt only.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import closing
from pathlib import Path

import msgspec
import trio
from trio.lowlevel import enable_ki_protection

from olmstate.storage.lock.turnstile import Turnstile
from olmstate.storage.os_errors import os_errors
from olmstate.storage.sealing import Seal
from olmstate.storage.tables import NOT_IN_BACKUPS
from olmstate.storage.threads import in_thread

from .connection import connect, read_error_of
from .folder import (
    DATABASE,
    UNFINISHED,
    create_file,
    make_folder,
    name_database,
    remove_database,
    require_vacant,
    sync_folders_above,
)
from .meta import STORE_ID_BYTES, read_facts, write_facts
from .schema import as_database, version
from .sqlite3 import sqlite3
from .sqlite_errors import busy, look_again, translated
from .store import SqliteStore

PAGES_A_STEP = 256
"""1 MiB: so much is copied between two looks whether the backup was cancelled."""


@enable_ki_protection
async def backup(store: SqliteStore, folder: Path, *, lock_timeout: float = 5.0) -> None:
    """Write a backup of an open store into ``folder``, as a store of the same device under the same key.

    It is what was committed when it began; others go on reading and writing meanwhile. Cancelled, it leaves nothing.

    Args:
        store: It must be open until the backup is made.
        folder: Made, with mode 0700, if it isn't there.
        lock_timeout: Seconds to wait for the lock of ``folder``, for another backup may be going there.

    Raises:
        StoreUnavailable: ``folder`` can't be written, a store is there already, or no thread can be started.
        StoreFull: No room.
        StoreBusy: ``folder`` is in use, or its files can't be locked.
        SchemaTooNew: A later olmstate has migrated ``store`` since it was opened.
        StoreCorrupt, StorePoisoned: As for reading ``store``.
    """
    store.check_usable()
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow a link that may be changed later
    target, unfinished = folder / DATABASE, folder / UNFINISHED
    with os_errors(folder):
        make_folder(folder)
        require_vacant(target)
        with closing(Turnstile(folder)) as lock:
            await lock.acquire(lock_timeout)
            require_vacant(target)
            try:
                seal = store.seal
                # a limiter of its own: it takes long, and nobody is to wait for it
                alone = trio.CapacityLimiter(1)
                await in_thread(lambda: look_again(lambda: _copy(store.path, unfinished, seal)), alone)
                sync_folders_above(folder)
                name_database(unfinished, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    remove_database(unfinished)
                raise


def _copy(path: Path, unfinished: Path, seal: Seal) -> None:
    # A connection of its own: the store's reader stays with its own thread. It needs no lock, since it can't write and
    # the store, which is open, has no recovery to do.
    remove_database(unfinished)
    create_file(unfinished)
    with closing(connect(path, write=False)) as source, translated(read_error_of(source)):
        # one snapshot for all steps: else each commit of others in between would start the copy again
        source.execute("BEGIN")
        # a later olmstate, that has migrated the store since, may have tables that backups leave out and we don't know
        version(source)
        with closing(connect(unfinished, write=True)) as copy:
            source.backup(copy, pages=PAGES_A_STEP, progress=_check_step)
            _make_another_store(copy, seal)
            # a single file, so that renaming it is atomic
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()


def _check_step(status: int, _remaining: int, _total: int) -> None:
    trio.from_thread.check_cancelled()
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        # SQLite has waited its time, and Python would have it try again for ever
        raise busy()


def _make_another_store(copy: sqlite3.Connection, seal: Seal) -> None:
    with as_database(copy).atomic():
        facts = read_facts(copy, seal)
        (generation,) = copy.execute("SELECT generation FROM meta WHERE id = 1").fetchone()
        another = msgspec.structs.replace(facts, store_id=os.urandom(STORE_ID_BYTES), restored_generation=generation)
        write_facts(copy, another, seal)
        copy.execute("UPDATE meta SET writer = '' WHERE id = 1")
        for table in NOT_IN_BACKUPS:
            copy.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
