"""Jobs that ask what a large store costs: opening it, and hearing of another's write."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from vodozemac import GroupSession, InboundGroupSession, Session

from tests.bench.bare import BareStore
from tests.bench.device import CONTENT, ROOM
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Side, Watch, measure, ratio
from tests.bench.nio import NAME, NioDevice, beside_nio, matrix_nio
from tests.bench.people import conversation, people, room_key
from tests.bench.work import Place, answering, opening
from tests.operations.peer import Room

MANY, MANY_OLM = 10_000, 1_000
FEW, FEW_OLM = 100, 10
FEWEST = 10


async def first_answer(setting: Setting) -> Outcome:
    """The first answer after a foreign write, with everything cached, beside a small store and beside reloading all."""
    many, many_olm = setting.scaled(MANY), setting.scaled(MANY_OLM)
    few, few_olm = setting.scaled(FEW), setting.scaled(FEW_OLM)
    reload = BareStore(setting.folder / "bare.sqlite")
    _fill(reload, many, many_olm)

    async def reload_all() -> float:
        watch = Watch()
        held = [
            (Session if key.startswith("olm") else InboundGroupSession).from_pickle(pickle, reload.pickle_key)
            for key, pickle in reload.all()
        ]
        seconds = watch.seconds()
        assert len(held) == many + many_olm
        return seconds

    setting.progress("filling the stores")
    async with (
        answering(many, many_olm).begin(Place(folder=setting.folder / "many")) as ours,
        answering(few, few_olm).begin(Place(folder=setting.folder / "few")) as beside_few,
    ):
        sides: dict[str, Side] = {
            f"{many:,} sessions": ours,
            f"{few:,} sessions": beside_few,
            "everything dropped and reloaded": reload_all,
        }
        figures = await measure(sides, rounds=setting.short_rounds, units=1, progress=setting.progress)
    reload.close()
    large, small, whole = figures.values()
    return Outcome(
        results=(
            Result(
                label=f"first answer after a foreign write, {many:,} sessions against {few:,}",
                value=ratio(large, small),
                target=1.3,
                figures=(large, small),
            ),
            Result(
                label="everything reloaded, against that answer",
                value=ratio(whole, large),
                target=200,
                bound="at least",
                figures=(large, whole),
            ),
        )
    )


def _fill(store: BareStore, inbound: int, olm: int) -> None:
    (person,) = people(1)
    values = [
        (f"megolm {number}", InboundGroupSession(GroupSession().session_key).pickle(store.pickle_key))
        for number in range(inbound)
    ]
    for number in range(olm):
        (key,) = person.one_time_key().values()
        session = person.start_session(person, key)
        values.append((f"olm {number}", session.pickle(store.pickle_key)))
    store.commit(values)


async def open_and_decrypt(setting: Setting) -> Outcome:
    """Open a store of 10,000 inbound sessions and decrypt one event, beside one of 10, and beside matrix-nio."""
    many = setting.scaled(MANY)
    nio = matrix_nio()
    async with AsyncExitStack() as stack:
        sides: dict[str, Side] = {}
        for size in (many, FEWEST):
            setting.progress(f"filling a store with {size:,} sessions")
            place = Place(folder=setting.folder / f"{size}")
            sides[f"{size:,} sessions"] = await stack.enter_async_context(opening(size).begin(place))
        figures = await measure(sides, rounds=setting.short_rounds, units=1, progress=setting.progress)
        large, small = figures.values()
        beside = {large.name: sides[large.name]}
        if nio is not None:
            setting.progress("filling matrix-nio's store")
            beside[NAME] = _nio_opening(nio, setting.folder / "nio", many)
            # apart, and less often: it takes so long that the others would not be measured one right after the other
            figures = await measure(beside, rounds=setting.rounds, units=1, progress=setting.progress)
    return Outcome(
        results=(
            Result(
                label=f"open and decrypt one event, {many:,} sessions against {FEWEST}",
                value=ratio(large, small),
                target=1.2,
                figures=(large, small),
            ),
            beside_nio(f"open and decrypt one event, {many:,} sessions", figures[large.name], figures.get(NAME)),
        )
    )


def _nio_opening(nio: object, folder: Path, sessions: int) -> Side:
    (sender,) = people(1)
    room = Room(sender, ROOM)
    (event,) = conversation(room, CONTENT, 1)
    peer = NioDevice(nio, folder)
    peer.know([sender])
    peer.add_room_keys(sender, [room.room_key, *(room_key(sender, ROOM) for _ in range(sessions - 1))])
    peer.close()

    async def side() -> float:
        watch = Watch()
        opened = NioDevice(nio, folder)
        opened.decrypt(opened.parse_event(event))
        seconds = watch.seconds()
        assert opened.room_keys() == sessions
        opened.close()
        return seconds

    return side
