"""Capacity 0 against cached, by type: what a program pays for not keeping a type of data in memory.

Owns: which piece of work uses which type the most.
"""

from __future__ import annotations

from collections.abc import Mapping

from olmstate.storage import Table
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import ratio
from tests.bench.plot import Bars
from tests.bench.work import (
    Place,
    Work,
    decrypting,
    encrypting,
    receiving,
    receiving_nothing,
    sending,
    sharing_again,
    side_by_side,
)

SESSIONS, MESSAGES, ROOM_KEYS, DEVICES, MANY_DEVICES = 200, 200, 100, 100, 1000


WORDS = {
    Table.ACCOUNT: "account",
    Table.SYNC: "sync token",
    Table.OLM_SESSIONS: "Olm sessions",
    Table.DEVICES: "devices",
    Table.INBOUND_GROUP_SESSIONS: "inbound group sessions",
    Table.MESSAGE_INDICES: "message indices",
    Table.OUTBOUND_GROUP_SESSIONS: "outbound group sessions",
    Table.ROOM_KEY_RECIPIENTS: "room key recipients",
}


def works(setting: Setting) -> Mapping[Table, Work]:
    """What to measure each type with."""
    sessions, devices = setting.scaled(SESSIONS), setting.scaled(DEVICES)
    return {
        Table.ACCOUNT: receiving(setting.scaled(ROOM_KEYS), new_sessions=True),
        Table.SYNC: receiving_nothing(),
        Table.OLM_SESSIONS: sending(devices),
        Table.DEVICES: sending(devices),
        Table.INBOUND_GROUP_SESSIONS: decrypting(sessions),
        Table.MESSAGE_INDICES: decrypting(sessions),
        Table.OUTBOUND_GROUP_SESSIONS: encrypting(setting.scaled(MESSAGES)),
        Table.ROOM_KEY_RECIPIENTS: sharing_again(setting.scaled(MANY_DEVICES)),
    }


async def capacities(setting: Setting) -> Outcome:
    """Each type without a cache, and with one."""
    results = [await _without(table, work, setting) for table, work in works(setting).items()]
    bars = Bars(
        name="capacities",
        title="Capacity 0: how many times as long as cached",
        bars=tuple((result.label, result.value) for result in results if result.value is not None),
    )
    return Outcome(results=tuple(results), bars=(bars,))


async def _without(table: Table, work: Work, setting: Setting) -> Result:
    label = f"no {WORDS[table]} cached: {work.name}"
    places = {
        "capacity 0": Place(folder=setting.folder / f"{table}-0", capacities={table: 0}),
        "cached": Place(folder=setting.folder / f"{table}"),
    }
    figures = await side_by_side(work, places, rounds=setting.rounds, progress=setting.progress)
    none, cached = figures.values()
    return Result(label=label, value=ratio(none, cached), figures=(none, cached))
