"""What is committed is what is read: rows, by partition and by page."""

from __future__ import annotations

import os

import pytest

from olmstate.storage import START, Row, Table, position_of, unit_of
from olmstate.storage.sqlite.statements import ROWS_A_PART, read
from olmstate.storage.sqlite.store import SqliteStore
from olmstate.storage.tables import KEYS_ONLY, PARTITIONED
from tests.storage.handles import (
    PARTITION,
    Handles,
    device,
    put,
    session,
    values,
)


@pytest.mark.parametrize("table", [table for table in Table if table not in KEYS_ONLY])
async def test_what_is_committed_is_read_by_every_handle_and_by_the_next(stores: Handles, table: Table) -> None:
    store, other = await stores.open(), await stores.open()
    row = Row(b"a key", b"apart" if table in PARTITIONED else b"a key", b"a value")
    unit = unit_of(table, row)

    assert 1 == await put(store, row, table=table)

    expected = [Row(row.key, row.partition, b"a value", generation=1)]
    assert {unit: expected} == await store.read(table, [unit])
    assert {unit: expected} == await other.read(table, [unit])
    await stores.aclose()
    assert {unit: expected} == await (await stores.open()).read(table, [unit])


@pytest.mark.parametrize("table", KEYS_ONLY)
async def test_a_set_has_a_key_or_not(stores: Handles, table: Table) -> None:
    store, other = await stores.open(), await stores.open()
    one, two = Row(b"one", b"one", b""), Row(b"two", b"two", b"")

    await put(store, one, two, table=table)
    await put(store, one, table=table)
    await put(store, Row(b"two", b"two", None), table=table)

    assert {b"one": [one], b"two": []} == await other.read(table, [b"one", b"two"])
    assert [one] == await other.page(table, START, 10)


async def test_a_partition_without_rows_is_answered_with_none(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1))

    found = await store.read(Table.DEVICES, [b"nobody", PARTITION])

    assert [] == found[b"nobody"]
    assert 1 == len(found[PARTITION])
    assert {} == await store.read(Table.DEVICES, [])


@pytest.mark.parametrize("value", [b"", b"\0", b"x" * 100_000])
async def test_values_of_any_length_come_back(stores: Handles, value: bytes) -> None:
    store = await stores.open()

    await put(store, device(1, value))

    assert [value] == await values(store)


async def test_more_partitions_are_read_than_a_statement_takes(stores: Handles) -> None:
    store = await stores.open()
    rows = [session(number) for number in range(1_100)]
    await put(store, *rows, table=Table.INBOUND_GROUP_SESSIONS)

    found = await store.read(Table.INBOUND_GROUP_SESSIONS, [row.partition for row in rows] + [b"nobody"])

    assert 1_101 == len(found)
    assert {row.partition: 1 for row in rows} | {b"nobody": 0} == {key: len(row) for key, row in found.items()}
    assert not store._reader.in_transaction  # pyright: ignore[reportPrivateUsage]


async def test_a_page_may_be_of_one_group(stores: Handles) -> None:
    store, table = await stores.open(), Table.INBOUND_GROUP_SESSIONS
    groups = {b"%d" % number: (b"one", b"two", b"")[number % 3] for number in range(9)}
    rows = [Row(key, key, b"value", group=group) for key, group in groups.items()]
    await put(store, *rows, table=table)

    for group in (b"one", b"two", b"", b"nobody's"):
        expected = [key for key in groups if groups[key] == group]
        found = await store.page(table, START, 10, group)
        assert expected == [row.key for row in found]
    first, second = await store.page(table, START, 2, b"one")
    (third,) = await store.page(table, position_of(table, second), 2, b"one")
    assert [b"0", b"3", b"6"] == [first.key, second.key, third.key]
    assert list(groups) == [row.key for row in await store.page(table, START, 10)]


async def test_rows_that_lie_together_are_loaded_apart(stores: Handles) -> None:
    store = await stores.open()
    rows = [Row(b"%016d" % number, PARTITION.ljust(16), b"%d" % number) for number in range(ROWS_A_PART + 1)]
    units = [unit_of(Table.MESSAGE_INDICES, row) for row in rows]
    await put(store, *rows, table=Table.MESSAGE_INDICES)

    assert {units[7]: [b"7"]} == await values_by_unit(store, [units[7]])
    assert {unit: [row.value] for unit, row in zip(units, rows, strict=True)} == await values_by_unit(store, units)
    assert {b"nobody's" * 4: []} == await values_by_unit(store, [b"nobody's" * 4])
    plan = store._reader.execute(  # pyright: ignore[reportPrivateUsage]
        f"EXPLAIN QUERY PLAN {read(Table.MESSAGE_INDICES, 2)[0]}", [b""] * 4
    ).fetchall()
    assert [] == [detail for *_, detail in plan if "SCAN message_indices" in detail]


@pytest.mark.parametrize("commits", [0, 1, 2, 100])
@pytest.mark.parametrize("apart", [False, True])
async def test_much_is_read_in_parts_and_is_of_one_snapshot_all_the_same(
    stores: Handles,
    apart: bool,  # noqa: FBT001
    commits: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, other = await stores.open(), await stores.open()
    number = 3 * ROWS_A_PART
    partitions = [b"%016d" % each for each in range(number)] if apart else [PARTITION]
    keys = [b"%016d" % each for each in range(number)]

    def rows(value: bytes, keys: list[bytes]) -> list[Row]:
        return [Row(key, key if apart else PARTITION, value) for key in keys]

    async def others_run(_: SqliteStore) -> None:
        if left:
            await put(other, *rows(b"%d" % left.pop(), [keys[0], keys[-1]]))

    left = list(range(commits))
    await put(other, *rows(b"before", keys))
    monkeypatch.setattr(SqliteStore, "_let_others_run", others_run)
    found = await store.read(Table.DEVICES, partitions)
    first, *_, last = (row for part in found.values() for row in part)
    assert number == sum(map(len, found.values()))
    assert (keys[0], keys[-1]) == (first.key, last.key)
    assert (first.value, first.generation) == (last.value, last.generation)


async def values_by_unit(store: SqliteStore, units: list[bytes]) -> dict[bytes, list[bytes | None]]:
    found = await store.read(Table.MESSAGE_INDICES, units)
    return {unit: [row.value for row in rows] for unit, rows in found.items()}


async def test_a_row_is_replaced_and_deleted_in_its_partition(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1, b"first"), device(2, b"stays"))

    await put(store, device(1, b"second"))
    assert [b"second", b"stays"] == await values(store)

    await put(store, device(1, b"another", partition=b"elsewhere"))
    assert [b"second", b"stays"] == await values(store)
    assert [b"another"] == await values(store, partition=b"elsewhere")

    await put(store, device(2, None))
    assert [b"second"] == await values(store)
    await put(store, device(2, b"again"), device(1, None))
    assert [b"again"] == await values(store)
    assert [b"another"] == await values(store, partition=b"elsewhere")


async def test_where_partitions_are_keys_the_key_alone_counts(stores: Handles) -> None:
    store = await stores.open()

    await put(store, Row(b"key", b"something else", b"value"), table=Table.ACCOUNT)

    assert [b"value"] == await values(store, Table.ACCOUNT, b"key")


@pytest.mark.parametrize("table", [Table.DEVICES, Table.INBOUND_GROUP_SESSIONS])
async def test_pages_give_each_row_once_by_key_without_the_deleted_ones(stores: Handles, table: Table) -> None:
    store = await stores.open()
    make = device if table in PARTITIONED else session
    await put(store, *(make(number) for number in range(25)), table=table)
    await put(store, make(7, None), table=table)

    after, pages = START, list[list[Row]]()
    while page := await store.page(table, after, 10):
        pages.append(page)
        after = position_of(table, page[-1])

    assert [10, 10, 4] == [len(page) for page in pages]
    assert [make(number).key for number in range(25) if number != 7] == [row.key for page in pages for row in page]
    assert {(b"value", 1)} == {(row.value, row.generation) for page in pages for row in page}


async def test_counts_leave_out_what_was_deleted(stores: Handles) -> None:
    store = await stores.open()
    await put(store, device(1), device(2), device(3))
    await put(store, device(2, None))
    await put(store, session(1, b""), session(2, b""), table=Table.OLM_MESSAGES)
    await put(store, session(2, None), table=Table.OLM_MESSAGES)

    counts = store.counts()

    assert (2, 1, 0) == (counts[Table.DEVICES], counts[Table.OLM_MESSAGES], counts[Table.ACCOUNT])
    assert set(Table) == set(counts)


async def test_a_store_says_whose_it_is_and_who_wrote_last(stores: Handles) -> None:
    store, other = await stores.open(), await stores.open()
    await put(store, device(1))

    info = other.info()

    assert ("@alice:example.org", "ALICE", 1, 0, "key") == (
        info.user_id,
        info.device_id,
        info.generation,
        info.restored_generation,
        info.sealed,
    )
    assert info.writer.startswith(f"{os.getpid()} ")
    assert 32 == len(info.store_id)
    assert info == store.info()


def test_a_rows_repr_tells_where_it_is_and_nothing_of_its_value() -> None:
    assert "Row(b'key', b'partition', ..., 3)" == repr(Row(b"key", b"partition", b"a secret", 3))
