"""The table that `make faults` ends with, and whether it passes: a pytest plugin.

    python -m pytest --full -p tests.faults.report (and what `make faults` names)

Owns: what there must be in the table, which is what `docs/reliability.md` promises.
Rule: a violation, a test that fails or is left out, a harness without a row, or one with too few cases fails the run.
Why: a harness that quietly did less than it says is worse than none.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.faults.tally import FOLDER, Tally, read


@attrs.frozen(kw_only=True)
class Demand:
    """What a run in full has to show: so many cases in the row of a harness, or in the rows of its parts."""

    harness: str
    cases: int
    rows: int = 1
    separator: str = ": "
    """Between the harness's name and the part's."""

    def is_met_by(self, row: Tally) -> bool:
        """Whether the row is one of those."""
        return row.harness == self.harness or row.harness.startswith(f"{self.harness}{self.separator}")


DEMANDS: Final = (
    Demand(harness="simulation", cases=10_000),
    Demand(harness="simulation must find", cases=4, rows=4),
    Demand(harness="liars", cases=1_000),
    Demand(harness="liars must be found out", cases=21, rows=21),
    Demand(harness="lies about trust", cases=1_000),
    Demand(harness="lies about trust must be found out", cases=16, rows=16),
    Demand(harness="every step", cases=50_000),
    Demand(harness="every step must find", cases=20, rows=23),
    Demand(harness="kill -9 at a system call", cases=300, rows=3),
    Demand(harness="kill -9 in a verification", cases=3_000, rows=2),
    Demand(harness="kill -9 while secrets come", cases=1_000, rows=2),
    Demand(harness="system calls that fail", cases=300),
    Demand(harness="refused once: pread64,read", cases=1_000),  # a round reads some 1,300 times, and each fails once
    Demand(harness="refused once: openat", cases=160),  # a round opens some 45 files, and each has four errors
    Demand(harness="power loss", cases=1_000, rows=2),
    Demand(harness="trouble from outside", cases=30),
    Demand(harness="interrupts", cases=500),
    Demand(harness="wrong types", cases=130),
    Demand(harness="growth", cases=70),
    Demand(harness="secrets and file modes", cases=8),
    Demand(harness="model", cases=15),
    Demand(harness="fuzzing", cases=10_000, rows=8, separator=" "),
)

COUNTED: Final = {
    "tests/faults/test_outside_": "trouble from outside",
    "tests/faults/test_secrets": "secrets and file modes",
    "tests/faults/test_file_modes": "secrets and file modes",
    "tests/model/test_model": "model",
    "tests/operations/test_wrong_types": "wrong types",
    "tests/cost/test_growth": "growth",
    "tests/faults/test_history_checker": "history checker",
}
"""Modules each of whose tests is a case of its own, and the row that they make."""


# --- pure ---------------------------------------------------------------------------------------------------


def counted(passed: Iterable[str], failed: Iterable[str]) -> list[Tally]:
    """Rows of the harnesses whose cases are tests, from the tests' ids."""
    ran = Counter(_harness(test) for test in passed)
    broken = Counter(_harness(test) for test in failed)
    return [
        Tally(
            harness=harness,
            cases=ran[harness] + broken[harness],
            faults_injected=ran[harness] + broken[harness],
            violations=broken[harness],
            points_or_seeds="a test each",
        )
        for harness in dict.fromkeys(COUNTED.values())
        if ran[harness] + broken[harness]
    ]


def _harness(test: str) -> str:
    return next((harness for module, harness in COUNTED.items() if test.startswith(module)), "")


def shortcomings(rows: Sequence[Tally]) -> list[str]:
    """What is missing, too little or wrong in the table."""
    found: list[str] = []
    for demand in DEMANDS:
        met = [row for row in rows if demand.is_met_by(row)]
        cases = sum(row.cases for row in met)
        if len(met) < demand.rows:
            found.append(f"{demand.harness}: {len(met)} rows, {demand.rows} are wanted")
        if cases < demand.cases:
            found.append(f"{demand.harness}: {cases:,} cases, {demand.cases:,} are wanted")
    found.extend(f"{row.harness}: {row.violations:,} violations" for row in rows if row.violations)
    return found


HEADINGS: Final = ("harness", "cases", "faults injected", "violations", "seeds or points")
WIDEST: Final = 70
"""Characters of the last column."""


def table(rows: Iterable[Tally]) -> list[str]:
    """The lines to print."""
    cells = [
        (row.harness, f"{row.cases:,}", f"{row.faults_injected:,}", f"{row.violations:,}", row.points_or_seeds[:WIDEST])
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (HEADINGS, *cells)) for column in range(len(HEADINGS))]
    lines = [HEADINGS, tuple("-" * width for width in widths), *cells]
    return [
        "  ".join(
            cell.rjust(width) if column in NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


NUMBERS: Final = range(1, 4)


# --- the plugin ---------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Report:
    """Watches a run, prints the table, and judges."""

    folder: Path
    passed: list[str] = attrs.field(factory=list[str])
    failed: list[str] = attrs.field(factory=list[str])
    left_out: list[str] = attrs.field(factory=list[str])
    _rows: list[Tally] = attrs.field(factory=list[Tally])
    _problems: list[str] = attrs.field(factory=list[str])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test went."""
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.skipped:
            self.left_out.append(report.nodeid)
        elif report.when == "call":
            self.passed.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge."""
        self._rows = sorted([*read(self.folder), *counted(self.passed, self.failed)], key=lambda row: row.harness)
        self._problems = [
            *shortcomings(self._rows),
            *(f"failed: {test}" for test in self.failed),
            *(f"left out: {test}" for test in self.left_out),
        ]
        if self._problems:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, and what is wrong."""
        terminalreporter.section("reliability")
        for line in table(self._rows):
            terminalreporter.write_line(line)
        for problem in self._problems:
            terminalreporter.write_line(f"NOT ENOUGH: {problem}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch."""
    folder = tempfile.TemporaryDirectory(prefix="olmstate-faults-")
    config.add_cleanup(folder.cleanup)
    os.environ[FOLDER] = folder.name
    config.pluginmanager.register(Report(Path(folder.name)), "olmstate-reliability")
