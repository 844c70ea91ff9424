"""The store's folder and the files in it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from olmstate.messages import StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from olmstate.storage import open_store
from olmstate.storage.lock.line import PLACES
from olmstate.storage.lock.role import SYNC_FILES
from olmstate.storage.os_errors import os_errors
from olmstate.storage.sqlite.folder import (
    DATABASE,
    UNFINISHED,
    create_file,
    make_folder,
    name_database,
    remove_database,
    require_vacant,
    sync_folder,
    sync_folders_above,
)
from tests.storage.handles import ALICE, DEVICE, KEY


@pytest.fixture
def closed_umask() -> Iterator[None]:
    before = os.umask(0o777)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("closed_umask")
def test_missing_folders_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")

    assert {0o700} == {mode(tmp_path / "a"), mode(tmp_path / "a" / "b"), mode(tmp_path / "a" / "b" / "c")}


def test_a_folder_of_a_store_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    for name in (*PLACES, "lock", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", UNFINISHED, f"{UNFINISHED}-journal"):
        (folder / name).touch()
        folder.chmod(0o755)
        make_folder(folder)
        assert 0o700 == mode(folder)


@pytest.mark.parametrize(("before", "after"), [(0o777, 0o700), (0o550, 0o500), (0o500, 0o500), (0o300, 0o300)])
def test_what_its_owner_may_do_stays_as_it_is(tmp_path: Path, before: int, after: int) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(before)

    make_folder(folder)

    assert after == mode(folder)
    folder.chmod(0o700)


@pytest.mark.parametrize("other", ["letters.txt", f"{DATABASE}.bak", ".hidden"])
def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path, other: str) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / other).touch()
    (folder / DATABASE).touch()

    make_folder(folder)

    assert 0o755 == mode(folder)


def test_a_folder_of_somebody_else_s_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(0o770)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(Path, "chmod", refuse)
        make_folder(folder)

    assert 0o770 == mode(folder)


def test_another_that_makes_the_folder_too_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, mkdir = tmp_path / "store", Path.mkdir

    def make_first(path: Path, mode: int = 0o777) -> None:
        mkdir(path, mode)
        mkdir(path, mode)

    monkeypatch.setattr(Path, "mkdir", make_first)
    make_folder(folder)

    assert folder.is_dir()


def test_what_was_made_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = set[int](), os.fsync

    def watch(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    make_folder(tmp_path / "a" / "b")
    assert {tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino} == synced

    synced.clear()
    create_file(tmp_path / "a" / "b" / UNFINISHED)
    name_database(tmp_path / "a" / "b" / UNFINISHED, tmp_path / "a" / "b" / DATABASE)
    assert {(tmp_path / "a" / "b").stat().st_ino} == synced


def refuse_to_sync(_: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_folder_of_ours_that_can_not_be_synced_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refuse_to_sync)

    with pytest.raises(OSError, match="Input/output"):
        sync_folders_above(tmp_path / ".")


def test_a_folder_of_others_that_can_not_be_synced_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refuse_to_sync)
    monkeypatch.setattr(os, "geteuid", lambda: -2)

    sync_folders_above(tmp_path / ".")


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="no /proc")
def test_what_a_file_system_is_mounted_on_is_not_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    sync_folders_above(Path("/proc"))

    assert [] == synced


def test_a_folder_that_can_not_be_listed_can_still_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)

    sync_folder(tmp_path)


@pytest.mark.usefixtures("closed_umask")
def test_a_file_is_made_for_its_owner_alone_and_never_twice(tmp_path: Path) -> None:
    create_file(tmp_path / "file")

    assert 0o600 == mode(tmp_path / "file")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "file")


async def test_what_root_makes_in_a_folder_is_its_owners(tmp_path: Path) -> None:
    # who looked at a store by sudo had locked its own user out
    folder = tmp_path / "store"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 65_534, 65_534)
    async with aclosing(await open_store(folder, user_id=ALICE, device_id=DEVICE, key=KEY)) as store:
        store.presence.announce()
        await store.sync_role.acquire()
        names = {path.name for path in folder.iterdir() if path.stat().st_uid == folder.stat().st_uid}
        assert {DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", "lock", *PLACES, *SYNC_FILES} < names
        assert {path.name for path in folder.iterdir()} == names
        store.sync_role.release()


def test_a_database_goes_with_all_that_is_beside_it(tmp_path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal", "-else"):
        (tmp_path / f"database{suffix}").touch()

    remove_database(tmp_path / "database")
    remove_database(tmp_path / "database")

    assert ["database-else"] == [path.name for path in tmp_path.iterdir()]


def test_a_name_that_is_taken_is_not_given(tmp_path: Path) -> None:
    (tmp_path / "unfinished").write_text("new")
    (tmp_path / "database").write_text("old")

    with pytest.raises(StoreUnavailable, match="already"):
        name_database(tmp_path / "unfinished", tmp_path / "database")

    assert ("new", "old") == ((tmp_path / "unfinished").read_text(), (tmp_path / "database").read_text())


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_name_whose_database_was_lost_is_not_given(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "unfinished").touch()
    (tmp_path / f"database{suffix}").write_text("what was written last")

    with pytest.raises(StoreCorrupt, match=f"database{suffix}"):
        name_database(tmp_path / "unfinished", tmp_path / "database")

    assert (tmp_path / f"database{suffix}").read_text() == "what was written last"


def test_empty_files_of_an_earlier_database_are_not_left_to_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "unfinished").write_text("new")
    (tmp_path / "database-wal").touch()
    (tmp_path / "database-shm").write_text("32 KiB that mean nothing by themselves")
    require_vacant(tmp_path / "database")

    name_database(tmp_path / "unfinished", tmp_path / "database")

    assert ["database"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EACCES, StoreUnavailable),
        (errno.EROFS, StoreUnavailable),
        (errno.ENOENT, StoreUnavailable),
        (errno.EIO, StoreUnavailable),
    ],
)
def test_what_the_operating_system_refuses_is_an_error_of_the_store(
    tmp_path: Path, code: int, expected: type[StoreError]
) -> None:
    with pytest.raises(expected) as raised, os_errors(tmp_path):
        raise OSError(code, os.strerror(code))

    assert isinstance(raised.value.__cause__, OSError)
    if isinstance(raised.value, StoreUnavailable):
        assert f"{tmp_path}: {os.strerror(code)}" == raised.value.reason
