"""What each message costs with more of its own input, and with more in the store that it doesn't touch.

The processor's time, since the disk's says nothing of either; what comes in between only adds to it, so the least of
some rounds counts. A cost that grows as the n-th power of a size has the exponent n: 1 of an input that is walked once,
0 of what isn't touched.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from olmstate.actors import run_supervisor
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import AddDevices, CreateAccount, Message, OlmStateError
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Figure
from tests.bench.plot import Plot, Series
from tests.cost.asks import ASKS
from tests.cost.situations import OPTIONS, SITUATIONS, filled, open_device

TIMES = (1, 10, 100)
INPUT, STORE = 10, 20
"""The smallest sizes."""
OF_INPUT, OF_STORE = 1.1, 0.1
"""The largest exponents."""
NOTHING = AddDevices(response={"device_keys": {}})
"""A turn, that writes what a query before it has left to be written."""
DRAWN = (
    "AddDevices, of many users",
    "DecryptRoomEvents, of many sessions",
    "ImportKeyFile",
    "ReceiveSync, to-device events",
    "ShareRoomKey",
)
ALSO_DRAWN = ("decrypt_room_event", "encrypt_room_event", "receive_sync", "share_room_key", "outgoing_requests")

Cost = Callable[[int], Awaitable[float]]
"""Seconds of the processor's, with the size that many times as large."""


async def growth(setting: Setting) -> Outcome:
    """Each ask with an input, and each scenario, 1, 10 and 100 times as large."""
    folders = (setting.folder / f"{number}" for number in itertools.count())
    own, rest = setting.scaled(INPUT), setting.scaled(STORE)
    setting.progress("filling stores")
    stores = {times: await filled(next(folders), rest * times) for times in TIMES}

    def of_input(name: str) -> Cost:
        async def cost(times: int) -> float:
            folder = next(folders)
            store = await open_device(folder)
            try:
                async with run_supervisor(store, user_id=USER, device_id=DEVICE, options=OPTIONS) as supervisor:
                    await supervisor.ask(CreateAccount())
                    message = await ASKS[name](supervisor, own * times)
            finally:
                await store.aclose()
            return await _cost(message, folder)

        return cost

    def of_store(name: str) -> Cost:
        async def cost(times: int) -> float:
            folder = next(folders)
            return await _cost(await stores[times].prepare(SITUATIONS[name], folder), folder)

        return cost

    inputs = {name: of_input(name) for name in setting.some(list(ASKS))}
    situations = {name: of_store(name) for name in setting.some(list(SITUATIONS))}
    kinds = (
        _Kind("own input", OF_INPUT, own, _of_the_last_step, inputs, DRAWN),
        _Kind("rest of the store", OF_STORE, rest, _of_all, situations, ALSO_DRAWN),
    )
    gc.collect()
    gc.freeze()  # what is there by now needn't be looked through each time
    try:
        found = {kind: await _measured(kind, setting) for kind in kinds}
    finally:
        gc.unfreeze()
    return Outcome(
        results=tuple(result for kind, seconds in found.items() for result in _results(kind, seconds)),
        plots=tuple(_plot(kind, seconds) for kind, seconds in found.items()),
    )


async def _cost(message: Message[Any], folder: Path) -> float:
    """Of an ask with nothing cached, and of writing what comes of it."""
    store = await open_device(folder)
    try:
        async with run_supervisor(store, user_id=USER, device_id=DEVICE, options=OPTIONS) as supervisor:
            await supervisor.ask(NOTHING)  # it is awake
            gc.collect()
            gc.disable()
            try:
                start = time.process_time()
                with contextlib.suppress(OlmStateError):  # some scenarios are of refusals, which cost as well
                    await supervisor.ask(message)
                await supervisor.ask(NOTHING)
                return time.process_time() - start
            finally:
                gc.enable()
    finally:
        await store.aclose()
        shutil.rmtree(folder)


def _of_the_last_step(seconds: Sequence[float]) -> float:
    """The exponent from the largest size but one to the largest: what each ask costs hides the least there."""
    return max(0.0, math.log(seconds[-1] / seconds[-2], TIMES[-1] / TIMES[-2]))


def _of_all(seconds: Sequence[float]) -> float:
    """The exponent from the smallest size to the largest."""
    return max(0.0, math.log(seconds[-1] / seconds[0], TIMES[-1] / TIMES[0]))


@attrs.frozen(eq=False)
class _Kind:
    """Something that a cost may grow with."""

    what: str
    most: float
    smallest: int
    exponent: Callable[[Sequence[float]], float]
    costs: Mapping[str, Cost]
    drawn: Sequence[str]


async def _measured(kind: _Kind, setting: Setting) -> dict[str, list[float]]:
    """The least of some rounds, of each size: of as many as it takes until the target is met, or of all."""
    found: dict[str, list[float]] = {}
    for name, cost in kind.costs.items():
        least = [math.inf for _ in TIMES]
        for number in range(setting.rounds):
            setting.progress(f"{name}, round {number + 1}")
            least = [min(one, await cost(times)) for one, times in zip(least, TIMES, strict=True)]
            if kind.exponent(least) <= kind.most:
                break
        found[name] = least
    return found


def _results(kind: _Kind, found: Mapping[str, Sequence[float]]) -> list[Result]:
    """The steepest, and others that are too steep."""
    steepest, *others = sorted(found, key=lambda name: -kind.exponent(found[name]))
    labels = {f"exponent of the {kind.what}: the steepest of {len(found)}": steepest}
    labels |= {
        f"exponent of the {kind.what}: {name}": name for name in others if kind.exponent(found[name]) > kind.most
    }
    return [
        Result(
            label=label,
            value=kind.exponent(found[name]),
            target=kind.most,
            unit="",
            figures=tuple(
                Figure(name=f"{times} times as large" if times > 1 else "small", seconds=(seconds,))
                for times, seconds in zip(reversed(TIMES), reversed(found[name]), strict=True)
            ),
            note=name,
        )
        for label, name in labels.items()
    ]


def _plot(kind: _Kind, found: Mapping[str, Sequence[float]]) -> Plot:
    sizes = [float(kind.smallest * times) for times in TIMES]
    return Plot(
        name=f"growth-{kind.what.split()[0]}",
        title=f"Time of the processor and the {kind.what}",
        x="entries",
        y="ms",
        logarithmic=True,
        series=tuple(
            Series(
                name=name.replace("_", " "),
                points=tuple(zip(sizes, (seconds * 1000 for seconds in found[name]), strict=True)),
            )
            for name in ([name for name in kind.drawn if name in found] or found)
        ),
    )
