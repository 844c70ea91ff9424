"""A process is killed at each system call that touches the store's files; nothing that it has told anybody is lost.

Each point is a new process, which does a round of everything and gets SIGKILL when it is about to make that call. Then
somebody else goes on: a new process, or one that had the store open all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import attrs
import pytest
import trio

from olmstate.messages import DeviceId, UserId
from olmstate.storage import SqliteStore, open_store
from tests.faults import client
from tests.faults.client import check, note_generation, open_client, open_device_store, work
from tests.faults.cores import desks, share
from tests.faults.history import Kind, Log
from tests.faults.next_version import next_version
from tests.faults.strace import Point, attached, kill_at_each, points
from tests.faults.tally import settle
from tests.faults.worker import Workers
from tests.faults.world import World, copy_world, make_lived_in, make_nothing

SAMPLE = 14
"""Points of a scenario in the short form."""
REACHED = 0.9
"""Of the chosen points at least."""

Die = Callable[[], int]
"""Lets a process do a round; how it has ended: 0, or less the number of the signal."""


def start_again(world: World, die: Die) -> int:
    """A new process goes on, and a third one finds what that has left."""
    status = die()
    world.live()
    world.look()
    return status


def go_on(world: World, die: Die) -> int:
    """One that has the store open goes on, as if nothing had happened."""

    async def survive() -> int:
        async with open_client(world.store, world.homeserver()) as (supervisor, store):
            await check(supervisor, store, world.homeserver())
            wrapping = store.wrapping()
            status = await trio.to_thread.run_sync(die)
            homeserver = world.homeserver()  # it knows what the other has sent
            if store.wrapping() != wrapping and len(homeserver.secrets) > 1:
                # it was killed before it could tell of the last generation, which is to be told before the next one
                note_generation(homeserver, store.info().generation)
                homeserver.secret_changed(homeserver.secrets[-1])
            await check(supervisor, store, homeserver)
            await work(supervisor, homeserver)
            await check(supervisor, store, homeserver)
        return status

    status = trio.run(survive)
    world.look()
    return status


@attrs.frozen(kw_only=True)
class Scenario:
    """Who lives on which store, and who finds it after the kill."""

    make: Callable[[Path], World]
    after: Callable[[World, Die], int]
    next_version: bool = False
    """Whether the process that is killed, and who comes after it, are of the next version."""


SCENARIOS = {
    "first open": Scenario(make=make_nothing, after=start_again),
    "upgrade": Scenario(make=make_lived_in, after=start_again, next_version=True),
    "beside another": Scenario(make=make_lived_in, after=go_on),
}


@attrs.define
class Killer:
    """Lets a process die in one world after another, all of them copies of the same beginning."""

    scenario: Scenario
    beginning: World
    folder: Path
    workers: Workers

    @property
    def _output(self) -> Path:
        return self.folder / "trace"

    def run(self, *options: str) -> int:
        """Let a process do its round under strace, and somebody go on after it; how the process has ended."""
        world = copy_world(self.beginning, self.folder / "world")

        def die() -> int:
            pid = self.workers.start(world.store, world.journal, next_version=self.scenario.next_version)
            with attached(pid, self._output, world.files(), *options):
                return self.workers.go()

        return self.scenario.after(world, die)

    def points(self) -> list[Point]:
        """All calls of a round in which nobody dies."""
        assert self.run() == 0
        return points(self._output)

    def kill(self, chosen: Sequence[Point]) -> dict[Point, str | None]:
        """See `kill_at_each`."""
        return kill_at_each(chosen, self.run)


def sample(found: list[Point], number: int) -> list[Point]:
    """One of each kind of call, and others from the beginning to the end."""
    first = {point.call: point for point in reversed(found)}
    return [*first.values(), *found[:: max(1, len(found) // number)]]


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.usefixtures("strace")
def test_nothing_is_lost_or_reused_when_a_process_is_killed_at_any_system_call(
    name: str,
    full: bool,  # noqa: FBT001 - a fixture
    memory_folder: Path,
) -> None:
    scenario = SCENARIOS[name]
    beginning = scenario.make(memory_folder / "beginning")
    with desks(memory_folder, 2 if full else 1) as places, next_version() if scenario.next_version else nullcontext():
        killers = [Killer(scenario, beginning, folder, workers) for folder, workers in places]
        found = killers[0].points()
        chosen = found if full else sample(found, SAMPLE)
        outcomes = share(killers, Killer.kill, chosen)
    settle(f"kill -9 at a system call: {name}", outcomes, f"{len(outcomes)} of {len(found)} calls")
    assert len(outcomes) >= len(chosen) * REACHED, "too few of the points were ever reached"


async def test_a_migration_is_in_the_history_though_its_process_has_died_before_it_could_tell(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[SqliteStore] = []

    async def keep(
        folder: Path, *, user_id: UserId, device_id: DeviceId, key: bytes, lock_timeout: float
    ) -> SqliteStore:
        store = await open_store(folder, user_id=user_id, device_id=device_id, key=key, lock_timeout=lock_timeout)
        opened.append(store)
        return store

    def die(log: Log, kind: Kind, **_: object) -> None:
        assert kind == "elsewhere"
        raise KeyboardInterrupt

    with next_version():
        with monkeypatch.context() as patched:
            patched.setattr(client, "open_store", keep)
            patched.setattr(Log, "write", die)
            with pytest.raises(KeyboardInterrupt):
                await open_device_store(world.store, world.homeserver())
        await opened[0].aclose()
        await trio.to_thread.run_sync(world.live)
