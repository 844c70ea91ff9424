"""Backups that can be restored by opening them.

A copy of the files is no backup: it has the same ratchets as the original, and both would use the same steps. So a
backup gets a store id of its own, loses every outbound group session (each room makes a new one), and remembers the
generation that it was made at: an Olm session as old as that is used to decrypt only.
"""

from __future__ import annotations

import os
from pathlib import Path

import trio
from sqlite_utils import Database

from olmstate.messages import StoreUnavailable

from ._connection import connect, create_file
from ._rows import Table
from ._sqlite_errors import translated
from ._store import DATABASE, SqliteStore

PAGES_A_STEP = 256
"""1 MiB: so long is a writer kept waiting at the most."""


async def backup(store: SqliteStore, folder: Path) -> None:
    """Write a backup of an open store into ``folder``, as a store of the same device under the same key.

    Others go on reading and writing meanwhile.

    Raises:
        StoreUnavailable: ``folder`` can't be written, or a store is there already.
        StoreFull: No room.
    """
    target = folder / DATABASE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if target.exists():
            raise StoreUnavailable(reason=f"there is a store in {folder} already")
        # under another name until it is whole, so that nobody opens half a backup
        partial = folder / f"{DATABASE}.partial"
        partial.unlink(missing_ok=True)
        create_file(partial)
    except OSError as error:
        raise StoreUnavailable(reason=f"{folder}: {error.strerror}") from error
    try:
        await trio.to_thread.run_sync(_copy, store, partial)
        partial.replace(target)
        _sync_folder(folder)
    except BaseException:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{partial}{suffix}").unlink(missing_ok=True)
        raise


def _copy(store: SqliteStore, partial: Path) -> None:
    with translated():
        # a connection of its own: the store's reader stays with its own thread
        source = connect(store.path, write=False)
        try:
            copy = connect(partial, write=True)
            try:
                source.conn.backup(copy.conn, pages=PAGES_A_STEP)
                _make_another_store(copy)
                # a single file, so that renaming it is atomic
                copy.conn.execute("PRAGMA journal_mode = DELETE").fetchall()
            finally:
                copy.close()
        finally:
            source.close()


def _make_another_store(copy: Database) -> None:
    with copy.atomic():
        copy.conn.execute(
            "UPDATE meta SET store_id = ?, restored_generation = generation, writer = '' WHERE id = 1",
            [os.urandom(16)],
        )
        for table in (Table.OUTBOUND_GROUP_SESSIONS, Table.ROOM_KEY_RECIPIENTS):
            copy.conn.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
