"""Another program holds SQLite's write lock, without ours: whoever waits for it lets the event loop go on.

The outsider lets go when a task of the same event loop tells it to. If that loop stood still instead, SQLite would have
given up by then.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from olmstate.messages import StoreBusy
from olmstate.storage import open_store
from olmstate.storage.sqlite.sqlite_errors import BUSY_SECONDS
from tests.recordings.stores.recorded import unpack
from tests.storage.handles import KEY, Handles, device, put

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@contextmanager
def held_by_an_outsider(database: Path) -> Generator[Callable[[], None]]:
    """SQLite's write lock, in a process that knows nothing of ours; calling what comes lets it go."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as outsider:
        assert outsider.stdin is not None
        assert outsider.stdout is not None
        assert "held\n" == outsider.stdout.readline()

        def let_go() -> None:
            outsider.communicate("\n")

        try:
            yield let_go
        finally:
            outsider.kill()


async def _while_it_is_held(database: Path, act: Callable[[], Awaitable[object]]) -> None:
    """Begin ``act``, and have another task let it go on."""
    with held_by_an_outsider(database) as let_go:
        begun = trio.Event()

        async def let_go_soon() -> None:
            await begun.wait()
            await trio.sleep(BUSY_SECONDS / 10)
            let_go()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_go_soon)
            await trio.testing.wait_all_tasks_blocked()
            begun.set()
            await act()


@pytest.mark.parametrize("schema", [1, 2])  # it is migrated, and learns what it says of itself
async def test_an_earlier_versions_store_is_opened_once_an_outsider_lets_go(schema: int, tmp_path: Path) -> None:
    unpack(schema, tmp_path / "store")

    async def open_and_close() -> None:
        await (await open_store(tmp_path / "store", key=KEY)).aclose()

    await _while_it_is_held(tmp_path / "store" / "olmstate.sqlite", open_and_close)


async def test_opening_gives_up_on_an_outsider_who_does_not_let_go(tmp_path: Path) -> None:
    unpack(1, tmp_path / "store")
    with held_by_an_outsider(tmp_path / "store" / "olmstate.sqlite"), pytest.raises(StoreBusy):
        await open_store(tmp_path / "store", key=KEY)


async def test_who_is_cancelled_does_not_wait_for_an_outsider(tmp_path: Path) -> None:
    unpack(1, tmp_path / "store")
    with held_by_an_outsider(tmp_path / "store" / "olmstate.sqlite"), trio.move_on_after(0.01) as scope:
        await open_store(tmp_path / "store", key=KEY)
    assert scope.cancelled_caught


async def test_others_go_on_while_a_store_is_closed_beside_an_outsider(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))
    store._last_commit = 0.0  # pyright: ignore[reportPrivateUsage] - as it is where the disk is quick
    turns = 0
    before: list[int] = []
    store._writer.set_trace_callback(lambda sql: before.append(turns) if "wal_checkpoint" in sql else None)  # pyright: ignore[reportPrivateUsage]

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    with held_by_an_outsider(stores.database):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_turns)
            await store.aclose()
            nursery.cancel_scope.cancel()
    assert turns > before[-1] + 1  # of which closing may have one of its own
