"""Kill a process at each step of what it does to a store's files, and see what the next one finds.

    python crash_points.py ACTION STRIDE FOLDER

A step is a call that Python makes to the operating system for a file, or a statement that SQLite runs. The process is
forked for each, so that nothing but the fork is paid. With a stride, only every so-manieth step. Prints how many steps
were killed at.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import trio

from olmstate.messages import StoreUnavailable
from olmstate.storage import START, Table, backup, open_store
from olmstate.storage.sqlite.schema import newest
from tests.recordings.stores.recorded import unpack
from tests.storage.handles import ALICE, DEVICE, KEY, device, put, session, values

STEPS = {"open", "os.mkdir", "os.chmod", "os.remove", "os.rename"}


def die_at(step: int) -> None:
    """From now on, count steps, and get killed at that one."""
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, _: tuple[Any, ...]) -> None:
        if event in STEPS:
            count()

    connect = sqlite3.connect

    def connect_and_watch(*arguments: Any, **keywords: Any) -> sqlite3.Connection:  # noqa: ANN401 - as they come
        connection: sqlite3.Connection = connect(*arguments, **keywords)
        connection.set_trace_callback(lambda _: count())
        return connection

    sys.addaudithook(watch)
    setattr(sqlite3, "connect", connect_and_watch)  # noqa: B010 - or it would have to have all of its overloads


def in_child(act: Callable[[], object]) -> bool:
    """Whether a forked child does it without being killed; anything else that ends it ends this too."""
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        if status not in (0, signal.SIGKILL):
            sys.exit(f"a child ended with {status}")
        return status == 0
    try:
        act()
    except BaseException:  # noqa: BLE001 - whatever it is, no child may go on as its parent
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


class Action:
    """What is killed, from what it starts, and what must be true afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def prepare(self) -> None:
        """Make what is there before."""

    async def act(self) -> None:
        """Do it."""

    async def check(self) -> None:
        """See what is left. Opening must work."""

    def act_and_die_at(self, step: int) -> None:
        """Do it, up to that step."""
        die_at(step)
        trio.run(self.act)


class Create(Action):
    """A store is made."""

    async def act(self) -> None:
        await (await open_store(self.folder, user_id=ALICE, device_id=DEVICE, key=KEY)).aclose()

    async def check(self) -> None:
        store = await open_store(self.folder, user_id=ALICE, device_id=DEVICE, key=KEY)
        assert await put(store, device(1)) == 1
        await store.aclose()
        assert not list(self.folder.glob("*partial*"))


class Migrate(Action):
    """A store of the first schema becomes one of the newest."""

    async def prepare(self) -> None:
        unpack(1, self.folder)

    async def act(self) -> None:
        await (await open_store(self.folder, key=KEY)).aclose()

    async def check(self) -> None:
        store = await open_store(self.folder, key=KEY)
        assert store.info().schema == newest()
        assert len(await store.page(Table.OLM_SESSIONS, START, 100)) == 11
        await put(store, device(100))
        await store.aclose()


class Backup(Action):
    """A backup is written."""

    async def prepare(self) -> None:
        store = await open_store(self.folder, user_id=ALICE, device_id=DEVICE, key=KEY)
        await put(store, *(device(number) for number in range(100)))
        await put(store, session(1), table=Table.OUTBOUND_GROUP_SESSIONS)
        await store.aclose()

    async def act(self) -> None:
        store = await open_store(self.folder, key=KEY)
        await backup(store, self.folder / "backup")
        await store.aclose()

    async def check(self) -> None:
        target = self.folder / "backup"
        store = await open_store(self.folder, key=KEY)
        with contextlib.suppress(StoreUnavailable):  # it was finished
            await backup(store, target)
        restored = await open_store(target, key=KEY)
        assert restored.restored_generation == 2
        assert len(await values(restored)) == 100
        assert await values(restored, Table.OUTBOUND_GROUP_SESSIONS, session(1).key) == []
        assert not list(target.glob("*partial*"))
        await restored.aclose()
        await store.aclose()


def main() -> None:
    """Kill at one step after the other until there is none left."""
    import_module("sqlite_utils")  # or each child would import it, and the files of that would be steps
    name, folder, stride = sys.argv[1], Path(sys.argv[3]), int(sys.argv[2])
    actions: dict[str, type[Action]] = {"create": Create, "migrate": Migrate, "backup": Backup}
    step, killed, finished = 1 - stride, -1, False
    while not finished:
        step += stride
        killed += 1
        action = actions[name](folder / f"{step}")
        in_child(partial(trio.run, action.prepare))
        finished = in_child(partial(action.act_and_die_at, step))
        if not in_child(partial(trio.run, action.check)):
            sys.exit(f"step {step}: killed where nothing kills")
        shutil.rmtree(action.folder)
    print(killed)


if __name__ == "__main__":
    main()
