"""What costs more the larger a store is: a plot."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from olmstate.actors import Options, Supervisor
from olmstate.messages import DecryptRoomEvent, ImportRoomKeys, JsonObject
from olmstate.storage import Table
from tests.bench.device import ROOM, decrypt_all, device, exported_sessions
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Side, Watch, measure, ratio
from tests.bench.plot import Plot, Series
from tests.bench.work import Place, answer_after_write, open_and_decrypt

SIZES = (10, 100, 1_000, 10_000, 100_000)
OPENING, ANSWERING = "open, decrypt one", "first answer"
LOADING, CACHED = "decrypt, not cached", "decrypt, cached"
WHAT = (OPENING, ANSWERING, LOADING, CACHED)
EVENTS = 100
"""In a round, where one would be too quick to be timed."""
SEED = 4


async def sizes(setting: Setting) -> Outcome:
    """Opening, hearing of another's write, and decrypting, in stores of 10 to 100,000 sessions."""
    some = setting.some(SIZES)
    async with AsyncExitStack() as stack:
        sides: dict[str, Side] = {}
        for size in some:
            setting.progress(f"filling a store with {size:,} sessions")
            sides |= await stack.enter_async_context(_sides(setting.folder / f"{size}", size))
        figures = await measure(sides, rounds=setting.rounds * 2, units=1, progress=setting.progress)
    results: list[Result] = []
    series: list[Series] = []
    for what in WHAT:
        found = [figures[_name(what, size)] for size in some]
        points = [(float(size), figure.median * 1e6) for size, figure in zip(some, found, strict=True)]
        series.append(Series(name=what, points=tuple(points)))
        results.append(
            Result(
                label=f"{what}, {some[-1]:,} sessions against {some[0]:,}",
                value=ratio(found[-1], found[0]),
                figures=(found[-1], found[0]),
            )
        )
    plot = Plot(
        name="sizes",
        title="What a large store costs",
        x="inbound sessions in the store",
        y="µs",
        logarithmic=True,
        series=tuple(series),
    )
    return Outcome(results=tuple(results), plots=(plot,))


def _name(what: str, size: int) -> str:
    return f"{what}, {size:,} sessions"


@asynccontextmanager
async def _sides(folder: Path, size: int) -> AsyncGenerator[dict[str, Side]]:
    """A store, a device that holds all of it, and one that holds nothing."""
    everything = Options(capacities=dict.fromkeys(Table, 2 * size))
    nothing = Options(capacities=dict.fromkeys(Table, 0))
    keys, events = exported_sessions(size, events=EVENTS)
    async with device(folder, options=everything) as supervisor, device(folder, options=nothing) as beside:
        await supervisor.ask(ImportRoomKeys(keys=tuple(keys)))  # what was imported is cached
        await decrypt_all(supervisor, events)
        rng = random.Random(SEED)
        yield {
            _name(OPENING, size): partial(open_and_decrypt, Place(folder=folder), events[0]),
            _name(ANSWERING, size): partial(answer_after_write, supervisor, beside, events[0]),
            _name(LOADING, size): partial(_decrypt, beside, events, rng),
            _name(CACHED, size): partial(_decrypt, supervisor, events, rng),
        }


async def _decrypt(supervisor: Supervisor, events: list[JsonObject], rng: random.Random) -> float:
    chosen = rng.choices(events, k=EVENTS)
    watch = Watch()
    for event in chosen:
        await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
    return watch.seconds() / EVENTS
