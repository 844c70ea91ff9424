"""How long the event loop stands still while commits run: a plot, and a target.

A task sleeps a millisecond at a time, beside callers who keep a device busy with commands that each must be written.
Whatever it oversleeps, the loop stood still. A commit that is quick is made on the loop, and a long one in a thread; so
the longest stall is compared with the longest that as many commits, of as many rows, take in a thread. A task beside
those sleeps as well: what it oversleeps is the machine's doing, and counts as theirs.
"""

from __future__ import annotations

import statistics
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from olmstate.actors import Supervisor, run_supervisor
from olmstate.messages import CreateAccount, DeviceId, EncryptToDevice, UserId
from olmstate.storage import Rows, Store, open_store
from tests.bench.bare import BareStore
from tests.bench.device import DEVICE, KEY, ROOM, USER
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Figure, Watch
from tests.bench.people import people, room_key
from tests.bench.plot import Plot, Series
from tests.bench.work import counted, know

CALLERS = (1, 10, 100)
COMMANDS = 1_000
TICK = 0.001
MOST_BEYOND = 5.0
"""Milliseconds."""


@attrs.define
class _Sizes:
    """A store that notes what is committed; everything else is the store's own."""

    store: Store
    commits: int = 0
    rows: int = 0
    """Of the largest commit, as its bytes are."""
    bytes: int = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        return getattr(self.store, name)

    async def commit(self, rows: Rows, seen: int) -> int:
        """The store's."""
        values = [row.value or b"" for table in rows.values() for row in table]
        self.commits += 1
        self.rows, self.bytes = max((self.rows, self.bytes), (len(values), sum(map(len, values))))
        return await self.store.commit(rows, seen)


async def stall(setting: Setting) -> Outcome:
    """1 to 100 callers whose commands are committed together."""
    results: list[Result] = []
    stalls: list[tuple[float, float]] = []
    commits: list[tuple[float, float]] = []
    for callers in setting.some(CALLERS):
        stalled, committed = await _stalls(setting, callers)
        beyond = statistics.median(one - other for one, other in zip(stalled.seconds, committed.seconds, strict=True))
        results.append(
            Result(
                label=f"longest stall beyond a commit, {counted(callers, 'caller')}",
                value=max(0.0, beyond * 1000),
                target=MOST_BEYOND,
                unit="ms",
                figures=(stalled, committed),
                note=f"the longest of all was {max(stalled.seconds) * 1000:.1f} ms",
            )
        )
        stalls.append((float(callers), stalled.median * 1000))
        commits.append((float(callers), committed.median * 1000))
    plot = Plot(
        name="stall",
        title="How long the event loop stands still while commits run",
        x="callers whose commands are committed together",
        y="ms",
        series=(
            Series(name="longest stall", points=tuple(stalls)),
            Series(name="commit in a thread", points=tuple(commits)),
        ),
    )
    return Outcome(results=tuple(results), plots=(plot,))


async def _stalls(setting: Setting, callers: int) -> tuple[Figure, Figure]:
    """Of each round, the longest stall, and the longest commit of as many rows in a thread."""
    folder = setting.folder / f"{callers}"
    stalled: list[float] = []
    committed: list[float] = []
    async with _device(folder) as (supervisor, sizes):
        known = people(callers)
        await know(supervisor, known)
        bare = BareStore(folder / "bare.sqlite")
        each = max(1, setting.scaled(COMMANDS) // callers)
        for number in range(setting.rounds + 1):
            setting.progress(f"{counted(callers, 'caller')}: round {number} of {setting.rounds}")
            commands = [
                EncryptToDevice(devices=(person.address,), type="m.room_key", content=room_key(person, ROOM))
                for person in known
            ]
            sizes.commits = sizes.rows = sizes.bytes = 0
            longest = await _longest_stall(supervisor, commands, each)
            commit = await _longest_commit(bare, sizes)
            if number:
                stalled.append(longest)
                committed.append(commit)
        bare.close()
    return (
        Figure(name=f"longest stall, {counted(callers, 'caller')}", seconds=tuple(stalled)),
        Figure(name=f"longest commit in a thread, {counted(sizes.rows, 'row')}", seconds=tuple(committed)),
    )


@asynccontextmanager
async def _device(folder: Path) -> AsyncGenerator[tuple[Supervisor, _Sizes]]:
    user_id, device_id = UserId(USER), DeviceId(DEVICE)
    store = await open_store(folder, user_id=user_id, device_id=device_id, key=KEY, lock_timeout=5.0)
    sizes = _Sizes(store)
    try:
        async with run_supervisor(cast("Store", sizes), user_id=user_id, device_id=device_id) as supervisor:
            await supervisor.ask(CreateAccount())
            yield supervisor, sizes
    finally:
        await store.aclose()


@attrs.define
class _Longest:
    """The longest of some times, in seconds."""

    seconds: float = 0.0

    def note(self, seconds: float) -> None:
        """One more."""
        self.seconds = max(self.seconds, seconds)


@asynccontextmanager
async def _ticking() -> AsyncGenerator[_Longest]:
    """Notes what a task oversleeps while the block runs."""
    longest = _Longest()

    async def tick() -> None:
        while True:
            watch = Watch()
            await trio.sleep(TICK)
            longest.note(watch.seconds() - TICK)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await trio.sleep(TICK)
        yield longest
        nursery.cancel_scope.cancel()


async def _longest_stall(supervisor: Supervisor, commands: list[EncryptToDevice], each: int) -> float:
    async def call(command: EncryptToDevice) -> None:
        for _ in range(each):
            await supervisor.ask(command)

    async with _ticking() as longest, trio.open_nursery() as calling:
        for command in commands:
            calling.start_soon(call, command)
    return longest.seconds


async def _longest_commit(bare: BareStore, sizes: _Sizes) -> float:
    """Of as many as there were, each as large as the largest, and in a thread; or the longest stall meanwhile."""
    value = "x" * (sizes.bytes // sizes.rows)
    values = [(str(number), value) for number in range(sizes.rows)]
    async with _ticking() as longest:
        for _ in range(sizes.commits):
            watch = Watch()
            await trio.to_thread.run_sync(bare.commit, values)
            longest.note(watch.seconds())
    return longest.seconds
