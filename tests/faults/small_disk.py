"""What a store does on a disk that is full, or read-only.

To be run where mounting is nobody else's business:

    unshare --mount python small_disk.py FOLDER SCENARIO

FOLDER is empty; a small disk is mounted in it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

import trio

from olmstate.messages import StoreError, StoreFull, StoreUnavailable
from olmstate.storage import backup, open_store
from tests.faults.client import (
    BUSY,
    QUIET,
    SHARED,
    Asking,
    check,
    live,
    look,
    open_client,
    send,
    share,
    sync,
    upload_keys,
    work,
    write_to_devices,
)
from tests.faults.homeserver import ALICE, ALICE_DEVICE, Homeserver

KEY = bytes(range(32))
BYTES = 4 << 20
PAGE = 4096

Step: TypeAlias = Callable[[Asking, Homeserver], Awaitable[None]]


class Disk:
    """A small disk, for as long as this process's mount namespace lives."""

    def __init__(self, folder: Path) -> None:
        """Mount it."""
        self.folder = folder
        folder.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={BYTES},mode=0700", "small")

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, str(self.folder)], check=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self, pages_left: int = 0) -> None:
        """Leave so many pages free."""
        self.empty()
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(PAGE))
            except OSError:
                pass
            ballast.truncate(max(0, ballast.tell() // PAGE - pages_left) * PAGE)

    def empty(self) -> None:
        """Leave nothing but what others have written."""
        self._ballast.unlink(missing_ok=True)

    def make_read_only(self) -> None:
        """Until `make_writable`."""
        self._mount("-o", "remount,ro")

    def make_writable(self) -> None:
        """Again."""
        self._mount("-o", "remount,rw")


async def full(disk: Disk, homeserver: Homeserver) -> None:
    """The disk fills up while the store is open, with more or less room left, and is freed again."""
    store = disk.folder / "store"
    await live(store, homeserver)
    refused = 0
    async with open_client(store, homeserver) as (supervisor, opened):
        for pages_left in (0, 0, 1, 2, 3, 5, 8, 13, 21, 34):
            disk.fill(pages_left)
            refused += await _try_everything(supervisor, homeserver)
            await check(supervisor, opened, homeserver)
        disk.empty()
        await work(supervisor, homeserver)
        await check(supervisor, opened, homeserver)
    assert refused, "the disk was never full"
    disk.fill()
    await look(store, homeserver)
    disk.empty()
    await live(store, homeserver)


STEPS: Final[tuple[Step, ...]] = (
    upload_keys,
    sync,
    lambda supervisor, homeserver: share(supervisor, homeserver, QUIET),
    lambda supervisor, homeserver: send(supervisor, homeserver, BUSY, 12),
    lambda supervisor, homeserver: send(supervisor, homeserver, QUIET, 12),
    write_to_devices,
)


async def _try_everything(supervisor: Asking, homeserver: Homeserver) -> int:
    refused = 0
    for step in STEPS:
        try:
            await step(supervisor, homeserver)
        except StoreFull:
            refused += 1
    return refused


async def full_of_its_own_log(disk: Disk, homeserver: Homeserver) -> None:
    """The disk is full, but what fills it is in part what the store has written and need not keep."""
    store = disk.folder / "store"
    await live(store, homeserver)
    async with open_client(store, homeserver) as (supervisor, opened):
        await send(supervisor, homeserver, SHARED, 200)
        disk.fill()
        await send(supervisor, homeserver, SHARED, 1000)
        await check(supervisor, opened, homeserver)


async def full_at_open(disk: Disk, homeserver: Homeserver) -> None:
    """A store is made, opened and backed up with no room, or hardly any."""
    store, made = disk.folder / "store", 0
    for pages_left in range(0, 240, 6):
        disk.fill(pages_left)
        try:
            await look(store, homeserver)
        except StoreFull:
            assert not made, "what could be opened with less room can't be with more"
        else:
            made += 1
    assert made, "there was never room enough"
    disk.empty()
    await live(store, homeserver)
    opened = await open_store(store, user_id=ALICE, device_id=ALICE_DEVICE, key=homeserver.secrets[-1])
    for pages_left in range(0, 100, 10):
        disk.fill(pages_left)
        folder = disk.folder / f"backup {pages_left}"
        try:
            await backup(opened, folder)
        except StoreFull:
            assert not any(path.stat().st_size > PAGE for path in folder.glob("*")), "half a backup was left"
    await opened.aclose()
    disk.empty()
    await live(store, homeserver)


async def read_only(disk: Disk, homeserver: Homeserver) -> None:
    """The disk is mounted read-only, and writable again."""
    store = disk.folder / "store"
    await live(store, homeserver)
    disk.make_read_only()
    for _ in range(2):
        try:
            await look(store, homeserver)
        except StoreUnavailable:
            continue
        raise AssertionError("a store was opened that can't be written")
    disk.make_writable()
    await live(store, homeserver)


SCENARIOS = {scenario.__name__: scenario for scenario in (full, full_of_its_own_log, full_at_open, read_only)}


def main() -> None:
    """Run one scenario."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    homeserver = Homeserver.new(folder / "journal", KEY)
    disk = Disk(folder / "disk")
    try:
        trio.run(SCENARIOS[name], disk, homeserver)
    except StoreError as error:
        raise AssertionError("a disk's trouble outlived it") from error
    homeserver.judge()


if __name__ == "__main__":
    main()
