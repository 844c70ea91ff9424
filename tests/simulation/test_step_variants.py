"""A harness that can't fail proves nothing: what lacks a protection is found out by one fault at the right step."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest

from tests.faults import tally
from tests.simulation.every_step import points
from tests.simulation.judge import Rule
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.step_variants import BROKEN_STEPS, BrokenStep
from tests.simulation.strikes import STRIKES

SCENARIO_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
STRIKE_BY_NAME = {strike.name: strike for strike in STRIKES}


@pytest.mark.parametrize("broken", BROKEN_STEPS, ids=lambda broken: broken.variant.name)
def test_a_missing_protection_is_found_out_by_a_fault(broken: BrokenStep) -> None:
    found: Counter[str] = Counter()
    cases = 0
    for scenario, mode, strike in broken.where:
        for point in points(SCENARIO_BY_NAME[scenario], mode, STRIKE_BY_NAME[strike]):
            case = point.case(broken.variant)
            case.run()
            cases += 1
            found.update({violation.rule for violation in case.wrong})
    missed = set(broken.found_by) - found.keys()
    tally.write(
        tally.Tally(
            harness=f"every step must find: {broken.variant.name}",
            cases=cases,
            faults_injected=cases,
            violations=len(missed),
            points_or_seeds=", ".join(f"{rule} in {number}" for rule, number in found.most_common()),
        )
    )
    print(f"{broken.variant.name}, {cases} cases: {dict(found)}")
    assert not missed


def test_every_rule_of_the_harness_finds_something() -> None:
    assert set(get_args(Rule)) <= {rule for broken in BROKEN_STEPS for rule in broken.found_by}
