"""The store in memory keeps the promises of the one on disk: the same tests run on both, and random programs agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.actors.testing import DEVICE, USER, Faults, MemoryDisk, MemoryStore, Operation, Step, random_latency
from olmstate.messages import StoreBusy, StoreFull, StorePoisoned
from olmstate.storage import START, Changes, Fenced, Row, Rows, Store, Table, open_store

DEVICES, OLM, INBOUND = Table.DEVICES, Table.OLM_SESSIONS, Table.INBOUND_GROUP_SESSIONS


async def write(store: Store, rows: Rows, seen: int) -> int:
    assert store.lock.acquire_nowait()
    try:
        return await store.commit(rows, seen)
    finally:
        store.lock.release()


@attrs.frozen
class Handles:
    """Two handles on one store."""

    one: Store
    two: Store


@pytest.fixture(params=["memory", "disk"])
async def handles(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Handles]:
    if request.param == "memory":
        disk = MemoryDisk()
        yield Handles(MemoryStore(disk), MemoryStore(disk))
    else:
        one = await open_store(tmp_path, user_id=USER, device_id=DEVICE, key=None)
        two = await open_store(tmp_path, user_id=USER, device_id=DEVICE, key=None)
        yield Handles(one, two)
        await one.aclose()
        await two.aclose()


# --- rows ---------------------------------------------------------------------------------------------------


async def test_what_is_committed_is_read_by_partition_in_every_handle(handles: Handles) -> None:
    rows = [Row(b"k1", b"p", b"1"), Row(b"k2", b"p", b"2"), Row(b"k3", b"q", b"3")]
    assert await write(handles.one, {DEVICES: rows}, 0) == 1
    for store in (handles.one, handles.two):
        found = await store.read(DEVICES, [b"p", b"nobody"])
        assert {b"p", b"nobody"} == set(found)
        assert found[b"nobody"] == []
        assert {Row(b"k1", b"p", b"1", 1), Row(b"k2", b"p", b"2", 1)} == set(found[b"p"])


async def test_a_row_is_replaced_or_deleted_by_its_key(handles: Handles) -> None:
    await write(handles.one, {DEVICES: [Row(b"k1", b"p", b"1"), Row(b"k2", b"p", b"2")]}, 0)
    await write(handles.two, {DEVICES: [Row(b"k1", b"p", b"new"), Row(b"k2", b"p", None)]}, 1)
    assert {b"p": [Row(b"k1", b"p", b"new", 2)]} == await handles.one.read(DEVICES, [b"p"])
    assert [Row(b"k1", b"p", b"new", 2)] == await handles.one.page(DEVICES, START, 10)
    await write(handles.one, {DEVICES: [Row(b"k2", b"p", b"back"), Row(b"never", b"p", None)]}, 2)
    assert len((await handles.two.read(DEVICES, [b"p"]))[b"p"]) == 2


async def test_of_two_rows_with_one_key_in_a_commit_the_last_counts(handles: Handles) -> None:
    await write(handles.one, {OLM: [Row(b"k", b"p", None), Row(b"k", b"p", b"again")]}, 0)
    assert {b"p": [Row(b"k", b"p", b"again", 1)]} == await handles.two.read(OLM, [b"p"])


async def test_pages_go_by_key(handles: Handles) -> None:
    keys = [b"c", b"a", b"d", b"b"]
    await write(handles.one, {INBOUND: [Row(key, key, b"value") for key in keys]}, 0)
    assert [b"a", b"b"] == [row.key for row in await handles.two.page(INBOUND, START, 2)]
    assert [b"c", b"d"] == [row.key for row in await handles.two.page(INBOUND, (b"b", b"b"), 9)]
    assert [] == await handles.two.page(INBOUND, (b"d", b"d"), 9)
    assert [] == await handles.two.page(DEVICES, START, 9)


# --- the fence ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [0, 2])
async def test_a_commit_that_derives_from_another_generation_writes_nothing(handles: Handles, seen: int) -> None:
    await write(handles.one, {DEVICES: [Row(b"k", b"p", b"theirs")]}, 0)
    with pytest.raises(Fenced):
        await write(handles.two, {DEVICES: [Row(b"k", b"p", b"ours")]}, seen)
    assert {b"p": [Row(b"k", b"p", b"theirs", 1)]} == await handles.two.read(DEVICES, [b"p"])
    assert handles.two.changes(0).generation == 1


async def test_a_commit_without_the_lock_writes_nothing(handles: Handles) -> None:
    handles.two.lock.acquire_nowait()
    with pytest.raises(StorePoisoned):
        await handles.one.commit({DEVICES: [Row(b"k", b"p", b"value")]}, 0)
    assert handles.two.changes(0).generation == 0
    handles.two.lock.release()


# --- what changed -------------------------------------------------------------------------------------------


async def test_a_handle_is_told_that_somebody_has_committed_until_it_looks(handles: Handles) -> None:
    handles.one.changes(0)
    handles.two.changes(0)
    assert not handles.one.changed()
    await write(handles.one, {DEVICES: [Row(b"k", b"p", b"value")]}, 0)
    for store in (handles.one, handles.two):
        assert store.changed()
        assert store.changed()
        store.changes(0)
        assert not store.changed()


async def test_changes_are_told_by_table_and_partition_deletions_too(handles: Handles) -> None:
    await write(handles.one, {DEVICES: [Row(b"k1", b"p", b"1"), Row(b"k2", b"q", b"2")]}, 0)
    await write(handles.one, {OLM: [Row(b"s", b"r", b"1")], INBOUND: [Row(b"i", b"i", b"1")]}, 1)
    await write(handles.one, {DEVICES: [Row(b"k1", b"p", None)]}, 2)
    everything = {DEVICES: frozenset({b"p", b"q"}), OLM: frozenset({b"r"}), INBOUND: frozenset({b"i"})}
    later = {DEVICES: frozenset({b"p"}), OLM: frozenset({b"r"}), INBOUND: frozenset({b"i"})}
    for since, partitions in ((0, everything), (1, later), (2, {DEVICES: frozenset({b"p"})}), (3, {})):
        assert Changes(3, partitions) == handles.two.changes(since)


async def test_what_nobody_caches_is_not_told(handles: Handles) -> None:
    await write(handles.one, {Table.OLM_MESSAGES: [Row(b"hash", b"hash", b"")]}, 0)
    assert Changes(1, {}) == handles.two.changes(0)
    assert len((await handles.two.read(Table.OLM_MESSAGES, [b"hash"]))[b"hash"]) == 1


async def test_a_handles_own_commit_is_told_from_anothers(handles: Handles) -> None:
    await write(handles.one, {DEVICES: [Row(b"k", b"p", b"1")]}, 0)
    assert handles.one.changes(0).ours
    assert not handles.two.changes(0).ours
    await write(handles.two, {DEVICES: [Row(b"k", b"p", b"2")]}, 1)
    assert not handles.one.changes(0).ours  # ours, and another's


async def test_a_store_that_went_back_is_not_trusted(handles: Handles) -> None:
    with pytest.raises(StorePoisoned):
        handles.one.changes(7)
    with pytest.raises(StorePoisoned):
        await handles.one.read(DEVICES, [b"p"])


# --- keys ---------------------------------------------------------------------------------------------------


async def test_keys_are_the_same_in_every_handle_and_differ_by_table_and_parts(handles: Handles) -> None:
    one, two = handles.one, handles.two
    assert one.key(DEVICES, "a", "b") == two.key(DEVICES, "a", "b")
    keys = {one.key(DEVICES, "ab"), one.key(OLM, "ab"), one.key(DEVICES, "a", "b"), one.key(DEVICES, "b", "a")}
    assert len(keys) == 4
    assert (len(one.pickle_key), one.pickle_key) == (32, two.pickle_key)


# --- the lock -----------------------------------------------------------------------------------------------


async def test_one_handle_at_a_time_has_the_lock(handles: Handles, autojump_clock: MockClock) -> None:
    one, two = handles.one.lock, handles.two.lock
    assert one.acquire_nowait()
    assert (one.held, two.held) == (True, False)
    assert not two.acquire_nowait()
    with pytest.raises(StoreBusy) as caught:
        await two.acquire(0.5)
    assert caught.value.waited >= 0.5
    assert caught.value.holder_pid == one.holder_pid() == two.holder_pid() is not None
    one.release()
    assert one.holder_pid() is None
    await two.acquire(0.5)
    assert (one.held, two.held) == (False, True)
    two.release()


async def test_the_lock_is_for_those_who_hold_it_and_those_who_do_not(handles: Handles) -> None:
    lock = handles.one.lock
    with pytest.raises(RuntimeError):
        lock.release()
    with pytest.raises(RuntimeError):
        lock.contended()
    lock.acquire_nowait()
    with pytest.raises(RuntimeError):
        lock.acquire_nowait()
    with pytest.raises(RuntimeError):
        await lock.acquire(1)
    lock.release()


async def test_the_holder_sees_that_somebody_waits_and_that_one_gets_the_lock(
    handles: Handles, autojump_clock: MockClock
) -> None:
    one, two = handles.one.lock, handles.two.lock
    one.acquire_nowait()
    assert not one.contended()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(two.acquire, 5)
        await trio.sleep(0.05)
        assert one.contended()
        one.release()
        assert not one.acquire_nowait()  # no barging
    assert two.held
    two.release()


async def test_who_gives_up_waiting_holds_nothing(handles: Handles, autojump_clock: MockClock) -> None:
    one, two = handles.one.lock, handles.two.lock
    one.acquire_nowait()
    with trio.move_on_after(1) as scope:
        await two.acquire(5)
    assert scope.cancelled_caught
    assert not one.contended()
    one.release()
    assert not two.held
    assert one.acquire_nowait()
    one.release()


async def test_a_lock_in_memory_goes_to_whoever_has_waited_longest(autojump_clock: MockClock) -> None:
    disk, order = MemoryDisk(), list[int]()

    async def take(pid: int) -> None:
        lock = MemoryStore(disk, pid=pid).lock
        await lock.acquire(100)
        assert lock.holder_pid() == pid
        order.append(pid)
        await trio.sleep(1)
        lock.release()

    async with trio.open_nursery() as nursery:
        for pid in range(5):
            nursery.start_soon(take, pid)
            await wait_all_tasks_blocked()
    assert order == [0, 1, 2, 3, 4]


# --- random programs ----------------------------------------------------------------------------------------

KEYS = st.sampled_from([b"a", b"b", b"c"])
VALUES = st.sampled_from([None, b"1", b"2"])
TABLES = st.sampled_from([DEVICES, OLM, INBOUND, Table.OLM_MESSAGES])


def a_row(table: Table, key: bytes, partition: bytes, value: bytes | None) -> Row:
    # a key stays in its partition, and is its own where there is one row to a partition
    partitioned = table in (DEVICES, OLM)
    if table is Table.OLM_MESSAGES:
        value = b""  # nobody deletes one
    return Row(key + partition if partitioned else key, partition if partitioned else key, value)


Writes: TypeAlias = list[tuple[Table, bytes, bytes, bytes | None]]
WRITES = st.lists(st.tuples(TABLES, KEYS, KEYS, VALUES), max_size=4)
PROGRAMS = st.lists(st.tuples(st.booleans(), st.integers(0, 2), WRITES), min_size=1, max_size=12)
"""Which handle, how many generations behind it is, and what it writes."""


async def observe(stores: Handles, program: list[tuple[bool, int, Writes]]) -> list[object]:
    """All that can be seen of a store while a program runs."""
    seen: list[object] = []
    generation = 0
    for first, behind, writes in program:
        store = stores.one if first else stores.two
        rows: dict[Table, list[Row]] = {}
        for table, key, partition, value in writes:
            rows.setdefault(table, []).append(a_row(table, key, partition, value))
        try:
            generation = await write(store, rows, generation - behind)
            seen.append(generation)
        except Fenced:
            seen.append("fenced")
        for each in (stores.one, stores.two):
            seen.append((each.changed(), [each.changes(since) for since in range(generation + 1)], each.changed()))
            for table in (DEVICES, OLM, INBOUND, Table.OLM_MESSAGES):
                read = await each.read(table, [b"a", b"b", b"c"])
                seen.append({partition: sorted(rows, key=lambda row: row.key) for partition, rows in read.items()})
                seen.append(await each.page(table, START, 3))
                seen.append(await each.page(table, (b"b", b"b"), 3))
    return seen


@settings(max_examples=25)
@given(PROGRAMS)
def test_both_stores_look_the_same_to_any_program(program: list[tuple[bool, int, Writes]]) -> None:
    async def compare() -> None:
        disk = MemoryDisk()
        in_memory = await observe(Handles(MemoryStore(disk), MemoryStore(disk)), program)
        with TemporaryDirectory() as folder:
            one = await open_store(Path(folder), user_id=USER, device_id=DEVICE, key=None)
            two = await open_store(Path(folder), user_id=USER, device_id=DEVICE, key=None)
            on_disk = await observe(Handles(one, two), program)
            await one.aclose()
            await two.aclose()
        assert on_disk == in_memory

    trio.run(compare)


# --- writes from elsewhere ----------------------------------------------------------------------------------


def test_a_write_from_elsewhere_is_a_commit_of_somebody_else() -> None:
    disk = MemoryDisk()
    store = MemoryStore(disk)
    store.changes(0)
    assert disk.write_from_elsewhere({DEVICES: [Row(b"k", b"p", b"value")]}) == 1
    assert store.changed()
    assert Changes(1, {DEVICES: frozenset({b"p"})}) == store.changes(0)
    assert [Row(b"k", b"p", b"value", 1)] == disk.rows(DEVICES)
    disk.write_from_elsewhere({DEVICES: disk.rows(DEVICES)})
    assert Changes(2, {DEVICES: frozenset({b"p"})}) == store.changes(1)
    disk.write_from_elsewhere()
    assert Changes(3, {}) == store.changes(2)


def test_of_a_write_that_is_not_told_nothing_is_known() -> None:
    disk = MemoryDisk()
    store = MemoryStore(disk)
    disk.write_from_elsewhere(keys_known=False)
    assert Changes(1, None) == store.changes(0)
    disk.write_from_elsewhere()
    assert Changes(2, None) == store.changes(0)
    assert Changes(2, {}) == store.changes(1)


# --- time and trouble ---------------------------------------------------------------------------------------


async def test_a_step_takes_its_latency_and_reads_in_the_middle_of_it(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    store = MemoryStore(disk, latency=lambda _: 2)
    found: list[list[Row]] = []

    async def read() -> None:
        found.append((await store.read(DEVICES, [b"p"]))[b"p"])

    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.sleep(0.5)
        disk.write_from_elsewhere({DEVICES: [Row(b"k", b"p", b"early")]})
        await trio.sleep(1)
        disk.write_from_elsewhere({DEVICES: [Row(b"k", b"p", b"late")]})
    assert trio.current_time() == started + 2
    assert found == [[Row(b"k", b"p", b"early", 1)]]


async def test_without_a_latency_nothing_waits() -> None:
    store, ran = MemoryStore(MemoryDisk()), list[str]()

    async def beside() -> None:
        ran.append("beside")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beside)
        await store.read(DEVICES, [b"p"])
        await store.page(DEVICES, START, 1)
        await write(store, {}, 0)
        assert ran == []


async def test_a_random_latency_repeats_with_its_seed() -> None:
    step = Step(number=0, operation="read")
    one, same, other = random_latency(1, most=3), random_latency(1, most=3), random_latency(2, most=3)
    times = [one(step) for _ in range(20)]
    assert times == [same(step) for _ in range(20)] != [other(step) for _ in range(20)]
    assert all(0 <= time <= 3 for time in times)


async def test_steps_are_counted_over_all_handles_that_share_a_plan(autojump_clock: MockClock) -> None:
    disk, faults = MemoryDisk(), Faults()
    one, two = MemoryStore(disk, faults=faults), MemoryStore(disk, faults=faults)
    one.changes(0)
    await one.lock.acquire(1)
    assert not two.lock.acquire_nowait()
    await one.commit({}, 0)
    one.lock.contended()
    two.changed()
    await two.read(DEVICES, [])
    await two.page(OLM, START, 1)
    expected: list[tuple[Operation, Table | None]] = [
        ("changes", None),
        ("acquire", None),
        ("acquire_nowait", None),
        ("commit", None),
        ("contended", None),
        ("changed", None),
        ("read", DEVICES),
        ("page", OLM),
    ]
    assert faults.steps == [
        Step(number=number, operation=operation, table=table) for number, (operation, table) in enumerate(expected)
    ]


async def test_a_fault_strikes_once_by_number_or_at_the_next_step_of_its_kind() -> None:
    faults = Faults()
    store = MemoryStore(MemoryDisk(), faults=faults)
    faults.at(1, StoreFull())
    faults.at("page", StoreFull())
    with pytest.raises(StoreFull):
        await store.page(DEVICES, START, 1)
    with pytest.raises(StoreFull):
        await store.read(DEVICES, [])
    await store.page(DEVICES, START, 1)
    await store.read(DEVICES, [])


async def test_of_several_faults_for_one_moment_each_has_a_step_of_its_own() -> None:
    faults, struck = Faults(), list[str]()
    store = MemoryStore(MemoryDisk(), faults=faults)
    for name in ("first", "second"):
        faults.at("read", partial(struck.append, name))
    faults.at("read", lambda: struck.append("after"), when="after")
    await store.read(DEVICES, [])
    assert struck == ["first", "after"]
    await store.read(DEVICES, [])
    assert struck == ["first", "after", "second"]


async def test_a_commit_that_fails_before_it_is_written_is_not_and_one_that_fails_after_it_is() -> None:
    disk, faults = MemoryDisk(), Faults()
    store = MemoryStore(disk, faults=faults)
    faults.at("commit", StoreFull())
    with pytest.raises(StoreFull):
        await write(store, {DEVICES: [Row(b"k", b"p", b"value")]}, 0)
    assert (disk.generation, disk.rows(DEVICES)) == (0, [])
    faults.at("commit", StorePoisoned(reason="I/O error"), when="after")
    with pytest.raises(StorePoisoned):
        await write(store, {DEVICES: [Row(b"k", b"p", b"value")]}, 0)
    assert (disk.generation, len(disk.rows(DEVICES))) == (1, 1)


async def test_a_handle_in_doubt_stays_in_doubt_and_others_do_not() -> None:
    disk, faults = MemoryDisk(), Faults()
    store = MemoryStore(disk, faults=faults)
    faults.at("read", StorePoisoned(reason="I/O error"))
    for _ in range(2):
        with pytest.raises(StorePoisoned, match="I/O error"):
            await store.read(DEVICES, [])
    with pytest.raises(StorePoisoned, match="I/O error"):
        store.changed()
    await MemoryStore(disk).read(DEVICES, [])


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_lock_that_fails_is_not_held(when: str) -> None:
    faults = Faults()
    disk = MemoryDisk()
    lock = MemoryStore(disk, faults=faults).lock
    faults.at("acquire", StoreFull(), when="before" if when == "before" else "after")
    faults.at("acquire_nowait", StoreFull(), when="before" if when == "before" else "after")
    with pytest.raises(StoreFull):
        await lock.acquire(1)
    with pytest.raises(StoreFull):
        lock.acquire_nowait()
    assert not lock.held
    assert MemoryStore(disk).lock.acquire_nowait()


async def test_a_fault_strikes_after_a_try_for_a_lock_that_is_taken() -> None:
    # it struck only once the lock was had: at a later try, or never
    disk, faults, struck = MemoryDisk(), Faults(), list[str]()
    holder = MemoryStore(disk).lock
    assert holder.acquire_nowait()
    lock = MemoryStore(disk, faults=faults).lock
    faults.at("acquire_nowait", lambda: struck.append("after"), when="after")
    assert not lock.acquire_nowait()
    assert struck == ["after"]
    faults.at("acquire_nowait", StoreFull(), when="after")
    with pytest.raises(StoreFull):
        lock.acquire_nowait()
    assert holder.held


async def test_a_step_can_be_cancelled_in_the_middle(autojump_clock: MockClock) -> None:
    disk, faults = MemoryDisk(), Faults()
    store = MemoryStore(disk, faults=faults, latency=lambda _: 1)
    with trio.CancelScope() as scope:
        faults.at("read", scope.cancel, when="after")
        await store.read(DEVICES, [])
    assert scope.cancelled_caught
