"""How long one ask holds the event loop, however much it is asked for, and whatever comes in.

Each step of each task is timed, from one checkpoint to the next, by the processor's clock of the event loop's thread:
so neither the machine's other work counts, nor how long the disk takes for a commit. Nor does collecting garbage, which
takes as long as the program has objects.
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
from trio.abc import Instrument

from olmstate.actors import Supervisor, run_supervisor
from olmstate.actors._wire.key_file import Derivation, FileKeys, finish, write_key_file
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    CreateAccount,
    DeviceAddress,
    DeviceId,
    ImportKeyFile,
    MarkRoomKeyShared,
    Message,
    PrepareRoomKey,
    RoomId,
    ShareRoomKey,
    UserId,
)
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Figure
from tests.cost.asks import ASKS, Prepare
from tests.cost.room_keys import exported_keys
from tests.cost.situations import OPTIONS, open_device

MOST = 5.0
"""Milliseconds."""
MOST_ROUNDS = 5
"""Each on a store of its own; the first with no step that is too long is enough."""


async def _sharing_with_all_who_have_it(supervisor: Supervisor, size: int) -> Message[Any]:
    """Who they are needn't be known for that."""
    room_id = RoomId("!large:example.org")
    devices = tuple(
        DeviceAddress(user_id=UserId(f"@u{number}:example.org"), device_id=DeviceId("A")) for number in range(size)
    )
    key = await supervisor.ask(PrepareRoomKey(room_id=room_id))
    await supervisor.ask(MarkRoomKeyShared(room_id=room_id, session_id=key.session_id, devices=devices))
    return ShareRoomKey(room_id=room_id, devices=devices)


async def _importing_a_large_file(_: Supervisor, size: int) -> Message[Any]:
    """So many keys, a thousand of which differ."""
    some = exported_keys(min(size, 1_000))
    derivation = Derivation.new(1)
    writer = write_key_file(derivation, FileKeys.derive("passphrase", derivation))
    next(writer)
    for _each in range(size // len(some)):
        writer.send(some)
    return ImportKeyFile(file=finish(writer), passphrase="passphrase")


LARGE: Mapping[str, Prepare] = {
    "ShareRoomKey, with all who have it": _sharing_with_all_who_have_it,
    "ImportKeyFile, large": _importing_a_large_file,
}

SIZES: Mapping[str, int] = {
    "AddDevices, of one user": 1_000,
    "CreateOlmSessions": 100,
    "MarkRequestSent": 200,
    "MissingSessions": 200,
    "OutgoingRequests": 5_000,
    "ParkedEvents": 1_000,
    "ReceiveSync, account data": 10_000,
    "ReceiveSync, device lists": 500,
    "ReceiveSync, many rooms": 1_000,
    "ReceiveSync, rooms": 20_000,
    "ShareRoomKey, with all who have it": 20_000,
    "TrackUsers": 10_000,
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
    """Of some rounds the one with the shortest: what else went on only adds to it."""
    found: list[float] = []
    for number in range(min(MOST_ROUNDS, setting.rounds)):
        place = folder / f"{number}"
        place.parent.mkdir(exist_ok=True)
        async with _device(place) as supervisor:
            await supervisor.ask(CreateAccount())
            message = await {**ASKS, **LARGE}[name](supervisor, size)
        async with _device(place) as supervisor:
            found.append(await _longest_step(supervisor, message))
        if found[-1] * 1000 <= MOST:
            break
    return min(found)


@asynccontextmanager
async def _device(folder: Path) -> AsyncGenerator[Supervisor]:
    store = await open_device(folder)
    try:
        async with run_supervisor(store, user_id=USER, device_id=DEVICE, options=OPTIONS) as supervisor:
            yield supervisor
    finally:
        await store.aclose()


async def _longest_step(supervisor: Supervisor, message: Message[Any]) -> float:
    gc.collect()
    gc.disable()
    longest = _LongestStep()
    trio.lowlevel.add_instrument(longest)
    try:
        await trio.lowlevel.checkpoint()
        await supervisor.ask(message)
        await trio.lowlevel.checkpoint()
    finally:
        trio.lowlevel.remove_instrument(longest)
        gc.enable()
    return longest.seconds


@attrs.define(eq=False)
class _LongestStep(Instrument):
    """The longest step of any task, in seconds."""

    seconds: float = 0.0
    _since: float = attrs.field(factory=time.thread_time)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - whosever it is
        """It begins."""
        self._since = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - the same
        """It is over."""
        self.seconds = max(self.seconds, time.thread_time() - self._since)
