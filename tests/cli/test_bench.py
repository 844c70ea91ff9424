"""The benchmark command: what it prints and how it judges, never how long anything takes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import trio
from click.testing import CliRunner

from olmstate.cli import main
from olmstate.cli._bench import JOBS
from olmstate.cli._bench._job import Outcome, Plot, Result, Series, Setting
from olmstate.cli._bench._measure import Figure, measure, ratio
from olmstate.cli._bench._plot import svg
from olmstate.cli._bench._table import rows


@pytest.mark.parametrize("job", ["sync-one-session", "share-100", "capacities"])
def test_a_job_runs_and_ends_with_one_line_of_json(job: str) -> None:
    result = CliRunner().invoke(main, ["bench", "--rounds", "1", "--json", job])
    assert 0 == result.exit_code, result.output
    values = json.loads(result.stdout.splitlines()[-1])["results"]
    assert values
    assert all(value > 0 for value in values.values())


@pytest.mark.parametrize(("value", "code"), [(1.0, 0), (1.0001, 1)])
def test_check_fails_only_if_a_target_is_missed(value: float, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def job(setting: Setting) -> Outcome:
        assert not list(setting.folder.iterdir())
        return Outcome(results=(Result(label="a job", value=value, target=1.0),))

    monkeypatch.setitem(JOBS, "decrypt", job)
    assert code == CliRunner().invoke(main, ["bench", "--check", "decrypt"]).exit_code
    assert 0 == CliRunner().invoke(main, ["bench", "decrypt"]).exit_code


def test_a_target_is_at_most_or_at_least() -> None:
    assert Result(label="", value=2.0, target=2.0).met
    assert not Result(label="", value=2.1, target=2.0).met
    assert Result(label="", value=2.0, target=2.0, bound="at least").met
    assert not Result(label="", value=1.9, target=2.0, bound="at least").met
    assert Result(label="", value=9.0).met


async def test_each_round_runs_every_side_and_the_first_does_not_count() -> None:
    ran: list[str] = []

    async def one() -> float:
        ran.append("one")
        await trio.lowlevel.checkpoint()
        return 2.0 * len(ran)

    async def other() -> float:
        ran.append("other")
        await trio.lowlevel.checkpoint()
        return 2.0

    figures = await measure({"one": one, "other": other}, rounds=2, units=2, progress=lambda: None)
    assert ["one", "other", "other", "one", "one", "other"] == ran
    assert (4.0, 5.0) == figures["one"].seconds
    assert 4.5 == ratio(figures["one"], figures["other"])


def test_a_row_names_the_verdict_the_ratio_and_what_it_is_made_of() -> None:
    figure = Figure(name="ours", seconds=(1e-6, 2e-6, 3e-6))
    line, detail = rows([Result(label="a job", value=3.0, target=2.0, figures=(figure,))])
    assert ["MISSED", "a", "job", "3.00", "times", "at", "most", "2"] == line.split()
    assert ["ours", "2.0", "µs", "(1.5", "to", "2.5", "µs)"] == detail.split()


def test_a_plot_is_svg_with_a_line_for_each_series(tmp_path: Path) -> None:
    series = (Series(name="a < b", points=((1, 1), (10, 2))), Series(name="c", points=((1, 3), (10, 4))))
    path = tmp_path / "plot.svg"
    path.write_text(svg(Plot(name="p", title="t", x="x", y="y", series=series)), encoding="utf-8")
    picture = ET.parse(path).getroot()  # noqa: S314 - our own
    lines = picture.findall("{http://www.w3.org/2000/svg}polyline")
    assert 2 == len(lines)
    assert "a < b" in [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
