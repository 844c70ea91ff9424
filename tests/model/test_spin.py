"""A search counts only if it was exhaustive, and a missing tool is not overlooked.

Owns: the tests of what `tests.model.spin` and its fixture promise to the tests of the model.
Rule: real tools, and real reports, wherever one can be had in a second.
Why: a verifier that gives up half-way says "errors: 0" and exits 0, as one that has proved something does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.spin import Spin, SpinError, read_report

COUNTER = """
byte count;
active proctype Counter()
{
	do
	:: count < LIMIT -> count++
	:: count == LIMIT -> break
	od;
#ifdef WRONG
	assert(count < LIMIT);
#endif
	if
	:: count > LIMIT -> count = 0
	:: else
	fi
}
#ifdef CLAIM
ltl reaches_the_limit { <> (count == CLAIM) }
#endif
"""

EXHAUSTIVE = "Full statespace search for:\n"
NO_ERRORS = "State-vector 28 byte, depth reached 9, errors: 0\n 9 states, stored\n"


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    model = tmp_path / "counter.pml"
    model.write_text(COUNTER)
    return model


def test_a_finished_search_says_what_was_seen_and_what_was_not(spin: Spin, counter: Path, tmp_path: Path) -> None:
    search = spin.search(counter, flags=["LIMIT=5"], folder=tmp_path)

    assert search.violated is None
    assert 5 < search.states < 15
    assert 5 < search.depth < 15
    assert any("count = 0" in step for step in search.unreached)


def test_a_violation_is_named_and_told_step_by_step(spin: Spin, counter: Path, tmp_path: Path) -> None:
    search = spin.search(counter, flags=["LIMIT=5", "WRONG"], folder=tmp_path)

    assert "assertion violated (count<5)" == search.violated
    assert "count = 5" in spin.replay(counter, flags=["LIMIT=5", "WRONG"], folder=tmp_path)


@pytest.mark.parametrize(("claim", "violated"), [("CLAIM=5", None), ("CLAIM=6", "acceptance cycle")])
def test_a_claim_about_whole_runs_is_checked(
    spin: Spin, counter: Path, tmp_path: Path, claim: str, violated: str | None
) -> None:
    search = spin.search(counter, flags=["LIMIT=5", claim], folder=tmp_path, whole_runs=True)

    assert violated == search.violated


def test_a_search_that_ran_out_of_depth_is_no_result(spin: Spin, counter: Path, tmp_path: Path) -> None:
    with pytest.raises(SpinError, match="max search depth too small"):
        spin.search(counter, flags=["LIMIT=200"], folder=tmp_path, depth=100)


def test_a_search_that_ran_out_of_memory_is_no_result(spin: Spin, counter: Path, tmp_path: Path) -> None:
    with pytest.raises(SpinError, match="DMEMLIM"):
        spin.search(counter, flags=["LIMIT=5"], folder=tmp_path, megabytes=10)


def test_a_model_that_does_not_parse_is_no_result(spin: Spin, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pml"
    broken.write_text("active proctype Broken() { byte }")

    with pytest.raises(SpinError, match="syntax error"):
        spin.search(broken, flags=[], folder=tmp_path)


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        pytest.param("", "no report", id="nothing"),
        pytest.param(f"Bit statespace search for:\n{NO_ERRORS}", "no report", id="not every state stored"),
        pytest.param(f"{EXHAUSTIVE}{NO_ERRORS.replace('0', '1')}", "does not name", id="an error that is not named"),
        pytest.param(f"Search not completed\n{EXHAUSTIVE}{NO_ERRORS}", "cut short", id="interrupted"),
    ],
)
def test_what_is_not_the_report_of_an_exhaustive_search_is_no_result(report: str, reason: str) -> None:
    with pytest.raises(SpinError, match=reason):
        read_report(report)


@pytest.mark.parametrize(
    ("missing", "ci", "options", "outcome"),
    [
        pytest.param("spin", "", [], "1 skipped", id="skipped on a developer's machine"),
        pytest.param("spin", "true", [], "1 error", id="an error in CI"),
        pytest.param("spin", "", ["--full"], "1 error", id="an error in a full run"),
        pytest.param("cc", "true", [], "1 error", id="no compiler, an error in CI"),
    ],
)
def test_a_missing_tool_is_named_and_not_overlooked(
    missing: str, ci: str, options: list[str], outcome: str, tmp_path: Path
) -> None:
    present = {"spin", "cc"} - {missing}
    for name in present:
        tool = tmp_path / name
        tool.write_text("#!/bin/false\n")
        tool.chmod(0o700)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    test = "tests/model/test_spin.py::test_a_violation_is_named_and_told_step_by_step"

    run = subprocess.run(
        [*command, test],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PATH": str(tmp_path), "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )

    assert outcome in run.stdout, run.stdout + run.stderr
    assert ("spin is not on PATH" if missing == "spin" else "no C compiler") in run.stdout
