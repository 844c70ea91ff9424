"""Another key or passphrase: one row is written, and nothing of the old one is left."""

from __future__ import annotations

import os

import pytest
import trio
from trio.testing import MockClock

from olmstate.messages import StoreBusy, StorePoisoned, WrongKey
from tests.storage.handles import (
    KEY,
    Handles,
    device,
    put,
    refuse,
    values,
)


@pytest.mark.usefixtures("cheap_argon2")
async def test_after_a_change_of_passphrase_only_the_new_one_opens_and_open_handles_go_on(stores: Handles) -> None:
    store, other = await stores.open("old"), await stores.open("old")
    await put(store, device(1))

    await store.change_secret("new")

    await put(other, device(2))
    assert 2 == len(await values(store))
    with pytest.raises(WrongKey):
        await stores.open("old")
    assert 2 == len(await values(await stores.open("new")))


@pytest.mark.usefixtures("cheap_argon2")
async def test_a_key_may_become_a_passphrase_and_a_passphrase_a_key(stores: Handles) -> None:
    store = await stores.open(KEY)

    await store.change_secret("a passphrase")
    assert "passphrase" == (await stores.open("a passphrase")).info().sealed
    await store.change_secret(bytes(32))
    assert "key" == (await stores.open(bytes(32))).info().sealed


@pytest.mark.usefixtures("cheap_argon2")
async def test_a_change_of_passphrase_writes_one_row_and_leaves_nothing_of_the_old_one(stores: Handles) -> None:
    store = await stores.open("old")
    await put(store, device(1))
    old = store.wrapping()
    before = store.changes(0)
    (sealed,) = store._reader.execute("SELECT value FROM devices").fetchone()  # pyright: ignore[reportPrivateUsage]

    await store.change_secret("new")

    changes = store.changes(before.generation)
    assert (before.generation + 1, {}, False) == (changes.generation, changes.partitions, changes.ours)
    assert (sealed,) == store._reader.execute("SELECT value FROM devices").fetchone()  # pyright: ignore[reportPrivateUsage]
    await stores.aclose()
    for content in stores.file_bytes().values():
        assert old.data_key not in content
        assert old.salt not in content


@pytest.mark.parametrize(
    ("key", "secret"), [(KEY, None), (None, KEY), (None, "a passphrase"), (KEY, b"short"), (KEY, "")]
)
async def test_a_store_stays_sealed_or_not_for_its_whole_life(
    stores: Handles, key: bytes | None, secret: bytes | str | None
) -> None:
    store = await stores.open(key)

    with pytest.raises(WrongKey):
        await store.change_secret(secret)

    await (await stores.open(key)).aclose()


async def test_a_store_without_a_key_may_be_given_none_again(stores: Handles) -> None:
    store = await stores.open(None)

    await store.change_secret(None)

    assert "none" == store.info().sealed


async def test_a_change_of_key_waits_for_who_takes_a_turn_with_the_same_handle(
    stores: Handles, autojump_clock: MockClock
) -> None:
    store = await stores.open()
    await store.lock.acquire(5)

    with pytest.raises(StoreBusy) as busy:
        await store.change_secret(bytes(32), lock_timeout=1)
    assert os.getpid() == busy.value.holder_pid
    assert store.lock.held

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: store.change_secret(bytes(32), lock_timeout=60))
        await trio.sleep(1)
        store.lock.release()
    await (await stores.open(bytes(32))).aclose()


async def test_a_change_of_key_that_may_have_failed_poisons(stores: Handles) -> None:
    store = await stores.open()
    refuse(store, "COMMIT")

    with pytest.raises(StorePoisoned, match="unknown outcome"):
        await store.change_secret(bytes(32))

    await (await stores.open(KEY)).aclose()


async def test_a_change_of_key_that_another_has_committed_past_poisons(stores: Handles) -> None:
    store = await stores.open()

    def commit_past(statement: str) -> None:
        if statement == "BEGIN IMMEDIATE":
            stores.edit("UPDATE meta SET generation = generation + 1")

    store._writer.set_trace_callback(commit_past)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(StorePoisoned, match="another has committed"):
        await store.change_secret(bytes(32))

    with pytest.raises(StorePoisoned, match="another has committed"):
        store.changed()
    await (await stores.open(KEY)).aclose()


async def test_a_change_that_was_committed_is_no_error_though_the_log_can_not_be_taken_in(stores: Handles) -> None:
    store = await stores.open(KEY)
    refuse(store, "wal_checkpoint")

    await store.change_secret(bytes(32))

    with pytest.raises(WrongKey):
        await stores.open(KEY)
    await stores.open(bytes(32))
