"""Closing: the log is taken in, if that is safe, and nothing works any more."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from olmstate.messages import StorePoisoned
from olmstate.storage import START, SqliteStore, Table, Turnstile, open_store
from olmstate.storage.lock.line import PLACES
from olmstate.storage.sqlite.connection import connect
from olmstate.storage.sqlite.store import CLOSE_SECONDS
from tests.storage.handles import (
    ALICE,
    DEVICE,
    KEY,
    PARTITION,
    Handles,
    descriptors,
    device,
    put,
    refuse,
    values,
)


async def test_closing_takes_the_log_in_and_leaves_it_empty(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))
    assert (stores.folder / "olmstate.sqlite-wal").stat().st_size > 0

    await store.aclose()

    assert 0 == (stores.folder / "olmstate.sqlite-wal").stat().st_size
    assert {"olmstate.sqlite", "olmstate.sqlite-wal", "olmstate.sqlite-shm", "lock", *PLACES} == {
        path.name for path in stores.folder.iterdir()
    }


async def test_closing_again_does_nothing(stores: Handles) -> None:
    store = await stores.open()
    await store.aclose()

    await store.aclose()


async def test_one_handle_s_end_is_not_another_s(stores: Handles) -> None:
    store, other = await stores.open(), await stores.open()
    await put(store, device(1))

    await store.aclose()

    assert 2 == await put(other, device(2))
    assert 2 == len(await values(other))


async def test_a_closed_handle_says_so_to_every_use(stores: Handles, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await stores.open()
    await store.aclose()

    def wrapping() -> object:
        return store.wrapping()

    uses: list[Callable[[], object]] = [
        store.changed,
        lambda: store.changes(0),
        store.info,
        store.counts,
        wrapping,
        lambda: store.key(Table.DEVICES, "@alice:example.org"),
        lambda: store.pickle_key,
    ]
    for use in uses:
        with pytest.raises(StorePoisoned, match="closed"):
            use()
    for call in (
        lambda: store.read(Table.DEVICES, [PARTITION]),
        lambda: store.page(Table.DEVICES, START, 1),
        lambda: store.commit({}, 0),
        lambda: store.change_secret(KEY),
    ):
        with pytest.raises(StorePoisoned, match="closed"):
            await call()


async def test_while_another_holds_the_lock_closing_waits_a_moment_and_leaves_the_log(
    stores: Handles, autojump_clock: MockClock
) -> None:
    store = await stores.open()
    await put(store, device(1))
    holder = Turnstile(stores.folder)
    assert holder.acquire_nowait()
    began = trio.current_time()

    await store.aclose()

    assert CLOSE_SECONDS == pytest.approx(trio.current_time() - began)
    assert (stores.folder / "olmstate.sqlite-wal").stat().st_size > 0
    holder.close()
    assert [b"value"] == await values(await stores.open())


async def test_closing_while_a_task_waits_for_the_lock_lets_that_task_know(
    stores: Handles, autojump_clock: MockClock
) -> None:
    store = await stores.open()
    holder = Turnstile(stores.folder)
    assert holder.acquire_nowait()

    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await store.lock.acquire(60)

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await store.aclose()

    holder.close()


async def test_a_cancelled_close_still_closes(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))
    before = descriptors()

    with trio.CancelScope() as scope:
        scope.cancel()
        await store.aclose()

    assert 0 == (stores.folder / "olmstate.sqlite-wal").stat().st_size
    # database twice, WAL twice, WAL index of SQLite's and twice of ours (mmap keeps one of its own), eight of the lock
    assert before - 15 == descriptors()


async def test_a_handle_in_doubt_takes_no_log_in(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))
    refuse(store, "COMMIT")
    with pytest.raises(StorePoisoned):
        await put(store, device(2))
    refuse(store)

    await store.aclose()

    assert (stores.folder / "olmstate.sqlite-wal").stat().st_size > 0
    assert [b"value"] == await values(await stores.open())


async def test_a_log_that_can_not_be_taken_in_does_not_keep_a_handle_from_closing(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))
    refuse(store, "wal_checkpoint")

    await store.aclose()

    assert (stores.folder / "olmstate.sqlite-wal").stat().st_size > 0
    assert [b"value"] == await values(await stores.open())


async def test_a_backup_of_another_program_does_not_keep_a_handle_from_closing(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))
    browser = sqlite3.connect(stores.database, isolation_level=None)
    try:
        browser.execute("BEGIN")
        browser.execute("SELECT * FROM meta").fetchall()
        await store.aclose()
        assert (stores.folder / "olmstate.sqlite-wal").stat().st_size > 0
    finally:
        browser.close()


async def test_a_handle_that_was_not_unlocked_gives_nothing(stores: Handles) -> None:
    path = (await stores.open()).path
    locked = SqliteStore(path, Turnstile(path.parent), connect(path, write=True), connect(path, write=False))

    with pytest.raises(StorePoisoned, match="not unlocked"):
        locked.key(Table.DEVICES, "@alice:example.org")
    await locked.aclose()
    with pytest.raises(StorePoisoned, match="closed"):
        locked.key(Table.DEVICES, "@alice:example.org")


async def test_a_closed_handle_gives_no_keys(stores: Handles) -> None:
    store = await stores.open()
    assert 16 == len(store.key(Table.DEVICES, "@alice:example.org"))
    await store.aclose()

    with pytest.raises(StorePoisoned, match="closed"):
        store.key(Table.DEVICES, "@alice:example.org")


@pytest.mark.parametrize("at", ["the wait for the lock", "the way into a thread"])
def test_ctrl_c_while_a_store_is_closed_closes_it_all_the_same(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no shield keeps it out
    async def main() -> None:
        store = await open_store(tmp_path / "store", user_id=ALICE, device_id=DEVICE, key=KEY)

        async def be_interrupted(_: float) -> None:
            signal.raise_signal(signal.SIGINT)
            if at == "the wait for the lock":
                await trio.sleep_forever()

        monkeypatch.setattr(store.lock, "acquire", be_interrupted)
        monkeypatch.setattr(store, "_last_commit", 1e6)  # as after slow ones: closing goes into a thread
        await store.aclose()

    before = descriptors()
    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert before == descriptors()
