"""Encryption at rest on and off, for everything that is timed elsewhere: what it costs to seal a store."""

from __future__ import annotations

from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import ratio
from tests.bench.plot import Bars
from tests.bench.work import Place, Work, answering, decrypting, encrypting, opening, receiving, sending, side_by_side

MESSAGES, ROOM_KEYS, DEVICES = 500, 100, 100
INBOUND, OLM = 1_000, 100


def works(setting: Setting) -> list[Work]:
    """What to measure."""
    messages, room_keys = setting.scaled(MESSAGES), setting.scaled(ROOM_KEYS)
    return [
        decrypting(messages),
        decrypting(messages, batch=100),
        encrypting(messages),
        encrypting(messages, callers=setting.scaled(100)),
        receiving(room_keys, new_sessions=False),
        receiving(room_keys, new_sessions=True),
        sending(setting.scaled(DEVICES)),
        answering(setting.scaled(INBOUND), setting.scaled(OLM)),
        opening(setting.scaled(INBOUND)),
    ]


async def encryption(setting: Setting) -> Outcome:
    """Each piece of work on a sealed store, and on one that isn't."""
    results: list[Result] = []
    bars: list[tuple[str, float]] = []
    for number, work in enumerate(works(setting)):
        places = {
            "sealed": Place(folder=setting.folder / f"{number}-sealed"),
            "not sealed": Place(folder=setting.folder / f"{number}-plain", key=None),
        }
        figures = await side_by_side(work, places, rounds=setting.rounds, progress=setting.progress)
        sealed, plain = figures.values()
        times = ratio(sealed, plain)
        results.append(Result(label=f"sealed: {work.name}", value=times, figures=(sealed, plain)))
        bars.append((work.name, times))
    title = "Encryption at rest: how many times as long as without"
    return Outcome(results=tuple(results), bars=(Bars(name="encryption", title=title, bars=tuple(bars)),))
