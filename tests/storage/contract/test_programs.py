"""Random programs: whatever is written and looked at, every engine looks the same."""

from __future__ import annotations

from typing import TypeAlias

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from olmstate.storage import START, Fenced, Row, Table
from olmstate.storage.tables import KEYS_ONLY, PARTITIONED
from tests.storage.contract.engines import DEVICES, ENGINES, INBOUND, MESSAGES, OLM, Engine, write

KEYS = st.sampled_from([b"a", b"b", b"c"])
VALUES = st.sampled_from([None, b"1", b"2"])
TABLES = (DEVICES, OLM, INBOUND, MESSAGES)

Writes: TypeAlias = list[tuple[Table, bytes, bytes, bytes | None]]
WRITES = st.lists(st.tuples(st.sampled_from(TABLES), KEYS, KEYS, VALUES), max_size=4)
PROGRAMS = st.lists(st.tuples(st.booleans(), st.integers(0, 2), WRITES), min_size=1, max_size=12)
"""Which handle, how many generations behind it is, and what it writes."""


def a_row(table: Table, key: bytes, partition: bytes, value: bytes | None) -> Row:
    # a key stays in its partition, and is its own where there is one row to a partition
    if table in KEYS_ONLY:
        value = b""  # nobody deletes one
    return Row(key + partition, partition, value) if table in PARTITIONED else Row(key, key, value)


async def observe(engine: Engine, program: list[tuple[bool, int, Writes]]) -> list[object]:
    """All that can be seen of a store while a program runs."""
    one, two = await engine.open(), await engine.open()
    seen: list[object] = []
    generation = 0
    for first, behind, writes in program:
        rows: dict[Table, list[Row]] = {}
        for table, key, partition, value in writes:
            rows.setdefault(table, []).append(a_row(table, key, partition, value))
        try:
            generation = await write(one if first else two, rows, max(0, generation - behind))
            seen.append(generation)
        except Fenced:
            seen.append("fenced")
        for each in (one, two):
            seen.append([await each.look(max(0, generation - behind)), await each.look(generation)])
            for table in TABLES:
                read = await each.read(table, [b"a", b"b", b"c"])
                seen.append({partition: sorted(rows, key=lambda row: row.key) for partition, rows in read.items()})
                seen.append(await each.page(table, START, 3))
                seen.append(await each.page(table, (b"b", b"b"), 3))
    newcomers = [await engine.open() for _ in range(generation + 1)]
    seen.append([await newcomer.look(since) for since, newcomer in enumerate(newcomers)])
    return seen


@pytest.mark.parametrize("other", [name for name in ENGINES if name != "memory"])
@settings(max_examples=25)
@given(program=PROGRAMS)
def test_an_engine_looks_like_the_one_in_memory_to_any_program(
    other: str, program: list[tuple[bool, int, Writes]]
) -> None:
    async def compare() -> None:
        async with ENGINES["memory"]() as memory, ENGINES[other]() as engine:
            assert await observe(memory, program) == await observe(engine, program)

    trio.run(compare)
