"""A simulation in which nothing can go wrong proves nothing: what lacks a protection is found out.

Short form: until each rule that must find it has, 300 seeds at most. With `--full`: all within 1,000 seeds.
"""

from __future__ import annotations

import pytest

from tests.simulation.finding import search
from tests.simulation.simulate import Run, simulate
from tests.simulation.variants import BROKEN, LOCKLESS, Broken

SHORT, FULL = 300, 1_000
"""Seeds."""

OF_THE_LOCK = frozenset({"one at a time", "commits under the lock", "everybody gets through"})
"""What can't be kept without it: turns are turned back until they are given up."""


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.variant.name)
def test_a_missing_protection_is_found_out(broken: Broken, full: bool) -> None:  # noqa: FBT001 - a fixture
    runs: list[Run] = []

    def broken_rules(seed: int) -> list[str]:
        runs.append(simulate(seed, broken.variant))
        return [violation.rule for violation in runs[-1].violations]

    found = search(range(FULL if full else SHORT), broken_rules, found_by=broken.found_by)
    faults = sum(run.faults.total() for run in runs)
    found.tell(f"simulation must find: {broken.variant.name}", cases=len(runs), faults=faults)
    assert not found.missed


def test_without_the_lock_the_fence_alone_keeps_every_ratchet(full: bool) -> None:  # noqa: FBT001 - a fixture
    bad: list[str] = []
    for seed in range(FULL if full else SHORT // 6):
        run = simulate(seed, LOCKLESS)
        bad.extend(f"seed {seed}: {violation}" for violation in run.violations if violation.rule not in OF_THE_LOCK)
    assert not bad, "\n".join(bad)
