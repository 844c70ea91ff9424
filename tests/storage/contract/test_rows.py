"""Rows: what is committed is read by every handle, and nothing else."""

from __future__ import annotations

import pytest

from olmstate.messages import StorePoisoned
from olmstate.storage import START, Fenced, Row, Store
from tests.storage.contract.engines import DEVICES, INBOUND, MESSAGES, OLM, Engine, write


async def test_what_is_committed_is_read_by_partition_in_every_handle(one: Store, two: Store) -> None:
    rows = [Row(b"k1", b"p", b"1"), Row(b"k2", b"p", b"2"), Row(b"k3", b"q", b"3")]
    assert 1 == await write(one, {DEVICES: rows}, 0)
    for store in (one, two):
        found = await store.read(DEVICES, [b"p", b"nobody"])
        assert {b"p", b"nobody"} == set(found)
        assert [] == found[b"nobody"]
        assert {Row(b"k1", b"p", b"1", 1), Row(b"k2", b"p", b"2", 1)} == set(found[b"p"])


async def test_a_handle_that_is_opened_later_reads_what_was_committed_before(engine: Engine, one: Store) -> None:
    await write(one, {INBOUND: [Row(b"k", b"k", b"value")]}, 0)
    assert {b"k": [Row(b"k", b"k", b"value", 1)]} == await (await engine.open()).read(INBOUND, [b"k"])


async def test_a_row_is_replaced_or_deleted_by_its_key(one: Store, two: Store) -> None:
    await write(one, {DEVICES: [Row(b"k1", b"p", b"1"), Row(b"k2", b"p", b"2")]}, 0)
    await write(two, {DEVICES: [Row(b"k1", b"p", b"new"), Row(b"k2", b"p", None)]}, 1)
    assert {b"p": [Row(b"k1", b"p", b"new", 2)]} == await one.read(DEVICES, [b"p"])
    assert [Row(b"k1", b"p", b"new", 2)] == await one.page(DEVICES, START, 10)
    await write(one, {DEVICES: [Row(b"k2", b"p", b"back"), Row(b"never", b"p", None)]}, 2)
    assert 2 == len((await two.read(DEVICES, [b"p"]))[b"p"])


async def test_of_two_rows_with_one_key_in_a_commit_the_last_counts(one: Store, two: Store) -> None:
    await write(one, {OLM: [Row(b"k", b"p", None), Row(b"k", b"p", b"again")]}, 0)
    assert {b"p": [Row(b"k", b"p", b"again", 1)]} == await two.read(OLM, [b"p"])


async def test_in_a_partitioned_table_a_key_in_another_partition_is_another_row(one: Store, two: Store) -> None:
    await write(one, {OLM: [Row(b"k", b"p", b"1"), Row(b"k", b"q", b"2")]}, 0)
    assert {b"p": [Row(b"k", b"p", b"1", 1)], b"q": [Row(b"k", b"q", b"2", 1)]} == await two.read(OLM, [b"p", b"q"])


async def test_an_empty_value_is_a_value(one: Store, two: Store) -> None:
    await write(one, {DEVICES: [Row(b"k", b"p", b"")]}, 0)
    assert {b"p": [Row(b"k", b"p", b"", 1)]} == await two.read(DEVICES, [b"p"])


async def test_a_table_of_keys_alone_has_a_key_or_not(one: Store, two: Store) -> None:
    await write(one, {MESSAGES: [Row(b"hash", b"hash", b""), Row(b"hash", b"hash", b"")]}, 0)
    assert {b"hash": [Row(b"hash", b"hash", b"", 0)], b"other": []} == await two.read(MESSAGES, [b"hash", b"other"])


async def test_pages_go_by_partition_and_key(one: Store, two: Store) -> None:
    keys = [b"c", b"a", b"d", b"b"]
    await write(one, {INBOUND: [Row(key, key, b"value") for key in keys]}, 0)
    assert [b"a", b"b"] == [row.key for row in await two.page(INBOUND, START, 2)]
    assert [b"c", b"d"] == [row.key for row in await two.page(INBOUND, (b"b", b"b"), 9)]
    assert [] == await two.page(INBOUND, (b"d", b"d"), 9)
    assert [] == await two.page(DEVICES, START, 9)
    await write(one, {DEVICES: [Row(b"1", b"q", b""), Row(b"2", b"p", b""), Row(b"1", b"p", b"")]}, 1)
    assert [(b"p", b"1"), (b"p", b"2")] == [(row.partition, row.key) for row in await two.page(DEVICES, START, 2)]
    assert [(b"q", b"1")] == [(row.partition, row.key) for row in await two.page(DEVICES, (b"p", b"2"), 2)]


# --- the fence ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [0, 2])
async def test_a_commit_that_derives_from_another_generation_writes_nothing(one: Store, two: Store, seen: int) -> None:
    await write(one, {DEVICES: [Row(b"k", b"p", b"theirs")]}, 0)
    with pytest.raises(Fenced):
        await write(two, {DEVICES: [Row(b"k", b"p", b"ours")]}, seen)
    assert {b"p": [Row(b"k", b"p", b"theirs", 1)]} == await two.read(DEVICES, [b"p"])
    looked = await two.look(0)
    assert looked is not None
    assert 1 == looked.generation


async def test_a_commit_without_the_lock_writes_nothing(one: Store, two: Store) -> None:
    two.lock.acquire_nowait()
    with pytest.raises(StorePoisoned):
        await one.commit({DEVICES: [Row(b"k", b"p", b"value")]}, 0)
    looked = await two.look(0)
    assert looked is not None
    assert 0 == looked.generation
    two.lock.release()


# --- keys ---------------------------------------------------------------------------------------------------


async def test_keys_are_the_same_in_every_handle_and_differ_by_table_and_parts(one: Store, two: Store) -> None:
    assert one.key(DEVICES, "a", "b") == two.key(DEVICES, "a", "b")
    keys = {one.key(DEVICES, "ab"), one.key(OLM, "ab"), one.key(DEVICES, "a", "b"), one.key(DEVICES, "b", "a")}
    assert 4 == len(keys)
    assert (32, one.pickle_key) == (len(one.pickle_key), two.pickle_key)
    assert 0 == one.restored_generation
