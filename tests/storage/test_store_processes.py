"""The store between real processes, with real signals."""

from __future__ import annotations

from pathlib import Path

import pytest

from olmstate.storage import Row, Table
from tests.storage.handles import Handles, device, put, session, values
from tests.storage.processes import peer


async def test_what_one_process_commits_another_is_told_and_reads(stores: Handles) -> None:
    store = await stores.open()
    store.changes(0)
    with peer(stores.folder) as other:
        assert other.ask("open") == "opened"
        assert not store.changed()

        assert other.ask("put 1 theirs") == "1"

        assert store.changed()
        assert {Table.DEVICES} == set(store.changes(0).partitions or {})
        assert [b"theirs"] == await values(store)
        assert f"{other.pid}" == store.info().writer.split()[0]
        await put(store, session(1), table=Table.ACCOUNT)
        assert other.ask("put 2 more") == "3"


@pytest.mark.parametrize("kills", [3])
async def test_a_killed_process_loses_nothing_that_it_was_told_is_committed_and_leaves_no_half(
    stores: Handles, kills: int
) -> None:
    for _ in range(kills):
        with peer(stores.folder) as victim:
            assert victim.ask("open") == "opened"
            victim.tell("put-for-ever")
            said = [victim.answer() for _ in range(20)] + victim.kill()
        generation, number = said[-1].split()

        store = await stores.open()

        (written,), (account,) = await values(store), await values(store, Table.ACCOUNT, b"account")
        assert written == account
        # at most one more was on the disk before it could say so
        assert int(written or b"0") - int(number) in (0, 1)
        assert store.info().generation - int(generation) == int(written or b"0") - int(number)
        await store.aclose()


@pytest.mark.usefixtures("cheap_argon2")
async def test_no_secret_is_found_in_any_file_of_a_closed_store(stores: Handles) -> None:
    passphrase, value = "correct horse battery staple", b"a very secret pickle of bytes"
    store = await stores.open(passphrase)
    rooms = [store.key(Table.OUTBOUND_GROUP_SESSIONS, f"!{number}:room.test") for number in range(50)]
    await put(store, *(Row(room, room, value) for room in rooms), table=Table.OUTBOUND_GROUP_SESSIONS)
    data_key, pickle_key = store._unlocked.data_key, store.pickle_key  # pyright: ignore[reportPrivateUsage]
    await stores.aclose()

    files = stores.file_bytes()

    assert files["olmstate.sqlite"].count(rooms[7])
    for secret in (passphrase.encode(), value, data_key, pickle_key, b"!7:", b"room.test"):
        assert [] == [name for name, content in files.items() if secret in content]


async def test_no_value_is_found_in_any_file_that_a_killed_process_left(stores: Handles) -> None:
    with peer(stores.folder) as victim:
        assert victim.ask("open") == "opened"
        assert victim.ask("put 1 a-very-secret-pickle") == "1"
        victim.kill()

    files = stores.file_bytes()

    assert device(1).key in files["olmstate.sqlite-wal"]
    assert [] == [name for name, content in files.items() if b"a-very-secret-pickle" in content]


def test_a_child_that_is_forked_is_refused_every_use_and_its_parent_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with peer(folder) as parent:
        assert parent.ask("open") == "opened"
        assert parent.ask("put 1 before") == "1"

        assert parent.ask("fork") == "allowed: , ended 0"

        assert (folder / "olmstate.sqlite-wal").stat().st_size > 0  # the child's end took nothing in
        assert parent.ask("get") == "before"
        assert parent.ask("put 2 after") == "2"
        assert parent.ask("close") == "closed"
        assert not (tmp_path / "of-a-child").exists()
    assert 0 == (folder / "olmstate.sqlite-wal").stat().st_size


def test_a_child_that_is_forked_during_a_commit_ends_without_waiting_for_it(tmp_path: Path) -> None:
    with peer(tmp_path / "store") as parent:
        assert parent.ask("open") == "opened"

        assert parent.ask("fork-in-commit") == "ended 0"

        assert parent.ask("get") == "in-a-thread"
        assert parent.ask("put 2 after") == "2"


def test_ctrl_c_during_a_commit_comes_after_it(tmp_path: Path) -> None:
    with peer(tmp_path / "store") as other:
        assert other.ask("open") == "opened"

        assert other.ask("interrupt") == "committed 1, then interrupted"

        assert other.ask("put 2 after") == "2"


def test_a_frozen_holder_makes_opening_busy_and_hurts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with peer(folder) as first, peer(folder) as second:
        assert first.ask("open") == "opened"
        first.tell("put-for-ever")
        first.answer()
        first.freeze()

        assert second.ask("open 0.1") in ("StoreBusy", "opened")  # it holds the lock most of the time

        said = first.kill()
        assert second.ask("open") == "opened"
        assert int(second.ask("get")) >= len(said)
