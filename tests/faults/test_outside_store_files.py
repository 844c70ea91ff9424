"""Trouble from outside: somebody copies, opens, removes or replaces the store's files while they are in use.

What can be promised: whoever uses the store notices before the next commit, and then releases nothing more through that
handle. What can't: that messages which were sent since an older copy was made are known to whoever opens that copy.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from olmstate.messages import RotateRoomKey, StoreError, StorePoisoned
from olmstate.storage.sqlite.folder import DATABASE
from tests.faults.client import BUSY, SHARED, back_up, check, live, open_client, send, work
from tests.faults.cores import desks
from tests.faults.world import World


def test_copying_the_files_in_the_same_process_while_others_open_and_close_the_store_breaks_nothing(
    world: World, memory_folder: Path
) -> None:
    with desks(memory_folder, 2) as ((_, copier), (_, other)):
        copier.start(world.store, world.journal, "send_and_copy")
        other.start(world.store, world.journal, "send")
        copier.let_go()
        assert other.go() == 0
        assert copier.wait() == 0
    world.live()


def _remove_wal(store: Path, _: Path) -> None:
    (store / f"{DATABASE}-wal").unlink()


def _replace_wal(store: Path, _: Path) -> None:
    (store / f"{DATABASE}-wal").unlink()
    (store / f"{DATABASE}-wal").touch(mode=0o600)


def _remove_shared_memory(store: Path, _: Path) -> None:
    (store / f"{DATABASE}-shm").unlink()


def _remove_database(store: Path, _: Path) -> None:
    (store / DATABASE).unlink()


def _remove_folder(store: Path, _: Path) -> None:
    shutil.rmtree(store)


def _move_older_copy_in_place(store: Path, older: Path) -> None:
    for file in older.iterdir():
        file.replace(store / file.name)


def _write_older_copy_in_place(store: Path, older: Path) -> None:
    for file in (f"{DATABASE}-shm", f"{DATABASE}-wal", DATABASE):
        (store / file).write_bytes((older / file).read_bytes() if (older / file).exists() else b"")


MEDDLERS: tuple[Callable[[Path, Path], None], ...] = (
    _remove_wal,
    _replace_wal,
    _remove_shared_memory,
    _remove_database,
    _remove_folder,
    _move_older_copy_in_place,
    _write_older_copy_in_place,
)


@pytest.mark.parametrize("meddle", MEDDLERS)
async def test_a_process_whose_files_were_meddled_with_releases_nothing_from_its_next_turn_on(
    world: World, meddle: Callable[[Path, Path], None], memory_folder: Path
) -> None:
    older = memory_folder / "older"
    shutil.copytree(world.store, older)
    homeserver = world.homeserver()
    async with open_client(world.store, homeserver) as (supervisor, _):
        await send(supervisor, homeserver, BUSY, 5)
        meddle(world.store, older)
        for _ in range(3):
            with pytest.raises(StoreError):
                await supervisor.ask(RotateRoomKey(room_id=BUSY))


@pytest.mark.parametrize("meddle", [_remove_wal, _move_older_copy_in_place])
async def test_files_that_were_meddled_with_in_the_midst_of_a_turn_fail_it(
    world: World, meddle: Callable[[Path, Path], None], memory_folder: Path
) -> None:
    older = memory_folder / "older"
    shutil.copytree(world.store, older)
    homeserver = world.homeserver()

    async def halfway() -> None:
        meddle(world.store, older)

    async with open_client(world.store, homeserver, halfway=halfway) as (supervisor, _):
        with pytest.raises(StorePoisoned, match="open the store anew"):
            await supervisor.ask(RotateRoomKey(room_id=BUSY))
        with pytest.raises(StorePoisoned, match="open the store anew"):
            await send(supervisor, homeserver, SHARED, 1)


async def test_a_restored_backup_reuses_nothing_that_the_original_has_used_since(world: World) -> None:
    homeserver = world.homeserver()
    async with open_client(world.store, homeserver) as (supervisor, store):
        await back_up(store, homeserver)
        await work(supervisor, homeserver)
    shutil.rmtree(world.store)
    homeserver.backups[-1].folder.rename(world.store)
    homeserver.restored()
    for _ in range(2):
        await live(world.store, homeserver)
    homeserver.judge()


async def test_a_process_that_was_told_so_can_go_on_with_a_folder_that_was_moved_away_and_back(world: World) -> None:
    homeserver = world.homeserver()
    aside = world.folder / "aside"
    async with open_client(world.store, homeserver) as (supervisor, store):
        await send(supervisor, homeserver, BUSY, 5)
        os.rename(world.store, aside)  # noqa: PTH104 - beside its counterpart
        with pytest.raises(StoreError):
            await supervisor.ask(RotateRoomKey(room_id=BUSY))
        os.rename(aside, world.store)  # noqa: PTH104
        await send(supervisor, homeserver, BUSY, 30)
        await check(supervisor, store, homeserver)
    homeserver.judge()
