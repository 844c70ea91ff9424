"""Few callers and many, who all encrypt in one room: a plot."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from vodozemac import GroupSession

from tests.bench.bare import BareStore
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Figure, Side, Watch, measure, ratio
from tests.bench.plot import Plot, Series
from tests.bench.rooms import bare_plaintext
from tests.bench.work import Place, encrypting

CALLERS = (1, 10, 100, 1_000)
MESSAGES = 1_000


async def callers(setting: Setting) -> Outcome:
    """1 to 1,000 callers, beside a loop that commits once for each of them."""
    found: dict[int, tuple[Figure, Figure]] = {}
    for count in setting.some(CALLERS):
        messages = max(count, setting.scaled(MESSAGES))
        work = encrypting(messages, callers=count)
        folder = setting.folder / f"{count}"
        folder.mkdir()
        bare = BareStore(folder / "bare.sqlite")
        async with AsyncExitStack() as stack:
            ours = await stack.enter_async_context(work.begin(Place(folder=folder / "store")))
            sides: dict[str, Side] = {work.name: ours, "bare loop": partial(_bare, bare, messages, count)}
            figures = await measure(
                sides, rounds=setting.rounds, units=messages, progress=partial(_tell, setting, work.name)
            )
        bare.close()
        one, loop = figures.values()
        found[count] = one, loop
    series = {
        "olmstate": [(float(count), one.median * 1e6) for count, (one, _) in found.items()],
        "bare loop, a commit for all": [(float(count), loop.median * 1e6) for count, (_, loop) in found.items()],
    }
    return Outcome(
        results=tuple(
            Result(label=f"{one.name}, beside a commit for all", value=ratio(one, loop), figures=(one, loop))
            for one, loop in found.values()
        ),
        plots=(
            Plot(
                name="callers",
                title="Encrypting in a room: what a message takes",
                x="callers at once",
                y="µs a message",
                logarithmic=True,
                series=tuple(Series(name=name, points=tuple(points)) for name, points in series.items()),
            ),
        ),
    )


def _tell(setting: Setting, name: str, what: str) -> None:
    setting.progress(f"{name}: {what}")


async def _bare(store: BareStore, messages: int, batch: int) -> float:
    group = GroupSession()
    watch = Watch()
    for _ in range(messages // batch):
        for _ in range(batch):
            group.encrypt(bare_plaintext()).to_base64()
        store.commit([("session", group.pickle(store.pickle_key))])
    return watch.seconds()
