"""What takes long runs in a thread, where neither a cancellation nor a close can cut it in two."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from olmstate.messages import StorePoisoned, StoreUnavailable
from olmstate.storage import SqliteStore, Table, backup
from olmstate.storage.threads import MOST_DERIVATIONS, in_thread
from tests.storage.handles import (
    PARTITION,
    Handles,
    descriptors,
    device,
    held_at,
    put,
    refuse,
    values,
)


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits of any duration run in a thread."""
    monkeypatch.setattr("olmstate.storage.sqlite.store.SLOW_COMMIT", -1.0)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """None can be started, as when the user has as many as he may."""

    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", refuse)


@pytest.mark.usefixtures("in_threads")
async def test_while_a_commit_is_in_a_thread_reads_go_on_and_see_what_was_committed_before(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1, b"old"))
    store.changes(0)

    with held_at(store, "COMMIT") as (reached, go_on):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, store, device(1, b"new"))
            await trio.to_thread.run_sync(reached.wait)
            assert [b"old"] == await values(store)
            assert not store.changed()
            assert 1 == store.info().generation
            go_on.set()

    assert store.changed()
    assert [b"new"] == await values(store)


@pytest.mark.usefixtures("in_threads")
async def test_a_cancellation_does_not_reach_a_commit(stores: Handles) -> None:
    store = await stores.open()
    await store.lock.acquire(5)

    with trio.CancelScope() as scope:
        scope.cancel()
        assert 1 == await store.commit({Table.DEVICES: [device(1)]}, 0)
    assert not scope.cancelled_caught

    with held_at(store, "COMMIT") as (reached, go_on), trio.CancelScope() as scope:

        async def cancel() -> None:
            await trio.to_thread.run_sync(reached.wait)
            scope.cancel()
            go_on.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            assert 2 == await store.commit({Table.DEVICES: [device(2)]}, 1)

    store.lock.release()
    assert 2 == len(await values(store))


@pytest.mark.usefixtures("in_threads")
async def test_closing_waits_for_a_commit_that_is_in_a_thread(stores: Handles) -> None:
    store = await stores.open()

    async def take_a_turn() -> None:
        await store.lock.acquire(5)
        assert 1 == await store.commit({Table.DEVICES: [device(1)]}, 0)

    with held_at(store, "COMMIT") as (reached, go_on):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_a_turn)
            await trio.to_thread.run_sync(reached.wait)
            nursery.start_soon(store.aclose)
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()

    assert [b"value"] == await values(await stores.open())


async def test_a_commit_of_many_rows_does_not_stop_the_event_loop(stores: Handles) -> None:
    store = await stores.open()
    loop, threads = threading.get_ident(), set[int]()
    store._writer.set_trace_callback(lambda _: threads.add(threading.get_ident()))  # pyright: ignore[reportPrivateUsage]

    await put(store, *(device(number) for number in range(1_000)))

    assert loop not in threads
    assert 1_000 == len(await values(store))


async def test_the_threads_of_the_user_s_program_may_all_be_taken(
    stores: Handles, in_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await stores.open()
    limiter = trio.to_thread.current_default_thread_limiter()
    monkeypatch.setattr(limiter, "total_tokens", 1)
    limiter.acquire_on_behalf_of_nowait("the user's program")
    try:
        assert 1 == await put(store, device(1))
    finally:
        limiter.release_on_behalf_of("the user's program")


@pytest.mark.usefixtures("in_threads", "no_threads")
async def test_where_no_thread_can_be_started_commits_are_made_all_the_same(stores: Handles) -> None:
    store, other = await stores.open(), await stores.open()

    assert 1 == await put(store, device(1))
    assert 2 == await put(store, device(2))

    assert [b"value", b"value"] == await values(other)


@pytest.mark.usefixtures("in_threads", "no_threads")
async def test_where_no_thread_can_be_started_closing_really_closes(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))
    before = descriptors()

    await store.aclose()

    assert descriptors() < before
    assert 0 == (stores.folder / "olmstate.sqlite-wal").stat().st_size


@pytest.mark.usefixtures("in_threads")
async def test_an_error_of_what_runs_in_a_thread_does_not_make_it_run_again(stores: Handles) -> None:
    store = await stores.open()
    runs: list[str] = []

    def fail() -> None:
        runs.append("run")
        raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        await store._run(fail, 0)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(RuntimeError, match="of its own"):
        await in_thread(fail)

    assert ["run", "run"] == runs


@pytest.mark.usefixtures("no_threads")
async def test_where_no_thread_can_be_started_what_needs_one_is_unavailable(stores: Handles, tmp_path: Path) -> None:
    store = await stores.open()

    with pytest.raises(StoreUnavailable, match="new thread"):
        await store.change_secret("a passphrase")
    with pytest.raises(StoreUnavailable, match="new thread"):
        await backup(store, tmp_path / "backup")
    with pytest.raises(StoreUnavailable, match="new thread"):
        await Handles(tmp_path / "other").open("a passphrase")

    assert 1 == await put(store, device(1))
    assert not (tmp_path / "backup" / "olmstate.sqlite").exists()


async def test_the_write_ahead_log_is_taken_into_the_database_now_and_then(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.storage.sqlite.store.CHECKPOINT_PAGES", 20)
    store = await stores.open()
    wal, largest = stores.folder / "olmstate.sqlite-wal", 0

    for number in range(100):
        await put(store, device(number, os.urandom(1_000)))
        largest = max(largest, wal.stat().st_size)

    assert largest < 50 * 4_120
    assert stores.database.stat().st_size > 100_000


async def test_what_others_have_written_counts_from_the_first_commit(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = await stores.open(), await stores.open()
    await put(store, *(device(number, os.urandom(4_000)) for number in range(50)))
    monkeypatch.setattr("olmstate.storage.sqlite.store.CHECKPOINT_PAGES", 50)

    await put(other, device(1))

    assert other._wal_index.log_pages() == 0  # pyright: ignore[reportPrivateUsage]


async def test_a_log_that_somebody_still_reads_is_tried_again_only_when_it_has_grown(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.storage.sqlite.store.CHECKPOINT_PAGES", 20)
    store = await stores.open()
    await put(store, device(1))
    checkpoints = list[str]()

    def trace(statement: str) -> None:
        if "wal_checkpoint" in statement:
            checkpoints.append(statement)

    store._writer.set_trace_callback(trace)  # pyright: ignore[reportPrivateUsage]
    with closing(sqlite3.connect(stores.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchall()
        for number in range(30):
            await put(store, device(number, os.urandom(1_000)))
        held_up = len(checkpoints)
        reader.execute("ROLLBACK")
    for number in range(30):
        await put(store, device(number, os.urandom(1_000)))

    assert 1 <= held_up < 15
    assert store._wal_index.log_pages() < 40  # pyright: ignore[reportPrivateUsage]


async def test_a_log_that_can_not_be_taken_in_poisons_after_the_commit_was_answered(
    stores: Handles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.storage.sqlite.store.CHECKPOINT_PAGES", 1)
    store, other = await stores.open(), await stores.open()
    refuse(store, "wal_checkpoint")

    assert 1 == await put(store, device(1))

    with pytest.raises(StorePoisoned, match="write-ahead log"):
        store.changed()
    assert [b"value"] == await values(other)


async def test_handles_in_one_process_take_turns(stores: Handles) -> None:
    handles = [await stores.open() for _ in range(3)]

    async def count(store: SqliteStore) -> None:
        for _ in range(20):
            await store.lock.acquire(60)
            generation = store.info().generation
            (row,) = (await store.read(Table.DEVICES, [PARTITION]))[PARTITION] or [device(1, b"0")]
            assert row.value is not None
            await store.commit({Table.DEVICES: [device(1, b"%d" % (int(row.value) + 1))]}, generation)
            store.lock.release()
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for store in handles:
            nursery.start_soon(count, store)

    assert [b"60"] == await values(handles[0])


@pytest.mark.usefixtures("cheap_argon2")
async def test_a_passphrase_opens_a_store_though_all_of_the_users_threads_are_taken(stores: Handles) -> None:
    # it waited for ever, where those threads wait for what comes after opening
    go_on = threading.Event()
    taken = trio.to_thread.current_default_thread_limiter()
    async with trio.open_nursery() as nursery:
        for _ in range(int(taken.total_tokens)):
            nursery.start_soon(trio.to_thread.run_sync, lambda: go_on.wait())  # noqa: PLW0108 - mypy
        await trio.testing.wait_all_tasks_blocked()
        assert 0 == taken.available_tokens
        store = await stores.open("passphrase")
        await put(store, device(1))
        await store.change_secret("another")
        await backup(store, stores.folder / "backup")
        go_on.set()


@pytest.mark.usefixtures("cheap_argon2")
async def test_only_so_many_keys_are_derived_at_once(stores: Handles) -> None:
    await (await stores.open("passphrase")).aclose()
    running, most, lock = 0, 0, threading.Lock()

    def derive() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait(30)
        with lock:
            running -= 1

    barrier = threading.Barrier(MOST_DERIVATIONS)
    async with trio.open_nursery() as nursery:
        for _ in range(3 * MOST_DERIVATIONS):
            nursery.start_soon(in_thread, derive)
    assert MOST_DERIVATIONS == most
