"""One device, several processes, trouble, and then peace: a simulation from one seed.

Owns: `simulate`, and what a run consists of.
Rule: everything is drawn from the seed, so that a run repeats exactly. Time is virtual, and everything takes some:
without it, tasks would never overlap, and nothing would be found.

A run: two to four processes, each with several askers, work off what an app does, over one store in memory. Meanwhile
they are killed and started again, their askers are cancelled, others write to the store, take the lock, or make it
fail. Then nothing strikes any more, and everybody must get through. At the end, the history is checked.
"""

from __future__ import annotations

import collections
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Protocol

import attrs
import trio

from olmstate.actors import Options, Supervisor
from olmstate.actors.testing import MemoryDisk, MemoryStore, Operation, Step, When
from olmstate.messages import (
    ActorStopped,
    Statistics,
    StoreBusy,
    StoreError,
    StoreFull,
    StorePoisoned,
    StoreUnavailable,
)
from olmstate.storage import Row, Store, Table
from tests.faults.checker import check
from tests.faults.evidence import Violation
from tests.faults.history import Entry, Log
from tests.faults.recording import WATCHED, describe, record_stored
from tests.simulation import schedule
from tests.simulation.actions import ACTIONS, Action, choose
from tests.simulation.client import Client
from tests.simulation.process import Killed, Process
from tests.simulation.world import ROOMS, World, baseline

LONG = 3600.0
"""Seconds, of virtual time, in which everybody must get through once nothing strikes any more."""


class WrapStore(Protocol):
    """Puts something between a supervisor and its store."""

    def __call__(self, inner: Store, disk: MemoryDisk) -> Store:
        """What the supervisor gets."""
        ...


def _as_it_is(inner: Store, disk: MemoryDisk) -> Store:
    return inner


@attrs.frozen(kw_only=True)
class Variant:
    """What is put in the place of parts of the product, to see whether that is found out."""

    name: str
    store: WrapStore = _as_it_is
    """What a process has in the place of its store."""
    patches: Callable[[], AbstractContextManager[object]] = nullcontext
    """What is different while the simulation runs."""


PRODUCT = Variant(name="the product")


@attrs.frozen(kw_only=True)
class Run:
    """What came of a simulation."""

    seed: int
    variant: str
    history: Sequence[Entry]
    violations: Sequence[Violation]
    faults: Counter[str]
    """What has struck, and how often."""
    asks: int

    def report(self) -> str:
        """All that there is to know of a failure."""
        lines = [f"seed {self.seed}, {self.variant}: {len(self.violations)} violations", ""]
        lines += [str(entry) for entry in self.history]
        lines += ["", *map(str, self.violations), ""]
        lines += [f"again: pytest tests/simulation --seed {self.seed}"]
        return "\n".join(lines)


def simulate(seed: int, variant: Variant = PRODUCT) -> Run:
    """Run one simulation."""
    base = baseline()
    rng = random.Random(seed)
    simulation = _Simulation(rng, variant, base.disk())
    with variant.patches():
        schedule.run(simulation.main, rng)
    violations = [*simulation.bugs, *check(simulation.history)]
    asks = sum(entry.kind == "asked" for entry in simulation.history)
    return Run(
        seed=seed,
        variant=variant.name,
        history=simulation.history,
        violations=violations,
        faults=simulation.struck,
        asks=asks,
    )


class _Simulation:
    def __init__(self, rng: random.Random, variant: Variant, disk: MemoryDisk) -> None:
        self.rng = rng
        self.variant = variant
        self.disk = disk
        self.history: list[Entry] = []
        self.bugs: list[Violation] = []
        self.struck: Counter[str] = Counter()
        self.calm = trio.Event()
        self.log = Log(self, "0-world", self.clock)
        self.slots = [_Slot(self, number) for number in range(1, rng.choice((2, 2, 3, 3, 4)) + 1)]

    def append(self, entry: Entry) -> None:
        """A sink of all histories."""
        self.history.append(entry)

    def clock(self) -> int:
        """Virtual nanoseconds; two entries never have the same."""
        now = int(trio.current_time() * 1e9)
        return max(now, self.history[-1].t + 1) if self.history else now

    def bug(self, error: BaseException) -> None:
        """Something was raised that nobody has documented."""
        self.bugs.append(Violation("no bugs", "".join(traceback.format_exception(error))))

    async def main(self) -> None:
        """The whole run."""
        plain = MemoryStore(self.disk)
        await record_stored(plain, self.log, self.disk.generation)
        world = World(baseline(), self.rng, self.log)
        try:
            with trio.fail_after(2 * LONG):
                async with trio.open_nursery() as nursery:
                    for slot in self.slots:
                        nursery.start_soon(slot.run, world)
                    await self._chaos()
                    for slot in self.slots:
                        await slot.idle.wait()
                    self.log.write("calm")
                    self.calm.set()
        except trio.TooSlowError:
            waiting = [slot.number for slot in self.slots if not slot.done]
            text = f"processes {waiting} are stuck"
            self.bugs.append(Violation("everybody gets through", text))
        await record_stored(plain, self.log, self.disk.generation)

    # --- trouble --------------------------------------------------------------------------------------------

    async def _chaos(self) -> None:
        strikes = [
            self._kill,
            self._kill_at_step,
            self._cancel,
            self._write,
            self._write_at_step,
            self._fail,
            self._fail,
            self._hold_the_lock,
        ]
        for _ in range(self.rng.randint(0, 8)):
            await trio.sleep(self.rng.uniform(0, 0.15))
            await self.rng.choice(strikes)()

    def _somebody(self) -> _Slot:
        return self.rng.choice(self.slots)

    async def _kill(self) -> None:
        process = self._somebody().process
        if process is not None:
            self.struck["kill"] += 1
            process.kill()

    async def _kill_at_step(self) -> None:
        process = self._somebody().process

        def strike() -> None:
            if process is not None and not self.calm.is_set():
                self.struck["kill at a step"] += 1
                process.kill()

        if process is not None:
            process.faults.at(self.rng.choice(KILL_AT), strike, when=self.rng.choice(MOMENTS))

    async def _cancel(self) -> None:
        scopes = sorted(self._somebody().scopes.items())
        if scopes:
            self.struck["cancel"] += 1
            self.rng.choice(scopes)[1].cancel()

    async def _write(self) -> None:
        self._write_now()

    async def _write_at_step(self) -> None:
        process = self._somebody().process
        if process is not None:
            process.faults.at(self.rng.choice(WRITE_AT), self._write_now, when=self.rng.choice(MOMENTS))

    def _write_now(self) -> None:
        """Somebody writes without asking for the lock."""
        if self.calm.is_set():
            return
        self.struck["foreign write"] += 1
        tables = [table for table in Table if self.rng.random() < 0.3]
        rows: dict[Table, list[Row]] = {table: self.disk.rows(table) for table in tables}
        generation = self.disk.write_from_elsewhere(rows, keys_known=self.rng.random() < 0.7)
        plain = MemoryStore(self.disk)
        described = [describe(plain, table, row) for table in WATCHED for row in rows.get(table, ())]
        self.log.write("elsewhere", generation=generation, rows=described)

    async def _fail(self) -> None:
        process = self._somebody().process
        if process is None:
            return
        operation, errors = self.rng.choice(ERRORS)
        error = self.rng.choice(errors)
        after = isinstance(error, StorePoisoned) and self.rng.random() < 0.5

        def strike() -> None:
            if not self.calm.is_set():
                self.struck[f"{type(error).__name__} at {operation}"] += 1
                raise attrs.evolve(error)  # one that is raised again keeps all that it was raised in

        process.faults.at(operation, strike, when="after" if after else "before")

    async def _hold_the_lock(self) -> None:
        """A frozen holder; those who wait longer than they want are told so."""
        self.struck["lock held"] += 1
        lock = MemoryStore(self.disk, pid=99).lock
        await lock.acquire(LONG)
        await trio.sleep(self.rng.choice((0.05, 0.5, 8)))
        lock.release()


KILL_AT: Sequence[Operation] = ("commit", "commit", "read", "look", "acquire", "acquire_nowait")
WRITE_AT: Sequence[Operation] = ("commit", "read")
MOMENTS: Sequence[When] = ("before", "after")

ERRORS: Sequence[tuple[Operation, Sequence[StoreError]]] = (
    (
        "read",
        (StoreUnavailable(reason="I/O error"), StoreBusy(holder_pid=None, waited=0), StorePoisoned(reason="doubt")),
    ),
    ("page", (StoreUnavailable(reason="I/O error"),)),
    ("look", (StoreUnavailable(reason="I/O error"), StoreBusy(holder_pid=None, waited=0))),
    ("look", (StoreUnavailable(reason="I/O error"), StorePoisoned(reason="doubt"))),
    ("acquire", (StoreBusy(holder_pid=99, waited=5),)),
    ("acquire_nowait", (StoreUnavailable(reason="I/O error"),)),
    ("commit", (StoreFull(), StoreBusy(holder_pid=None, waited=0), StoreUnavailable(reason="I/O error"))),
    ("commit", (StoreFull(), StorePoisoned(reason="I/O error on fsync"))),
)
"""How each step of a store may fail."""


class _Slot:
    """One of the app's processes: whenever it is killed, or its handle is in doubt, it is started again."""

    def __init__(self, simulation: _Simulation, number: int) -> None:
        self.number = number
        self.process: Process | None = None
        self.scopes: dict[int, trio.CancelScope] = {}
        """One for each asker that is at work."""
        self.idle = trio.Event()
        self.done = False
        self._simulation = simulation
        self._starts = 0
        rng = simulation.rng
        self._work = collections.deque(choose(rng) for _ in range(rng.randint(2, 5)))
        self._askers = rng.randint(1, 3)
        self._options = Options(
            capacities=dict.fromkeys(Table, rng.choice((0, 1, 3, 10_000))),
            lock_timeout=rng.choice((2, 5)),
            write_behind=rng.choice((0.01, 0.5)),
            wall_clock=schedule.wall_clock,
        )

    async def run(self, world: World) -> None:
        """Start it until it has done everything."""
        while not self.done:
            self._starts += 1
            simulation = self._simulation
            process = Process(
                simulation.disk,
                simulation,
                pid=self.number,
                token=str(self._starts),
                clock=simulation.clock,
                latency=self._latency,
            )
            self.process = process
            with process.scope:
                try:
                    await self._live(process, world)
                except Killed:
                    pass
                except BaseExceptionGroup as group:
                    self._sort_out(group)
                except Exception as error:  # noqa: BLE001 - whatever it is, the run's report tells it
                    simulation.bug(error)
            if len(simulation.bugs) > MOST_BUGS:
                self.idle.set()
                return
            await trio.sleep(simulation.rng.uniform(0, 0.05))

    def _sort_out(self, group: BaseExceptionGroup[BaseException]) -> None:
        _, rest = group.split(Killed)
        cancelled, bugs = rest.split(trio.Cancelled) if rest is not None else (None, None)
        if bugs is not None:
            self._simulation.bug(bugs)
        if cancelled is not None:
            raise cancelled

    def _latency(self, step: Step) -> float:  # noqa: ARG002 - the protocol's
        return self._simulation.rng.uniform(0, 0.01)

    async def _live(self, process: Process, world: World) -> None:
        simulation = self._simulation
        between = partial(simulation.variant.store, disk=simulation.disk)
        async with process.run(self._options, between) as supervisor:
            client = Client(supervisor, world)
            async with trio.open_nursery() as askers:
                for asker in range(self._askers):
                    askers.start_soon(self._ask, asker, client, supervisor.supervisor)
            if not await self._in_doubt(supervisor.supervisor):
                self.idle.set()
                await simulation.calm.wait()
                if not await self._in_doubt(supervisor.supervisor):
                    await self._finish(client)
                    self.done = True

    async def _ask(self, asker: int, client: Client, supervisor: Supervisor) -> None:
        """Work off what is left, unless the handle is in doubt."""
        rng = self._simulation.rng
        while not await self._in_doubt(supervisor) and self._work:
            action = self._work.popleft()
            with trio.CancelScope() as scope:
                self.scopes[asker] = scope
                try:
                    await trio.sleep(rng.uniform(0, 0.03))
                    await action(client)
                except (StoreError, ActorStopped):
                    pass  # an app would say so and try again later
                finally:
                    del self.scopes[asker]

    async def _in_doubt(self, supervisor: Supervisor) -> bool:
        """Whether the app has heard that it must open the store anew."""
        try:
            await supervisor.ask(Statistics())
        except StorePoisoned:
            return True
        except (StoreError, ActorStopped):
            pass
        return False

    async def _finish(self, client: Client) -> None:
        """Nothing strikes any more: everything must work."""
        for action in self._finale():
            with suppress(StoreError, ActorStopped):  # it is in the history
                await action(client)

    def _finale(self) -> Iterator[Action]:
        yield Client.catch_up
        yield self._simulation.rng.choice([action for _, action in ACTIONS])
        for room_id in ROOMS:
            yield partial(Client.send_in, room_id=room_id)
        yield Client.read_last


MOST_BUGS = 5
"""After which there is no point in starting again."""
