"""How long one ask holds the event loop, however much it is asked for, and whatever comes in.

Each step of each task is timed, from one checkpoint to the next, by the processor's clock of the event loop's thread:
so neither the machine's other work counts, nor how long the disk takes for a commit. Nor does collecting garbage, which
takes as long as the program has objects. On a machine that does other work, a step that is long in one round is short
in another: each is looked at by itself.
"""

from __future__ import annotations

import contextlib
import gc
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import trio
from trio.abc import Instrument

from olmstate.actors import Supervisor, run_supervisor
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import AddDevices, CreateAccount, Message, NoTransport
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Figure
from tests.cost.large_asks import LONG_ASKS, MOVING_IN
from tests.cost.situations import OPTIONS, open_device

MOST = 5.0
"""Milliseconds."""
MOST_ROUNDS = 5
"""Each on a copy of the store; once no step is too long, that is enough."""
NOTHING = AddDevices(response={"device_keys": {}})
"""A turn, that writes what a query before it has left to be written."""
Steps: TypeAlias = Mapping[str, Sequence[float]]
"""How long each was, in seconds, by the name of the task."""


SIZES: Mapping[str, int] = {
    "AcknowledgeInbox": 2_000,
    "AddDevices, large": 60,
    "AddDevices, large identities": 60,
    "AddDevices, of many users": 5_000,
    "AddDevices, of one user": 5_000,
    "CancelRoomKeyRequests": 1_000,
    "CreateOlmSessions": 500,
    "CreateOlmSessions, large keys": 40,
    "DecryptRoomEvents, backwards": 100,
    "DecryptRoomEvents, far apart": 100,
    "DecryptRoomEvents, of many sessions": 2_000,
    "DecryptRoomEvents, of one session": 10_000,
    "DecryptToDevice, forged": 100,
    "DecryptToDevice, large": 200,
    "DecryptToDevice, of many devices": 500,
    "DecryptToDevice, on one session": 1_000,
    "DecryptToDevice, sessions of one device": 500,
    "Devices": 1_000,
    "Devices, of many users": 2_000,
    "EncryptForRoom": 1_000,
    "EncryptForRoom, with a new key": 500,
    "EncryptToDevice": 1_000,
    "EncryptToDevice, large": 100,
    "ExportKeyFile": 5_000,
    "ExportRoomKeys": 5_000,
    "ForgetParkedEvents": 1_000,
    "ImportAccount": 1_000,
    "ImportKeyFile, large": 100_000,
    "ImportRoomKeys": 5_000,
    "ImportRoomKeys, large": 100,
    "Inbox": 2_000,
    "KeepInInbox": 5_000,
    "MarkRequestSent": 1_000,
    "MarkRoomKeyShared": 1_000,
    "MissingSessions": 1_000,
    "OutdatedUsers": 5_000,
    "OutgoingRequests": 5_000,
    "ParkEvents": 1_000,
    "ParkedEvents": 1_000,
    "ReceiveSync, account data": 20_000,
    "ReceiveSync, device lists": 2_000,
    "ReceiveSync, large account data": 100,
    "ReceiveSync, many rooms": 2_000,
    "ReceiveSync, rooms": 20_000,
    "ReceiveSync, to-device events": 500,
    "RequestRoomKeys": 1_000,
    "RequestSecrets": 1_000,
    "RoomKeyRequests": 1_000,
    "ShareRoomKey": 1_000,
    "ShareRoomKey, again": 1_000,
    "ShareRoomKey, with all who have it": 20_000,
    "TrackUsers": 20_000,
    "UpdateDevices": 1_000,
}
"""How much each is asked for: as much as there may ever be, or as can be prepared in some seconds."""


async def long_asks(setting: Setting) -> Outcome:
    """The longest step of each."""
    results: list[Result] = []
    for number, name in enumerate(setting.some(list(SIZES))):
        setting.progress(name)
        size = setting.scaled(SIZES[name])
        longest = await _longest(name, size, setting, setting.folder / f"{number}")
        results.append(
            Result(
                label=f"longest step of {name}: {size:,}",
                value=longest * 1000,
                target=MOST,
                unit="ms",
                figures=(Figure(name="longest step", seconds=(longest,)),),
            )
        )
    return Outcome(results=tuple(results))


async def _longest(name: str, size: int, setting: Setting, folder: Path) -> float:
    """The longest step, in seconds."""
    prepared = folder / "prepared"
    folder.mkdir()
    async with _device(prepared) as supervisor:
        if name != MOVING_IN:
            await supervisor.ask(CreateAccount())
        message = await LONG_ASKS[name](supervisor, size)
    rounds: list[Steps] = []
    while len(rounds) < min(MOST_ROUNDS, setting.rounds):
        place = folder / "copy"
        shutil.copytree(prepared, place)
        async with _device(place) as supervisor:
            rounds.append(await _steps_of(supervisor, message))
        shutil.rmtree(place)
        if longest_of(rounds) * 1000 <= MOST:
            break
    shutil.rmtree(folder)
    return longest_of(rounds)


def longest_of(rounds: Sequence[Steps]) -> float:
    """The longest step, where each counts for as long as it took in the round in which it was shortest.

    What else the machine did made a step longer here, and another one there. Rounds of which a task took another number
    of steps than in most don't count for that task: there, one step isn't the other.
    """
    longest = 0.0
    shortest_round = min(max(map(max, steps.values())) for steps in rounds)
    for task in {task for steps in rounds for task in steps}:
        of_task = [steps.get(task, ()) for steps in rounds]
        number, _ = Counter(map(len, of_task)).most_common(1)[0]
        alike = zip(*(steps for steps in of_task if len(steps) == number), strict=True)
        longest = max((longest, *(min(each) for each in alike)))
    return min(longest, shortest_round)


@asynccontextmanager
async def _device(folder: Path) -> AsyncGenerator[Supervisor]:
    store = await open_device(folder)
    try:
        async with run_supervisor(store, user_id=USER, device_id=DEVICE, options=OPTIONS) as supervisor:
            yield supervisor
    finally:
        await store.aclose()


async def _steps_of(supervisor: Supervisor, message: Message[Any]) -> Steps:
    """Of an ask, and of writing what comes of it. To free the reply is its asker's work."""
    gc.collect()
    gc.disable()
    timed = _Timed()
    trio.lowlevel.add_instrument(timed)
    reply: object = None
    try:
        await trio.lowlevel.checkpoint()
        with contextlib.suppress(NoTransport):
            reply = await supervisor.ask(message)
        await supervisor.ask(NOTHING)
        await trio.lowlevel.checkpoint()
    finally:
        trio.lowlevel.remove_instrument(timed)
        gc.enable()
    del reply
    return timed.steps


@attrs.define(eq=False)
class _Timed(Instrument):
    """How long each step of each task takes, in seconds."""

    steps: dict[str, list[float]] = attrs.field(factory=lambda: defaultdict[str, list[float]](list))
    _since: float = attrs.field(factory=time.thread_time)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - whosever it is
        """It begins."""
        self._since = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It is over."""
        self.steps[task.name].append(time.thread_time() - self._since)
