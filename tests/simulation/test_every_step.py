"""Whatever goes wrong at any step of any message: every promise holds, and the same message works or says why.

Short form: some steps of each fault. With `--full`: all faults, in all scenarios, however they are met, at all steps,
which takes hours; with `--part N`, 0 to 7, at every eighth.

A case that fails prints its history. `pytest tests/simulation --case NAME` runs it again, exactly as it was.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

import attrs
import pytest

import olmstate.messages
from olmstate.messages import Event, Lagged, SharedEvent, StoreChanged
from tests.faults import tally
from tests.simulation.conftest import PARTS
from tests.simulation.every_step import MODES, Mode, Point, case_named, points, unharmed
from tests.simulation.messages import all_messages
from tests.simulation.news import OWN_EVENTS
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.schedule import skeleton
from tests.simulation.strikes import STRIKES

SHORT = 6
"""Points of each fault."""


@attrs.define
class Struck:
    """What came of some cases."""

    cases: int = 0
    missed: list[str] = attrs.field(factory=list[str])
    """Cases in which the fault did not strike."""
    bad: list[str] = attrs.field(factory=list[str])
    """Cases that broke something."""
    report: str = ""
    """Of the first of those."""
    heard: set[type[Event]] = attrs.field(factory=set[type[Event]])
    """What subscribers were told of."""

    def judge(self) -> None:
        """Fail if anything is wrong."""
        print(f"{self.cases} cases")
        if self.bad:
            print(self.report)
        assert not self.bad
        # whether the last step of some cases is taken, is chance: by how many pages random keys are found on
        assert len(self.missed) <= self.cases // 1000, self.missed


def strike_at(chosen: Iterable[Point]) -> Struck:
    """Run a case at each point."""
    struck = Struck()
    for point in chosen:
        case = point.case()
        case.run()
        if case.void:
            continue
        struck.cases += 1
        struck.heard |= case.heard
        if not case.watch.struck:
            struck.missed.append(case.name)
        if case.wrong:
            struck.bad.append(case.name)
            struck.report = struck.report or case.report()
    return struck


def strike_everywhere(number: int, mode: Mode, part: int | None) -> Struck:
    """Run all cases of one scenario, met in one way; or those of one part."""
    everywhere = [point for strike in STRIKES for point in points(SCENARIOS[number], mode, strike)]
    return strike_at(everywhere if part is None else everywhere[(part + number) % PARTS :: PARTS])


def some_points() -> Iterator[Point]:
    """For each fault, some steps, each of another scenario or one that is met in another way."""
    rng = random.Random(0)
    for strike in STRIKES:
        met = list(itertools.product(SCENARIOS, MODES))
        rng.shuffle(met)
        found = (points(*each, strike) for each in met)
        yield from (rng.choice(choice) for choice in itertools.islice(filter(None, found), SHORT))


# --- what there is to strike --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_without_a_fault_every_message_works(mode: Mode) -> None:
    cases = [unharmed(scenario, mode) for scenario in SCENARIOS]
    wrong = [case for case in cases if case.wrong]
    assert not wrong, wrong[0].report()


def test_every_message_has_a_scenario() -> None:
    assert set(all_messages()) == {type(unharmed(scenario, "cold").message) for scenario in SCENARIOS}


def test_every_event_is_heard_of_in_some_scenario() -> None:
    published = {
        found for found in vars(olmstate.messages).values() if isinstance(found, type) and issubclass(found, Event)
    }
    heard = {event for scenario in SCENARIOS for event in unharmed(scenario, "warm").heard}
    assert set(OWN_EVENTS) == heard
    assert published == {*heard, StoreChanged, Event, SharedEvent, Lagged}


# --- striking -----------------------------------------------------------------------------------------------


def test_a_message_that_is_struck_at_some_steps_works_again_or_says_why(only_case: str | None) -> None:
    if only_case is not None:
        case = case_named(only_case)
        case.run()
        print(case.report())
        assert not case.wrong
        return
    chosen = list(some_points())
    assert {strike.name for strike in STRIKES} == {point.strike.name for point in chosen}
    struck = strike_at(chosen)
    struck.judge()
    assert StoreChanged in struck.heard


@pytest.mark.full
def test_a_message_that_is_struck_at_any_step_works_again_or_says_why(only_part: int | None) -> None:
    jobs = list(itertools.product(range(len(SCENARIOS)), MODES, [only_part]))
    struck = Struck()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        for part in processes.map(strike_everywhere, *zip(*jobs, strict=True)):
            struck.cases += part.cases
            struck.missed += part.missed
            struck.bad += part.bad
            struck.report = struck.report or part.report
    tally.write(
        tally.Tally(
            harness="every step",
            cases=struck.cases,
            faults_injected=struck.cases,
            violations=len(struck.bad),
            points_or_seeds=f"{'all' if only_part is None else f'part {only_part} of {PARTS}'}"
            f" of {len(STRIKES)} faults in {len(SCENARIOS)} scenarios, met in {len(MODES)} ways",
        )
    )
    struck.judge()


def test_a_case_goes_the_same_way_again() -> None:
    strike = next(strike for strike in STRIKES if strike.overtakes)
    for mode in MODES:
        case = points(SCENARIOS[0], mode, strike)[5].case()
        again = case_named(case.name)
        case.run()
        again.run()
        assert skeleton(case.history) == skeleton(again.history)
