"""Jobs that ask what a large store costs: opening it, and hearing of another's write."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from vodozemac import GroupSession, InboundGroupSession, Session

from olmstate.actors import Options, Supervisor
from olmstate.messages import (
    AddDevices,
    CreateOlmSession,
    DecryptRoomEvent,
    ImportRoomKeys,
    JsonObject,
)
from olmstate.storage import Table

from ._bare import BareStore
from ._device import ROOM, device, exported_sessions, hold_sessions
from ._job import Outcome, Plot, Result, Series, Setting
from ._measure import Figure, Side, Watch, measure, ratio
from ._people import Person, keys_claim, keys_query, people

MANY, MANY_OLM = 10_000, 1_000
FEW, FEW_OLM = 100, 10


async def first_answer(setting: Setting) -> Outcome:
    """The first answer after a foreign write, with everything cached, beside a small store and beside reloading all."""
    sides: dict[str, Side] = {}
    async with (
        device(setting.folder / "many") as many,
        device(setting.folder / "many") as beside_many,
        device(setting.folder / "few") as few,
        device(setting.folder / "few") as beside_few,
    ):
        for name, supervisor, beside, inbound, olm in (
            ("many sessions", many, beside_many, MANY, MANY_OLM),
            ("few sessions", few, beside_few, FEW, FEW_OLM),
        ):
            known = people(olm)
            await supervisor.ask(AddDevices(response=keys_query(known)))
            await supervisor.ask(CreateOlmSession(one_time_keys=keys_claim(known)))
            events = await hold_sessions(supervisor, inbound)
            setting.progress()

            sides[name] = partial(_after_foreign_write, supervisor, beside, events[0])
        reload = BareStore(setting.folder / "bare.sqlite")
        _fill(reload)

        async def reload_all() -> float:
            watch = Watch()
            for key, pickle in reload.all():
                if key.startswith("olm"):
                    Session.from_pickle(pickle, reload.pickle_key)
                else:
                    InboundGroupSession.from_pickle(pickle, reload.pickle_key)
            return watch.seconds()

        sides["everything dropped and reloaded"] = reload_all
        figures = await measure(sides, rounds=setting.rounds * 3, units=1, progress=setting.progress)
        reload.close()
    ours, small, whole = figures.values()
    return Outcome(
        results=(
            Result(
                label="first answer after a foreign write, 10,000 sessions against 100",
                value=ratio(ours, small),
                target=1.3,
                figures=(ours, small),
            ),
            Result(
                label="everything reloaded, against that answer",
                value=ratio(whole, ours),
                target=200,
                bound="at least",
                figures=(whole, ours),
            ),
        )
    )


async def _after_foreign_write(supervisor: Supervisor, beside: Supervisor, event: JsonObject) -> float:
    keys, _ = exported_sessions(1)
    await beside.ask(ImportRoomKeys(keys=tuple(keys)))
    watch = Watch()
    await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
    return watch.seconds()


def _fill(store: BareStore) -> None:
    person = Person(people(1)[0].user_id)
    values = [
        (f"megolm {number}", InboundGroupSession(GroupSession().session_key).pickle(store.pickle_key))
        for number in range(MANY)
    ]
    for number in range(MANY_OLM):
        person.account.generate_one_time_keys(1)
        ((_, key),) = person.account.one_time_keys.items()
        person.account.mark_keys_as_published()
        session = person.account.create_outbound_session(person.account.curve25519_key, key)
        values.append((f"olm {number}", session.pickle(store.pickle_key)))
    store.commit(values)


async def open_and_decrypt(setting: Setting) -> Outcome:
    """Open a store of 10,000 inbound sessions and decrypt one event, beside one of 10."""
    figures, plot = await _open_sizes(setting, (10, 10_000))
    few, many = figures
    return Outcome(
        results=(
            Result(
                label="open and decrypt one event, 10,000 sessions against 10",
                value=ratio(many, few),
                target=1.2,
                figures=(many, few),
            ),
        ),
        plot=plot,
    )


async def _open_sizes(setting: Setting, sizes: tuple[int, ...]) -> tuple[list[Figure], Plot]:
    sides: dict[str, Side] = {}
    for size in sizes:
        folder = setting.folder / str(size)
        async with device(folder) as supervisor:
            keys, events = exported_sessions(size)
            await supervisor.ask(ImportRoomKeys(keys=tuple(keys)))
        setting.progress()

        async def opened(folder: Path = folder, event: JsonObject = events[0]) -> float:
            watch = Watch()
            async with device(folder) as supervisor:
                await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
                return watch.seconds()

        sides[f"{size:,} sessions"] = opened
    figures = await measure(sides, rounds=setting.rounds * 3, units=1, progress=setting.progress)
    points = tuple((float(size), figure.median * 1000) for size, figure in zip(sizes, figures.values(), strict=True))
    plot = Plot(
        name="open",
        title="Open a store and decrypt one event",
        x="inbound sessions in the store",
        y="ms",
        series=(Series(name="olmstate", points=points),),
    )
    return list(figures.values()), plot


async def capacities(setting: Setting) -> Outcome:
    """Capacity 0 against cached, by type: what dropping the cache of a type would cost."""
    results: list[Result] = []
    reference = setting.folder / "store"
    async with device(reference) as supervisor:
        events = await hold_sessions(supervisor, FEW)
    for table in (Table.INBOUND_GROUP_SESSIONS, Table.MESSAGE_INDICES):
        folder = setting.folder / table.value
        shutil.copytree(reference, folder)  # closed, and of the same device: nothing encrypts here
        async with device(reference) as cached, device(folder, options=Options(capacities={table: 0})) as uncached:
            sides: dict[str, Side] = {
                "capacity 0": partial(_decrypt_one_by_one, uncached, events),
                "cached": partial(_decrypt_one_by_one, cached, events),
            }
            figures = await measure(sides, rounds=setting.rounds, units=FEW, progress=setting.progress)
            none, all_cached = figures.values()
            results.append(
                Result(
                    label=f"capacity 0 of {table.value}, decrypting",
                    value=ratio(none, all_cached),
                    figures=(none, all_cached),
                )
            )
    return Outcome(results=tuple(results))


async def _decrypt_one_by_one(supervisor: Supervisor, events: list[JsonObject]) -> float:
    watch = Watch()
    for event in events:
        await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
    return watch.seconds()
