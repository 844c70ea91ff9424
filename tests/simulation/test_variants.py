"""A simulation in which nothing can go wrong proves nothing: what lacks a protection is found out.

Short form: until each rule that must find it has, 100 seeds at most. With `--full`: all within 1,000 seeds.
"""

from __future__ import annotations

import pytest

from tests.faults import tally
from tests.simulation.simulate import simulate
from tests.simulation.variants import BROKEN, LOCKLESS, Broken

SHORT, FULL = 100, 1_000
"""Seeds."""

OF_THE_LOCK = frozenset({"one at a time", "commits under the lock", "everybody gets through"})
"""What can't be kept without it: turns are turned back until they are given up."""


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.variant.name)
def test_a_missing_protection_is_found_out(broken: Broken, full: bool) -> None:  # noqa: FBT001 - a fixture
    first: dict[str, int] = {}
    runs = faults = 0
    for seed in range(FULL if full else SHORT):
        run = simulate(seed, broken.variant)
        runs += 1
        faults += run.faults.total()
        for violation in run.violations:
            first.setdefault(violation.rule, seed)
        if set(broken.found_by) <= first.keys():
            break
    missed = set(broken.found_by) - first.keys()
    found = ", ".join(f"{rule} at seed {seed}" for rule, seed in sorted(first.items(), key=lambda item: item[1]))
    tally.write(
        tally.Tally(
            harness=f"simulation must find: {broken.variant.name}",
            cases=runs,
            faults_injected=faults,
            violations=len(missed),
            points_or_seeds=found,
        )
    )
    print(f"{broken.variant.name}: {found}")
    assert not missed


def test_without_the_lock_the_fence_alone_keeps_every_ratchet(full: bool) -> None:  # noqa: FBT001 - a fixture
    bad: list[str] = []
    for seed in range(FULL if full else SHORT // 2):
        run = simulate(seed, LOCKLESS)
        bad.extend(f"seed {seed}: {violation}" for violation in run.violations if violation.rule not in OF_THE_LOCK)
    assert not bad, "\n".join(bad)
