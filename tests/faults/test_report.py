"""The table of `make faults` is judged: what was not done is not passed over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from tests.faults.report import DEMANDS, Demand, counted, shortcomings, table
from tests.faults.tally import FOLDER, Tally, read, settle


def _row(harness: str, cases: int = 1, violations: int = 0) -> Tally:
    return Tally(
        harness=harness, cases=cases, faults_injected=cases, violations=violations, points_or_seeds="seeds 0 to 1"
    )


def _enough(demand: Demand) -> list[Tally]:
    if demand.rows == 1:
        return [_row(demand.harness, demand.cases)]
    return [_row(f"{demand.harness}{demand.separator}{number}", demand.cases) for number in range(demand.rows)]


@pytest.fixture
def rows() -> list[Tally]:
    """What is just enough."""
    return [row for demand in DEMANDS for row in _enough(demand)]


def test_what_is_enough_has_no_shortcomings(rows: list[Tally]) -> None:
    assert [] == shortcomings(rows)


@pytest.mark.parametrize("demand", DEMANDS, ids=lambda demand: demand.harness)
def test_a_harness_that_is_missing_is_a_shortcoming(demand: Demand, rows: list[Tally]) -> None:
    left = [row for row in rows if row not in _enough(demand)]
    assert any(found.startswith(f"{demand.harness}: ") for found in shortcomings(left))


def test_too_few_cases_and_violations_are_shortcomings(rows: list[Tally]) -> None:
    power_loss = [row for row in rows if row.harness.startswith("power loss")]
    few = [attrs.evolve(row, cases=499) if row in power_loss else row for row in rows]
    assert ["power loss: 998 cases, 1,000 are wanted"] == shortcomings(few)
    assert ["something else: 2 violations"] == shortcomings([*rows, _row("something else", 5, 2)])


def test_tests_that_are_cases_are_counted_by_their_modules() -> None:
    passed = [
        "tests/faults/test_outside_forks.py::a",
        "tests/faults/test_outside_versions.py::b[x]",
        "tests/model/x.py::c",
    ]
    failed = ["tests/faults/test_outside_forks.py::d"]
    (row,) = counted(passed, failed)
    assert ("trouble from outside", 3, 1) == (row.harness, row.cases, row.violations)


def test_the_table_lines_up() -> None:
    lines = table([_row("power loss", 12_345), _row("a", 1, 2)])
    assert lines == [
        "harness      cases  faults injected  violations  seeds or points",
        "----------  ------  ---------------  ----------  ---------------",
        "power loss  12,345           12,345           0  seeds 0 to 1",
        "a                1                1           2  seeds 0 to 1",
    ]


def test_a_harness_leaves_its_row_before_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(AssertionError, match="point 2:\nlost"):
        settle("harness: one", {"point 1": None, "point 2": "lost"}, "2 points")
    (row,) = read(tmp_path)
    assert ("harness: one", 2, 1, "2 points") == (row.harness, row.cases, row.violations, row.points_or_seeds)


def test_a_run_prints_its_table_and_does_not_pass_with_harnesses_left_out() -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.faults.report"),
            # Of two folders, each with a conftest.py: then pytest looks its plugins up in sets.
            "tests/simulation/test_every_step.py::test_every_message_has_a_scenario",
            "tests/faults/test_history_checker.py",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert pytest.ExitCode.TESTS_FAILED == run.returncode, run.stdout + run.stderr
    assert any(line.startswith("history checker  ") for line in run.stdout.splitlines())
    missing = {f"NOT ENOUGH: {demand.harness}: 0 cases, {demand.cases:,} are wanted" for demand in DEMANDS}
    assert missing <= set(run.stdout.splitlines())
