"""The look at SQLite's shared memory takes none of the locks away that SQLite has on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from olmstate.messages import StoreUnavailable
from olmstate.storage import inspect_store
from olmstate.storage.sqlite import wal_index
from olmstate.storage.sqlite.wal_index import WalIndex
from tests.storage.handles import Handles, descriptors, device, put

DEAD_MAN_SWITCH = 128
"""The byte of the ``-shm`` file that each process with the database open has a shared lock on. Whoever finds it free
takes the file for a dead process's and cuts it to nothing, under the feet of those who have it in their memory."""

SHARED_FIRST = 0x40000002
"""The first of the bytes of the database that who reads it has a shared lock on."""

TRY = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(sys.argv[2]))
"""


def is_locked(folder: Path) -> bool:
    """Whether another process finds the switch taken."""
    return _is_locked(folder / "olmstate.sqlite-shm", DEAD_MAN_SWITCH)


def _is_locked(file: Path, byte: int) -> bool:
    tried = subprocess.run([sys.executable, "-c", TRY, file, str(byte)], capture_output=True, check=False, text=True)
    assert tried.returncode == 0 or "BlockingIOError" in tried.stderr
    return tried.returncode != 0


async def test_closing_a_handle_leaves_the_locks_of_the_others_in_this_process(stores: Handles) -> None:
    one, other = await stores.open(), await stores.open()
    one.changes(0)
    other.changes(0)
    assert is_locked(stores.folder)

    await one.aclose()
    assert is_locked(stores.folder)
    inspect_store(stores.folder)
    assert is_locked(stores.folder)

    await other.aclose()
    assert not is_locked(stores.folder)


async def test_reading_the_files_as_they_are_takes_no_lock_away_either(stores: Handles) -> None:
    before = descriptors()
    store = await stores.open()
    await put(store, device(1))
    index = store._wal_index  # pyright: ignore[reportPrivateUsage]
    assert _is_locked(stores.database, SHARED_FIRST)
    assert index.read_error() is None
    assert index.read_error() is None
    assert _is_locked(stores.database, SHARED_FIRST)
    assert is_locked(stores.folder)
    await store.aclose()
    assert not _is_locked(stores.database, SHARED_FIRST)
    assert before == descriptors()


async def test_files_that_can_not_be_read_say_so(stores: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await stores.open()
    await put(store, device(1))
    index = store._wal_index  # pyright: ignore[reportPrivateUsage]
    refused = OSError(5, "Input/output error")

    def refuse(_descriptor: int, _number: int, _offset: int) -> bytes:
        raise refused

    with monkeypatch.context() as failing:
        failing.setattr("olmstate.storage.sqlite.wal_index.os.pread", refuse)
        found = index.read_error()
    assert found is not None
    assert (5, "Input/output error", str(stores.database)) == (found.errno, found.strerror, found.filename)
    assert index.read_error() is None


async def test_what_was_closed_is_opened_anew(stores: Handles) -> None:
    generation = 0
    for number in range(3):
        store, other = await stores.open(), await stores.open()
        assert generation == store.changes(generation).generation
        assert not store.changed()
        generation = await put(other, device(number))
        assert store.changed()
        await store.aclose()
        await other.aclose()


def test_an_index_that_nobody_has_begun_is_an_error(tmp_path: Path) -> None:
    database = tmp_path / "database"
    database.touch()
    index = WalIndex.enter(str(database))

    with pytest.raises(FileNotFoundError):
        index.header()
    Path(f"{database}-shm").touch()
    with pytest.raises(OSError, match="data"):
        index.header()

    index.leave()


def test_what_a_forked_child_inherited_is_closed_there_and_never_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_index, "_indices", {})
    database = tmp_path / "database"
    database.touch()
    Path(f"{database}-shm").write_bytes(bytes(1_000))
    index = WalIndex.enter(str(database))
    index.header()
    before = descriptors()

    index.poison()  # as in a child

    index.poison()
    assert before - 2 == descriptors()  # mmap keeps one of its own
    with pytest.raises(StoreUnavailable, match="forked"):
        WalIndex.enter(str(database))
    index.leave()
    with pytest.raises(StoreUnavailable, match="forked"):
        WalIndex.enter(str(database))


def test_a_database_that_is_gone_has_no_index(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WalIndex.enter(str(tmp_path / "missing"))
