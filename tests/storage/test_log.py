"""The log of a store that stays open: earlier states don't stay in it for ever, and nobody waits for that."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from trio.testing import MockClock

from olmstate.storage import SqliteStore
from olmstate.storage.sqlite.store import TRUNCATE_AGAIN_SECONDS, TRUNCATE_SECONDS
from tests.storage.handles import Handles, device, put, values

EARLIER = b"an earlier state of a ratchet"


@pytest.fixture
async def store(stores: Handles) -> SqliteStore:
    """With values that can be looked for in its files."""
    return await stores.open(None)


def log(stores: Handles) -> bytes:
    # SQLite has no locks on this file, so that closing it does no harm
    return Path(f"{stores.database}-wal").read_bytes()


async def test_what_was_written_over_leaves_the_log_after_some_minutes(
    stores: Handles, store: SqliteStore, mock_clock: MockClock
) -> None:
    # the oldest of twenty states of a session that were left there read 19 messages again
    await put(store, device(1, EARLIER))
    await put(store, device(1, b"a later one"))
    mock_clock.jump(TRUNCATE_SECONDS - 1)
    await put(store, device(2))
    assert EARLIER in log(stores)

    mock_clock.jump(1)
    await put(store, device(2, b"again"))
    assert b"" == log(stores)
    await put(store, device(1, b"the present one"))
    assert EARLIER not in log(stores)
    assert [b"the present one", b"again"] == await values(store)

    await stores.aclose()
    assert EARLIER not in stores.database.read_bytes()


async def test_a_reader_of_an_old_snapshot_holds_up_no_commit_and_the_log_is_cut_once_it_has_gone(
    stores: Handles, store: SqliteStore, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olmstate.storage.sqlite.store.BUSY_SECONDS", 1e6)  # it would be waited for
    await put(store, device(1, EARLIER))
    with closing(sqlite3.connect(stores.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchall()
        await put(store, device(1, b"a later one"))
        mock_clock.jump(TRUNCATE_SECONDS)
        await put(store, device(2))
        assert EARLIER in log(stores)
        reader.execute("COMMIT")
    await put(store, device(2, b"again"))
    assert EARLIER in log(stores)  # it was tried just now
    mock_clock.jump(TRUNCATE_AGAIN_SECONDS)
    await put(store, device(2, b"and again"))
    assert b"" == log(stores)


async def test_several_handles_cut_the_log_without_losing_anything(stores: Handles, mock_clock: MockClock) -> None:
    handles = [await stores.open(None) for _ in range(3)]
    for round_ in range(4):
        for number, handle in enumerate(handles):
            await put(handle, device(number, b"%d" % round_))
            assert round_ * 3 + number + 1 == handle.changes(None).generation
        mock_clock.jump(TRUNCATE_SECONDS / 2)
    for handle in handles:
        assert [b"3", b"3", b"3"] == await values(handle)
