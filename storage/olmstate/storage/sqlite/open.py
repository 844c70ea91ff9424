"""Opening a store, or making it: which of the two is settled under the lock.

A database is made under another name and renamed when it is whole. So a crash leaves none or a good one, and one that
is found empty has lost its content: that is an error, and no reason to make a new device's store in its place.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from olmstate.messages import DeviceId, StoreBusy, StoreUnavailable, UserId, WrongDevice
from olmstate.storage.facts import Facts
from olmstate.storage.lock.turnstile import Turnstile
from olmstate.storage.os_errors import os_errors
from olmstate.storage.owner import require_owner
from olmstate.storage.sealing import KEY_BYTES, Seal, Secret, Wrapping, as_secret
from olmstate.storage.threads import in_thread

from .connection import Connection, connect, read_error_of, require_writable, use_wal
from .filesystem import refuse_network_filesystem
from .folder import (
    DATABASE,
    UNFINISHED,
    create_file,
    make_folder,
    name_database,
    remove_database,
    require_own_file,
    require_vacant,
    sync_folders_above,
)
from .meta import STORE_ID_BYTES, insert_meta, read_info
from .schema import create, migrate, version
from .sqlite_errors import BUSY_SECONDS, look_again, translated
from .store import BUSY_PAUSE, SqliteStore


@enable_ki_protection
async def open_store(
    folder: Path,
    *,
    user_id: UserId | None = None,
    device_id: DeviceId | None = None,
    key: Secret | None,
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
        StoreUnavailable: The folder can't be used; or no store is there, and it isn't said whose to make; or its
            database is a link, or has another name; or this process can't have it open: it was forked from one that
            has, or a handle of its own has files that were removed since, or it can't start a thread to derive a key
            from a passphrase.
        UnsupportedFilesystem: The folder is on a network file system.
        StoreBusy: The lock was held by another for ``lock_timeout`` seconds.
        WrongDevice, WrongKey: It is another's, or ``key`` doesn't open it.
        SchemaTooNew: A later olmstate wrote it.
        StoreCorrupt: The database is damaged, empty, or not olmstate's.
        StoreFull: No room to make it.
        ValueError: No device can be called so for which a store would be made.
        TypeError: ``key`` is of none of these types.
    """
    key = as_secret(key)
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow a link that may be changed later
    path = folder / DATABASE
    with os_errors(folder):
        if user_id is not None and device_id is not None:
            if not os.path.lexists(path):
                require_owner(user_id, device_id)
            make_folder(folder)
        elif not path.exists():
            raise StoreUnavailable(reason=f"there is no store in {folder}")
    refuse_network_filesystem(folder)
    lock = Turnstile(folder)
    store: SqliteStore | None = None
    try:
        made: _Made | None = None
        wrapping_key = b""
        while store is None:
            store = await _when_free(partial(_open_locked, path, lock, user_id, device_id, made), lock, lock_timeout)
            if store is None:
                # an empty folder; deriving a key takes long, so it is done without the lock, and another may be quicker
                new = Wrapping.new(key)
                wrapping_key = await _derive(new, key)
                data_key = os.urandom(KEY_BYTES)
                made = _Made(new.wrap(data_key, wrapping_key), Seal(data_key, plain=key is None))
        wrapping = store.wrapping()
        if made is None or wrapping != made.wrapping:
            wrapping_key = await _derive(wrapping, key)
        if not store.unlock(wrapping, wrapping_key):
            await lock.acquire(lock_timeout)
            try:
                await store.bind(wrapping, wrapping_key)
            finally:
                lock.release()
    except BaseException:
        if store is None:
            lock.close()
        else:
            await store.aclose()
        raise
    return store


async def _when_free(act: Callable[[], SqliteStore | None], lock: Turnstile, lock_timeout: float) -> SqliteStore | None:
    """What ``act`` returns under the lock; it is done again while a program that doesn't take our lock has SQLite's.

    It is we who wait, or the event loop would stand still.
    """
    deadline = trio.current_time() + BUSY_SECONDS
    while True:
        await lock.acquire(lock_timeout)
        try:
            return act()
        except StoreBusy:
            if trio.current_time() >= deadline:
                raise
        finally:
            lock.release()
        await trio.sleep(BUSY_PAUSE)


@attrs.frozen
class _Made:
    """The keys of a store that is about to be made."""

    wrapping: Wrapping
    seal: Seal


async def _derive(wrapping: Wrapping, key: bytes | str | None) -> bytes:
    if isinstance(key, str):
        return await in_thread(lambda: wrapping.derive(key))
    return wrapping.derive(key)


def _open_locked(
    path: Path, lock: Turnstile, user_id: UserId | None, device_id: DeviceId | None, made: _Made | None
) -> SqliteStore | None:
    """Open the database, and make it if there is none and ``made`` says with which key; else None."""
    with os_errors(path), translated():
        require_own_file(path)
        if not os.path.lexists(path):
            require_vacant(path)
            if user_id is None or device_id is None:
                raise StoreUnavailable(reason=f"there is no store in {path.parent}")
            if made is None:
                return None
            _make(path, user_id, device_id, made)
        return look_again(lambda: _open(path, lock, user_id, device_id))


def _make(path: Path, user_id: UserId, device_id: DeviceId, made: _Made) -> None:
    require_owner(user_id, device_id)
    unfinished = path.with_name(UNFINISHED)
    remove_database(unfinished)  # of somebody who was killed here
    create_file(unfinished)
    facts = Facts(
        store_id=os.urandom(STORE_ID_BYTES), user_id=user_id, device_id=device_id, restored_generation=0, bound_since=0
    )
    connection = connect(unfinished, write=True)
    try:
        create(connection, lambda db: insert_meta(db, facts=facts, seal=made.seal, wrapping=made.wrapping))
    finally:
        connection.close()
    sync_folders_above(path.parent)
    name_database(unfinished, path)


def _open(path: Path, lock: Turnstile, user_id: UserId | None, device_id: DeviceId | None) -> SqliteStore:
    connections: list[Connection] = []
    try:
        connections.append(writer := connect(path, write=True, busy_seconds=0))
        with translated(read_error_of(writer)):
            # before anything is changed in a database that may be another's
            version(writer)
            _check_device(writer, user_id, device_id)
            use_wal(writer)
            require_writable(writer)
            migrate(writer)
            connections.append(reader := connect(path, write=False, busy_seconds=0))
            return SqliteStore(path, lock, writer, reader)
    except BaseException:
        for connection in connections:
            connection.close()
        raise


def _check_device(connection: Connection, user_id: UserId | None, device_id: DeviceId | None) -> None:
    info = read_info(connection)
    if user_id not in (None, info.user_id) or device_id not in (None, info.device_id):
        raise WrongDevice(user_id=info.user_id, device_id=info.device_id)
