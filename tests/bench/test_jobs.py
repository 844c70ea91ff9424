"""Every job runs, at a scale at which its figures mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import beside_nio, stores, to_device
from tests.bench.bench import JOBS
from tests.bench.job import Setting
from tests.bench.jobs import CHECKED
from tests.bench.nio import ABSENT, NAME, matrix_nio
from tests.bench.processes import p99

SCALE = 0.01


def setting(folder: Path) -> Setting:
    return Setting(folder=folder, rounds=1, progress=lambda _: None, scale=SCALE)


@pytest.fixture
def nobody_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrix-nio isn't installed."""
    for module in (beside_nio, stores, to_device):
        monkeypatch.setattr(module, "matrix_nio", lambda: None)


@pytest.mark.usefixtures("nobody_beside")
@pytest.mark.parametrize("name", [name for name in JOBS if name != "processes-4"])  # the same as with two
async def test_a_job_runs_and_has_targets_if_it_is_checked(name: str, tmp_path: Path) -> None:
    outcome = await JOBS[name](setting(tmp_path))
    assert outcome.results
    for result in outcome.results:
        assert result.value is None or result.value >= 0
        assert all(second > 0 for figure in result.figures for second in figure.seconds)
    assert (name in CHECKED) == any(result.target is not None for result in outcome.results)


@pytest.mark.usefixtures("nobody_beside")
@pytest.mark.parametrize("name", ["sync-one-session", "share-100", "open", "one-message"])
async def test_without_matrix_nio_a_line_says_that_it_was_not_compared(name: str, tmp_path: Path) -> None:
    results = (await JOBS[name](setting(tmp_path))).results
    beside = [result for result in results if result.label.startswith(NAME)]
    assert beside
    assert all((None, ABSENT, True) == (result.value, result.note, result.met) for result in beside)


@pytest.mark.skipif(matrix_nio() is None, reason=ABSENT)
@pytest.mark.parametrize("name", ["sync-one-session", "sync-new-sessions", "share-100", "open", "one-message"])
async def test_with_matrix_nio_it_is_measured_in_the_same_rounds(name: str, tmp_path: Path) -> None:
    results = (await JOBS[name](setting(tmp_path))).results
    beside = [result for result in results if result.label.startswith(NAME)]
    assert beside
    for result in beside:
        ours, nio = result.figures
        assert len(ours.seconds) == len(nio.seconds)
        assert NAME == nio.name


def test_a_percentile_is_that_of_most_rounds() -> None:
    calm = [number / 100 for number in range(100)]
    assert 0.99 == p99([calm, calm[::-1], [9.0]])
    assert 9.0 == p99([calm, [9.0], [9.0]])
    assert 0.0 == p99([calm, [], []])
