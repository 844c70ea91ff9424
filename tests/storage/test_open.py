"""Opening: who makes the store, who is refused, and that no crash, race or cancellation leaves half of anything."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from olmstate.messages import (
    DeviceId,
    SchemaTooNew,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    UnsupportedFilesystem,
    UserId,
    WrongDevice,
    WrongKey,
)
from olmstate.storage import SqliteStore, Turnstile, backup, open_store
from olmstate.storage.lock.line import PLACES
from olmstate.storage.sqlite import connection, filesystem
from olmstate.storage.sqlite.schema import newest
from olmstate.storage.sqlite.sqlite3 import sqlite3 as sqlite3_of_the_store
from tests.storage.handles import ALICE, DEVICE, KEY, Handles, descriptors, device, put, values
from tests.storage.processes import in_small_filesystem, peer, run


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


BOB = UserId("@bob:example.org")
OTHER = DeviceId("OTHER")

proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list open descriptors")


# --- as it is made ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777], indirect=True, ids=oct)
async def test_folders_and_files_belong_to_their_owner_alone_under_any_umask(tmp_path: Path, umask: int) -> None:
    stores = Handles(tmp_path / "above" / "store")
    store = await stores.open()
    await put(store, device(1))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in stores.folder.iterdir()}
    await stores.aclose()

    assert {"olmstate.sqlite", "olmstate.sqlite-wal", "olmstate.sqlite-shm", "lock", *PLACES} == set(modes)
    assert {0o600} == set(modes.values())
    assert 0o700 == stat.S_IMODE(stores.folder.stat().st_mode)
    assert 0o700 == stat.S_IMODE(stores.folder.parent.stat().st_mode)


async def test_the_database_is_never_there_with_a_wider_mode(stores: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, connect, before = set[int](), sqlite3.connect, os.umask(0)

    def look_and_connect(database: str, **keywords: object) -> sqlite3.Connection:
        seen.update(path.stat().st_mode & 0o777 for path in stores.folder.iterdir())
        return connect(database, **keywords)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(sqlite3_of_the_store, "connect", look_and_connect)
    try:
        await stores.open()
    finally:
        os.umask(before)

    assert {0o600} == seen


async def test_a_folder_of_a_store_is_closed_to_others_but_not_opened_to_its_owner(stores: Handles) -> None:
    stores.folder.mkdir(mode=0o755)
    stores.folder.chmod(0o755)

    await stores.open()

    assert 0o700 == stat.S_IMODE(stores.folder.stat().st_mode)


async def test_a_folder_that_holds_other_things_keeps_its_mode(stores: Handles) -> None:
    stores.folder.mkdir()
    stores.folder.chmod(0o755)
    (stores.folder / "letters.txt").touch()

    await stores.open()

    assert 0o755 == stat.S_IMODE(stores.folder.stat().st_mode)


@pytest.mark.parametrize("made_by", ["open", "backup"])
async def test_folders_that_another_made_and_did_not_sync_are_synced_before_the_database_has_its_name(
    stores: Handles, monkeypatch: pytest.MonkeyPatch, made_by: str
) -> None:
    """As when he was killed in between."""
    store = await stores.open()
    folder = stores.folder / "above" / "folder"
    folder.mkdir(parents=True)
    synced, fsync = set[int](), os.fsync

    def watch(descriptor: int) -> None:
        if not (folder / "olmstate.sqlite").exists():
            synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    if made_by == "open":
        await (await open_store(folder, user_id=ALICE, device_id=DEVICE, key=KEY)).aclose()
    else:
        await backup(store, folder)

    assert {path.stat().st_ino for path in (folder.parent, stores.folder, stores.folder.parent)} <= synced


async def test_a_store_is_made_once_and_opened_ever_after(stores: Handles) -> None:
    first = (await stores.open()).info()
    await stores.aclose()

    assert attrs.evolve(first, writer="") == attrs.evolve((await stores.open()).info(), writer="")


@pytest.mark.parametrize(
    "name", ["with spaces", "per%cent", "ques?tion#hash", "quo'te\"s", "späße", "semi;colon&amp", "a" * 200]
)
async def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    stores = Handles(tmp_path / name)
    await put(await stores.open(), device(1))
    await stores.aclose()

    assert [b"value"] == await values(await stores.open())
    await stores.aclose()
    assert [name] == [path.name for path in tmp_path.iterdir()]


async def test_a_path_may_begin_with_two_slashes(stores: Handles) -> None:
    twice = Handles(Path(f"/{stores.folder}"))
    assert str(twice.folder).startswith("//")

    await put(await twice.open(), device(1))
    await twice.aclose()

    assert [b"value"] == await values(await stores.open())


async def test_a_relative_path_is_where_it_was_when_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stores = Handles(Path("store"))
    store = await stores.open()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    await put(store, device(1))

    await stores.aclose()
    assert (tmp_path / "store" / "olmstate.sqlite") == store.path


async def test_one_device_s_store_is_opened_without_saying_whose(stores: Handles) -> None:
    await put(await stores.open(), device(1))
    await stores.aclose()

    for user_id, device_id in ((None, None), (ALICE, None), (None, DEVICE)):
        store = await open_store(stores.folder, user_id=user_id, device_id=device_id, key=KEY)
        assert [b"value"] == await values(store)
        await store.aclose()


# --- who is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user_id", "device_id"), [(BOB, DEVICE), (ALICE, OTHER), (BOB, OTHER), (BOB, None), (None, OTHER)]
)
async def test_another_device_is_refused_and_told_whose_the_store_is(
    stores: Handles, user_id: UserId | None, device_id: DeviceId | None
) -> None:
    await stores.open()

    with pytest.raises(WrongDevice) as refused:
        await open_store(stores.folder, user_id=user_id, device_id=device_id, key=KEY)

    assert (ALICE, DEVICE) == (refused.value.user_id, refused.value.device_id)


KEYS: list[bytes | str | None] = [None, KEY, b"\xff" * 32, b"short", b"", "passphrase", "another", ""]


@pytest.mark.usefixtures("cheap_argon2")
@pytest.mark.parametrize("key", [None, KEY, "passphrase"])
async def test_no_other_key_opens_a_store(stores: Handles, key: bytes | str | None) -> None:
    await put(await stores.open(key), device(1))

    for other in KEYS:
        if other != key:
            with pytest.raises(WrongKey):
                await stores.open(other)

    assert [b"value"] == await values(await stores.open(key))


@pytest.mark.parametrize("key", [b"short", b"", b"x" * 33, ""])
async def test_no_store_is_made_with_what_can_be_no_key(stores: Handles, key: bytes | str) -> None:
    with pytest.raises(WrongKey):
        await stores.open(key)

    assert not stores.database.exists()


@pytest.mark.parametrize(("user_id", "device_id"), [(None, None), (ALICE, None), (None, DEVICE)])
async def test_where_no_store_is_none_is_made_unless_it_is_said_whose(
    stores: Handles, user_id: UserId | None, device_id: DeviceId | None
) -> None:
    with pytest.raises(StoreUnavailable, match="no store"):
        await open_store(stores.folder, user_id=user_id, device_id=device_id, key=KEY)
    assert not stores.folder.exists()

    stores.folder.mkdir()
    with pytest.raises(StoreUnavailable, match="no store"):
        await open_store(stores.folder, user_id=user_id, device_id=device_id, key=KEY)
    assert [] == list(stores.folder.iterdir())


async def test_a_store_that_is_removed_while_its_opener_waits_is_not_made_anew_for_nobody(
    stores: Handles, autojump_clock: MockClock
) -> None:
    await stores.open()
    await stores.aclose()
    holder = Turnstile(stores.folder)
    holder.acquire_nowait()

    async with trio.open_nursery() as nursery:

        async def expect_none() -> None:
            with pytest.raises(StoreUnavailable, match="no store"):
                await open_store(stores.folder, key=KEY)

        nursery.start_soon(expect_none)
        await trio.testing.wait_all_tasks_blocked()
        stores.database.unlink()
        holder.close()

    assert not stores.database.exists()


async def test_a_later_schema_is_refused_and_left_as_it_is(stores: Handles) -> None:
    await put(await stores.open(), device(1))
    await stores.aclose()
    stores.edit("UPDATE meta SET schema = schema + 1")
    before = stores.database.read_bytes()

    with pytest.raises(SchemaTooNew) as refused:
        await stores.open()

    assert (newest() + 1, newest()) == (refused.value.found, refused.value.supported)
    assert before == stores.database.read_bytes()


async def test_a_database_that_is_not_ours_is_refused_and_left_as_it_is(stores: Handles) -> None:
    stores.folder.mkdir()
    stores.edit("CREATE TABLE precious (letter TEXT)")
    before = stores.database.read_bytes()

    with pytest.raises(StoreCorrupt, match="not olmstate's"):
        await stores.open()

    assert before == stores.database.read_bytes()


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"SQLite format 3\0", b"SQLite format 3\0" + bytes(84), bytes(100_000), b"not a database " * 1_000],
    ids=lambda content: f"{len(content)}-{content[:4].hex()}",
)
async def test_what_is_no_database_is_refused_and_left_as_it_is(stores: Handles, content: bytes) -> None:
    stores.folder.mkdir()
    stores.database.write_bytes(content)

    with pytest.raises(StoreCorrupt):
        await stores.open()
    with pytest.raises(StoreCorrupt):
        await open_store(stores.folder, key=KEY)

    assert content == stores.database.read_bytes()


async def test_a_database_that_was_cut_off_anywhere_is_refused_or_its_loss_is_seen_when_it_is_read(
    stores: Handles,
) -> None:
    store = await stores.open()
    await put(store, *(device(number, os.urandom(1_000)) for number in range(100)))
    await stores.aclose()
    whole = stores.database.read_bytes()

    for length in (0, 50, 100, 4_095, 4_096, 5_000, 8_192, len(whole) // 2, len(whole) - 4_096, len(whole) - 1):
        stores.database.write_bytes(whole[:length])
        with pytest.raises(StoreCorrupt):
            await values(await stores.open())
        await stores.aclose()

    stores.database.write_bytes(whole)
    assert 100 == len(await values(await stores.open()))


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM meta",
        "DELETE FROM wrapping",
        "DROP TABLE meta",
        "DROP TABLE wrapping",
        "UPDATE wrapping SET kind = 'rot13'",
        "UPDATE wrapping SET data_key = x'00'",
        "PRAGMA application_id = 1",
    ],
)
async def test_a_store_that_lost_a_part_of_itself_is_corrupt(stores: Handles, damage: str) -> None:
    await stores.open()
    await stores.aclose()
    stores.edit(damage)

    with pytest.raises(StoreCorrupt):
        await stores.open()


async def test_a_store_that_loses_a_part_of_itself_while_it_is_open_is_corrupt(stores: Handles) -> None:
    store = await stores.open()
    stores.edit("DELETE FROM wrapping")

    with pytest.raises(StoreCorrupt, match="data key"):
        store.wrapping()
    with pytest.raises(StoreCorrupt, match="data key"):
        store.info()


async def test_a_file_in_the_folder_s_place_is_unavailable(stores: Handles) -> None:
    stores.folder.touch()

    with pytest.raises(StoreUnavailable):
        await stores.open()
    with pytest.raises(StoreUnavailable):
        await open_store(stores.folder / "below", user_id=ALICE, device_id=DEVICE, key=KEY)
    with pytest.raises(StoreUnavailable):
        await open_store(stores.folder, key=KEY)


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [Path.mkdir, make_dangling_link])
async def test_what_is_no_file_in_the_database_s_place_is_unavailable(
    stores: Handles, make: Callable[[Path], None]
) -> None:
    stores.folder.mkdir()
    make(stores.database)

    with pytest.raises(StoreUnavailable):
        await stores.open()


async def test_a_database_whose_files_are_elsewhere_is_unavailable(stores: Handles, tmp_path: Path) -> None:
    await stores.open()
    await stores.aclose()
    shutil.move(stores.folder, tmp_path / "elsewhere")
    stores.folder.mkdir()
    stores.database.symlink_to(tmp_path / "elsewhere" / "olmstate.sqlite")

    with pytest.raises(StoreUnavailable):
        await stores.open()


async def test_a_network_file_system_is_refused_before_anything_is_made_there(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.folder.mkdir()
    here = filesystem._filesystem_of(stores.folder)  # pyright: ignore[reportPrivateUsage]
    if here is None:
        pytest.skip("this system does not tell what a folder is on")
    monkeypatch.setattr(filesystem, "_SPANS_MACHINES", frozenset({here}))

    with pytest.raises(UnsupportedFilesystem):
        await stores.open()

    assert [] == list(stores.folder.iterdir())


async def test_an_old_sqlite_is_refused(stores: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "OLDEST_SQLITE", (4, 0, 0))

    with pytest.raises(StoreUnavailable, match="older"):
        await stores.open()


async def test_an_opener_without_the_lock_names_who_has_it(stores: Handles, autojump_clock: MockClock) -> None:
    await stores.open()
    with closing(Turnstile(stores.folder)) as holder:
        holder.acquire_nowait()
        with pytest.raises(StoreBusy) as busy:
            await stores.open()
    assert os.getpid() == busy.value.holder_pid


def test_a_folder_that_can_only_be_read_is_unavailable(tmp_path: Path) -> None:
    small, folder = tmp_path / "small", tmp_path / "store"
    small.mkdir()
    folder.mkdir()
    with peer(folder) as maker:
        assert maker.ask("open") == "opened"
        assert maker.ask("close") == "closed"
    with peer(folder, within=in_small_filesystem(small, size="64k", read_only=folder)) as other:
        assert other.ask("open") == "StoreUnavailable"
    with peer(folder / "new", within=in_small_filesystem(small, size="64k", read_only=folder)) as other:
        assert other.ask("open") == "StoreUnavailable"


# --- races, crashes, cancellation -------------------------------------------------------------------------


async def test_two_tasks_that_make_a_store_at_once_share_one(stores: Handles) -> None:
    opened = list[SqliteStore]()

    async def open_one() -> None:
        opened.append(await stores.open())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(open_one)

    assert 1 == len({store.info().store_id for store in opened})
    for store in opened:
        await put(store, device(1))
    assert 5 == opened[0].info().generation


@pytest.mark.usefixtures("cheap_argon2")
async def test_who_makes_a_store_more_slowly_opens_the_other_s_with_its_own_key(stores: Handles) -> None:
    outcomes = list[object]()

    async def open_with(key: str) -> None:
        try:
            outcomes.append((await stores.open(key)).info().store_id)
        except WrongKey:
            outcomes.append(WrongKey)

    async with trio.open_nursery() as nursery:
        for key in ("one", "other", "one", "other"):
            nursery.start_soon(open_with, key)

    assert 2 == outcomes.count(WrongKey)
    assert 2 == len(set(outcomes))


def test_twenty_processes_that_make_a_store_at_once_share_one() -> None:
    assert run("open_race.py", 20) == "20 rows"


@pytest.mark.full
def test_sixty_processes_that_make_a_store_at_once_share_one() -> None:
    assert run("open_race.py", 60) == "60 rows"


@pytest.mark.parametrize("action", ["create", "migrate", "backup"])
def test_a_process_killed_at_any_step_leaves_a_store_that_opens(action: str, request: pytest.FixtureRequest) -> None:
    stride = 1 if request.config.getoption("--full") else 7

    killed = int(run("crash_points.py", action, stride))

    assert killed > 35 // stride


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when a task has taken so many steps."""

    def __init__(self, step: int) -> None:
        self.scope = trio.CancelScope()
        self._task = trio.lowlevel.current_task()
        self._left = step

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self.scope.cancel()


async def cancelled_at_step(step: int, act: Callable[[], Awaitable[None]]) -> bool:
    """Whether ``act`` was cut short by a cancellation at that step."""
    instrument = CancelAtStep(step)
    trio.lowlevel.add_instrument(instrument)
    try:
        with instrument.scope:
            await act()
    finally:
        trio.lowlevel.remove_instrument(instrument)
    return instrument.scope.cancelled_caught


@proc
@pytest.mark.usefixtures("cheap_argon2")
async def test_a_cancellation_at_any_step_leaves_no_lock_held_no_descriptor_and_no_half(tmp_path: Path) -> None:
    stores = Handles(tmp_path / "store")

    async def use() -> None:
        store = await open_store(stores.folder, user_id=ALICE, device_id=DEVICE, key="old")
        try:
            await put(store, device(1))
            await store.change_secret("old")
            await backup(store, stores.folder / "backup")
        finally:
            await store.aclose()

    await trio.to_thread.run_sync(int)  # Trio's own descriptors
    before, step, cancelled = descriptors(), 0, True
    while cancelled:
        step += 1
        shutil.rmtree(stores.folder, ignore_errors=True)

        cancelled = await cancelled_at_step(step, use)

        assert before == descriptors()
        assert threading.active_count() < 10
        store = await stores.open("old")
        with closing(Turnstile(stores.folder)) as lock:
            assert lock.acquire_nowait()
        await put(store, device(2))
        await store.aclose()
        assert not list(stores.folder.rglob("*partial*"))
    assert step > 5


@proc
async def test_a_refused_opener_leaves_no_descriptor_open(stores: Handles) -> None:
    await stores.open()
    await stores.aclose()
    before = descriptors()

    for refused in (
        open_store(stores.folder, key=None),
        open_store(stores.folder, user_id=BOB, device_id=DEVICE, key=KEY),
        open_store(stores.folder / "missing", key=KEY),
    ):
        with pytest.raises(StoreError):
            await refused
        assert before == descriptors()
    stores.database.write_bytes(b"garbage")
    with pytest.raises(StoreCorrupt):
        await stores.open()
    assert before == descriptors()
