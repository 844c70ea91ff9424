"""Whatever a homeserver and a member of the room do within their keys: nothing is told of who didn't do it.

Short form: 40 seeds, and for each variant one that finds it out, or more if it no longer does. With `--full`: 1,000.

A seed that fails repeats: `pytest tests/simulation/hostile --seed N`.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults import tally
from tests.simulation.finding import search
from tests.simulation.hostile import homeserver, member
from tests.simulation.hostile.play import play
from tests.simulation.hostile.variants import BROKEN, Broken

SHORT, FULL = 40, 1_000
"""Seeds."""
SEARCHED = 150
"""Seeds within which a variant must be found out, in the short form."""
EVERY_ATTACK = {attack.__name__ for attack in (*member.ATTACKS, *homeserver.ATTACKS)}


def test_nobody_passes_for_anybody_and_nobody_is_silenced(full: bool, only_seed: int | None) -> None:  # noqa: FBT001 - fixtures
    if only_seed is not None:
        run = play(only_seed)
        print(run.report())
        assert not run.violations
        return
    attacks: Counter[str] = Counter()
    told: Counter[str] = Counter()
    bad: list[str] = []
    seeds = FULL if full else SHORT
    for seed in range(seeds):
        run = play(seed)
        attacks += run.attacks
        told += run.told
        if run.violations:
            bad.append(run.report())
    tally.write(
        tally.Tally(
            harness="liars",
            cases=seeds,
            faults_injected=attacks.total(),
            violations=len(bad),
            points_or_seeds=f"seeds 0 to {seeds - 1}",
        )
    )
    print(f"{seeds} seeds, {attacks.total()} attacks, {dict(sorted(told.items()))}")
    assert not bad, "\n\n".join(bad[:3])
    assert EVERY_ATTACK == attacks.keys()


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.variant.name)
def test_a_check_that_is_missing_is_found_out(broken: Broken, full: bool) -> None:  # noqa: FBT001 - a fixture
    seeds = FULL if full else SEARCHED
    found = search(
        range(seeds) if full else (broken.seed, *range(seeds)),
        lambda seed: (violation.rule for violation in play(seed, broken.variant).violations),
        found_by=broken.found_by,
    )
    found.tell(f"liars must be found out: {broken.variant.name}", cases=seeds, faults=seeds)
    assert not found.missed


@pytest.mark.parametrize("seed", [5, 8])
def test_a_seed_gives_the_same_again(seed: int) -> None:
    first, again = play(seed), play(seed)

    assert (first.attacks, first.told) == (again.attacks, again.told)
