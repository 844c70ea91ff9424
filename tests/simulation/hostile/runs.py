"""A run of one seed, what is told of it, and the two supervisors that it is played with.

Owns: `Run`, `Violation`, `Supervisors`, and how all seeds are played.
Rule: each supervisor is closed and opened again now and then, so that what is told must be what is stored.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import attrs
import trio

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.storage import Table
from tests.faults import tally
from tests.simulation import schedule
from tests.simulation.finding import search
from tests.simulation.hostile.broken import PRODUCT, Broken, Variant


@attrs.frozen
class Violation:
    """What was found."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


@attrs.frozen(kw_only=True)
class Run:
    """What came of a run."""

    seed: int
    where: str
    """The folder of its test."""
    violations: Sequence[Violation]
    attacks: Counter[str]
    told: Counter[str]
    """What the device told, by kind."""

    def report(self) -> str:
        """All that there is to know of a failure."""
        lines = [f"seed {self.seed}: {len(self.violations)} violations", *map(str, self.violations)]
        return "\n".join([*lines, "", f"again: pytest {self.where} --seed {self.seed}"])


Play = Callable[[int, Variant], Run]


def all_seeds(play: Play, seeds: int, only: int | None, *, harness: str, attacks: Collection[str]) -> None:
    """Play them, and fail if a run finds a violation, or if an attack was never tried."""
    if only is not None:
        run = play(only, PRODUCT)
        print(run.report())
        assert not run.violations
        return
    tried: Counter[str] = Counter()
    told: Counter[str] = Counter()
    bad: list[str] = []
    for seed in range(seeds):
        run = play(seed, PRODUCT)
        tried += run.attacks
        told += run.told
        if run.violations:
            bad.append(run.report())
    tally.write(
        tally.Tally(
            harness=harness,
            cases=seeds,
            faults_injected=tried.total(),
            violations=len(bad),
            points_or_seeds=f"seeds 0 to {seeds - 1}",
        )
    )
    print(f"{seeds} seeds, {tried.total()} attacks, {dict(sorted(told.items()))}")
    assert not bad, "\n\n".join(bad[:3])
    assert set(attacks) == tried.keys()


def must_be_found(play: Play, broken: Broken, seeds: int, *, harness: str, all_of_them: bool) -> None:
    """Fail unless each rule that must find a variant out does."""
    found = search(
        range(seeds) if all_of_them else (broken.seed, *range(seeds)),
        lambda seed: (violation.rule for violation in play(seed, broken.variant).violations),
        found_by=broken.found_by,
    )
    found.tell(f"{harness} must be found out: {broken.variant.name}", cases=seeds, faults=seeds)
    assert not found.missed


@attrs.define
class Supervisors:
    """Two that have the same store open."""

    disk: MemoryDisk
    rng: random.Random
    nursery: trio.Nursery = attrs.field(init=False)
    _handles: list[_Handle | None] = attrs.field(factory=lambda: list[_Handle | None]([None, None]))

    async def any(self) -> Supervisor:
        """One of the two, which is new perhaps."""
        at = self.rng.randrange(len(self._handles))
        handle = self._handles[at]
        if handle is None or self.rng.random() < 0.1:
            if handle is not None:
                handle.done.set()
                await handle.closed.wait()
            handle = self._handles[at] = _Handle(MemoryStore(self.disk), self.rng.choice((0, 2, 10_000)))
            await self.nursery.start(handle.run)
        assert handle.supervisor is not None
        return handle.supervisor

    def running(self) -> Sequence[Supervisor]:
        """Those that are open."""
        return [handle.supervisor for handle in self._handles if handle is not None and handle.supervisor is not None]

    def close(self) -> None:
        """Have all of them end."""
        for handle in self._handles:
            if handle is not None:
                handle.done.set()


@attrs.define(eq=False)
class _Handle:
    """A supervisor that has the store open."""

    store: MemoryStore
    capacity: int
    supervisor: Supervisor | None = None
    done: trio.Event = attrs.field(factory=trio.Event)
    closed: trio.Event = attrs.field(factory=trio.Event)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Until it is done."""
        options = Options(capacities=dict.fromkeys(Table, self.capacity), wall_clock=schedule.wall_clock)
        async with run_supervisor(self.store, user_id=USER, device_id=DEVICE, options=options) as self.supervisor:
            task_status.started()
            await self.done.wait()
        self.closed.set()
