"""Looking: who has committed, and what."""

from __future__ import annotations

import pytest
import trio

from olmstate.messages import StorePoisoned
from olmstate.storage import Changes, Row, Store
from tests.storage.contract.engines import DEVICES, INBOUND, MESSAGES, OLM, Engine, write


async def test_a_first_look_says_how_far_the_store_is(engine: Engine, one: Store) -> None:
    assert Changes(0, {}) == await one.look(None)
    await write(one, {DEVICES: [Row(b"k", b"p", b"value")]}, 0)
    assert Changes(1, {}) == await (await engine.open()).look(None)


async def test_a_handle_is_told_of_each_commit_once(one: Store, two: Store) -> None:
    for store in (one, two):
        assert Changes(0, {}) == await store.look(0)
        assert await store.look(0) is None
    await write(one, {DEVICES: [Row(b"k", b"p", b"value")]}, 0)
    for store in (one, two):  # the one who has committed, too
        looked = await store.look(0)
        assert looked is not None
        assert (1, {DEVICES: frozenset({b"p"})}) == (looked.generation, looked.partitions)
        assert await store.look(1) is None


async def test_changes_are_told_by_table_and_partition_deletions_too(engine: Engine, one: Store) -> None:
    await write(one, {DEVICES: [Row(b"k1", b"p", b"1"), Row(b"k2", b"q", b"2")]}, 0)
    await write(one, {OLM: [Row(b"s", b"r", b"1")], INBOUND: [Row(b"i", b"i", b"1")]}, 1)
    await write(one, {DEVICES: [Row(b"k1", b"p", None)]}, 2)
    everything = {DEVICES: frozenset({b"p", b"q"}), OLM: frozenset({b"r"}), INBOUND: frozenset({b"i"})}
    later = {DEVICES: frozenset({b"p"}), OLM: frozenset({b"r"}), INBOUND: frozenset({b"i"})}
    for since, partitions in ((0, everything), (1, later), (2, {DEVICES: frozenset({b"p"})}), (3, {})):
        assert Changes(3, partitions) == await (await engine.open()).look(since)


async def test_a_commit_of_nothing_is_a_commit(one: Store, two: Store) -> None:
    await two.look(0)
    await write(one, {}, 0)
    assert Changes(1, {}) == await two.look(0)


async def test_what_nobody_caches_is_not_told(one: Store, two: Store) -> None:
    await write(one, {MESSAGES: [Row(b"hash", b"hash", b"")]}, 0)
    assert Changes(1, {}) == await two.look(0)


async def test_a_handles_own_commit_is_told_from_anothers(one: Store, two: Store) -> None:
    await write(one, {DEVICES: [Row(b"k", b"p", b"1")]}, 0)
    for store, ours in ((one, True), (two, False)):
        looked = await store.look(0)
        assert looked is not None
        assert ours == looked.ours
    await write(two, {DEVICES: [Row(b"k", b"p", b"2")]}, 1)
    looked = await one.look(0)
    assert looked is not None
    assert not looked.ours  # ours, and another's


async def test_a_store_that_went_back_is_not_trusted(one: Store) -> None:
    with pytest.raises(StorePoisoned):
        await one.look(7)
    with pytest.raises(StorePoisoned):
        await one.read(DEVICES, [b"p"])
    with pytest.raises(StorePoisoned):
        await one.look(0)


async def test_an_engine_that_can_tell_at_once_reaches_no_checkpoint(one: Store, two: Store) -> None:
    # those that answer over a socket do: this test is not for them
    ran = list[str]()

    async def beside() -> None:
        ran.append("beside")

    await write(one, {DEVICES: [Row(b"k", b"p", b"value")]}, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(beside)
        await two.look(0)
        await two.look(1)
        assert [] == ran


async def test_a_handle_that_was_announced_lives_as_far_as_others_can_see(one: Store, two: Store) -> None:
    assert one.presence.token != two.presence.token
    assert not two.presence.is_alive(one.presence.token)
    one.lock.acquire_nowait()
    assert one.presence.token == one.presence.announce()
    one.lock.release()
    assert two.presence.is_alive(one.presence.token)
    two.lock.acquire_nowait()
    two.presence.sweep()
    two.lock.release()
    assert two.presence.is_alive(one.presence.token)
