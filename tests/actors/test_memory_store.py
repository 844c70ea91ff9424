"""What the store in memory has beside the contract (see `tests/storage/contract`): time, trouble, others."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.actors.testing import Faults, MemoryDisk, MemoryStore, Operation, Step, random_latency
from olmstate.messages import StoreFull, StorePoisoned
from olmstate.storage import START, Changes, Row, Table
from tests.storage.contract.engines import write

DEVICES, OLM = Table.DEVICES, Table.OLM_SESSIONS


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


# --- writes from elsewhere ----------------------------------------------------------------------------------


async def test_a_write_from_elsewhere_is_a_commit_of_somebody_else() -> None:
    disk = MemoryDisk()
    store = MemoryStore(disk)
    await store.look(0)
    assert disk.write_from_elsewhere({DEVICES: [Row(b"k", b"p", b"value")]}) == 1
    assert Changes(1, {DEVICES: frozenset({b"p"})}) == await store.look(0)
    assert [Row(b"k", b"p", b"value", 1)] == disk.rows(DEVICES)
    disk.write_from_elsewhere({DEVICES: disk.rows(DEVICES)})
    assert Changes(2, {DEVICES: frozenset({b"p"})}) == await store.look(1)
    disk.write_from_elsewhere()
    assert Changes(3, {}) == await store.look(2)


async def test_of_a_write_that_is_not_told_nothing_is_known() -> None:
    disk = MemoryDisk()
    store = MemoryStore(disk)
    disk.write_from_elsewhere(keys_known=False)
    assert Changes(1, None) == await store.look(0)
    disk.write_from_elsewhere()
    assert Changes(2, None) == await store.look(0)
    assert Changes(2, {}) == await MemoryStore(disk).look(1)


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
    await one.look(0)
    await one.lock.acquire(1)
    assert not two.lock.acquire_nowait()
    await one.commit({}, 0)
    one.lock.contended()
    await two.look(0)
    await two.read(DEVICES, [])
    await two.page(OLM, START, 1)
    expected: list[tuple[Operation, Table | None]] = [
        ("look", None),
        ("acquire", None),
        ("acquire_nowait", None),
        ("commit", None),
        ("contended", None),
        ("look", None),
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


@pytest.mark.parametrize("step", [-1, True, "comit", "", None, 1.5, ["commit"]])
def test_a_fault_that_would_never_strike_is_refused(step: Any) -> None:  # noqa: ANN401 - the wrong types
    # a test with a typo passed, whatever it tested
    with pytest.raises(ValueError, match=r"^step must be a number from 0 on, or one of read, page, look, commit, "):
        Faults().at(step, StoreFull())
    when: Any = "during"
    with pytest.raises(ValueError, match=r"^when must be one of before, after$"):
        Faults().at("commit", StoreFull(), when=when)


@pytest.mark.parametrize("fault", [StoreFull, None, "StoreFull", 5])
def test_a_fault_of_which_nothing_would_come_is_refused(fault: Any) -> None:  # noqa: ANN401 - the wrong types
    # the class of an exception was called, and what it made thrown away
    with pytest.raises(TypeError, match=r"^fault must be an exception, as StoreFull\(\) is, or a function$"):
        Faults().at("commit", fault)


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
        await store.look(0)
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
