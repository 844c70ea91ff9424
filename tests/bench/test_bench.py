"""The benchmark command: what it prints and how it judges, never how long anything takes."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import trio
from click.testing import CliRunner

from tests.bench.bench import JOBS, bench
from tests.bench.compare import compared
from tests.bench.job import Outcome, Result, Setting
from tests.bench.measure import Figure, measure, ratio
from tests.bench.plot import Bars, Plot, Series
from tests.bench.record import read_record
from tests.bench.table import rows, time, verdict

PLOT = Plot(name="drawn", title="", x="", y="", series=(Series(name="", points=((1, 1), (10, 2))),))
BARS = Bars(name="barred", title="", bars=(("a", 1.0), ("b", 2.0)))


def outcome(value: float | None, *, target: float | None = 1.0, seconds: float = 1e-6) -> Outcome:
    figures = (Figure(name="ours", seconds=(seconds,)), Figure(name="bare loop", seconds=(1e-6,)))
    result = Result(label="a job", value=value, target=target, figures=figures)
    return Outcome(results=(result,), plots=(PLOT,), bars=(BARS,))


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """What the job `decrypt` finds, from its first run to its last."""
    outcomes: list[Outcome] = []

    async def job(setting: Setting) -> Outcome:
        await trio.lowlevel.checkpoint()
        assert not list(setting.folder.iterdir())
        setting.progress("half-way")
        return outcomes.pop(0)

    monkeypatch.setitem(JOBS, "decrypt", job)
    return outcomes


# --- the command --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "code"), [(1.0, 0), (1.0001, 1), (None, 0)])
def test_check_fails_only_if_a_target_is_missed(value: float | None, code: int, found: list[Outcome]) -> None:
    found += [outcome(value), outcome(value)]
    checked = CliRunner().invoke(bench, ["--check", "decrypt"])
    assert code == checked.exit_code
    assert 0 == CliRunner().invoke(bench, ["decrypt"]).exit_code


def test_check_prints_a_line_a_job_and_names_what_is_missed(found: list[Outcome]) -> None:
    found.append(outcome(2.0))
    checked = CliRunner().invoke(bench, ["--check", "decrypt"])
    assert ["MISSED decrypt            a job: 2.00 times, at most 1"] == checked.stdout.splitlines()
    assert "missed: a job\n" == checked.stderr


def test_json_is_the_last_line_and_the_only_one_on_stdout(found: list[Outcome]) -> None:
    found.append(outcome(2.0))
    result = CliRunner().invoke(bench, ["--json", "decrypt"])
    [line] = result.stdout.splitlines()
    shown = json.loads(line)
    assert [2.0] == [each["value"] for each in shown["jobs"]["decrypt"]["results"]]
    assert ["a job"] == shown["missed"]
    assert "MISSED a job" in result.stderr


def test_what_is_no_terminal_gets_no_carriage_returns(found: list[Outcome]) -> None:
    found.append(outcome(1.0))
    assert "\r" not in CliRunner().invoke(bench, ["decrypt"]).output


def test_what_was_saved_is_read_as_it_was(found: list[Outcome], tmp_path: Path) -> None:
    found.append(outcome(1.5))
    path = tmp_path / "new" / "run.json"
    CliRunner().invoke(bench, ["--rounds", "3", "--save", str(path), "decrypt"])
    record = read_record(path)
    assert {"decrypt": outcome(1.5)} == dict(record.jobs)
    assert (3, ["a job"]) == (record.rounds, record.missed)
    assert record.machine.libraries["vodozemac"]
    assert all(what for what, _ in record.machine.lines())


def test_figures_of_other_jobs_stay_in_a_file_to_which_some_are_added(
    found: list[Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    found += [outcome(1.5), outcome(2.5), outcome(3.5)]
    monkeypatch.setitem(JOBS, "encrypt", JOBS["decrypt"])
    CliRunner().invoke(bench, ["--save", str(path), "decrypt"])
    CliRunner().invoke(bench, ["--save", str(path), "--add", "encrypt"])
    assert {"decrypt": outcome(1.5), "encrypt": outcome(2.5)} == dict(read_record(path).jobs)
    CliRunner().invoke(bench, ["--save", str(path), "encrypt"])
    assert {"encrypt": outcome(3.5)} == dict(read_record(path).jobs)


def test_nothing_is_added_to_the_figures_of_another_machine(found: list[Outcome], tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    found += [outcome(1.5), outcome(2.5)]
    CliRunner().invoke(bench, ["--save", str(path), "decrypt"])
    record = read_record(path)
    attrs.evolve(record, machine=attrs.evolve(record.machine, processor="another")).write(path)
    result = CliRunner().invoke(bench, ["--save", str(path), "--add", "decrypt"])
    assert 1 == result.exit_code
    assert {"decrypt": outcome(1.5)} == dict(read_record(path).jobs)


def test_what_is_published_of_a_machine_names_no_folder(found: list[Outcome], tmp_path: Path) -> None:
    found.append(outcome(1.5))
    path = tmp_path / "run.json"
    CliRunner().invoke(bench, ["--save", str(path), "decrypt"])
    text = path.read_text(encoding="utf-8")
    assert not any(str(folder) in text for folder in (tmp_path, Path.home(), Path.cwd()))


def test_two_saved_runs_are_compared_without_measuring(found: list[Outcome], tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("one.json", "other.json")]
    found += [outcome(1.0, seconds=2e-6), outcome(1.0, seconds=3e-6)]
    for file in files:
        CliRunner().invoke(bench, ["--save", file, "decrypt"])
    result = CliRunner().invoke(bench, ["--compare", *files])
    assert ["a", "job", "2.0", "µs", "3.0", "µs", "1.50", "times"] == result.stdout.splitlines()[-1].split()


def test_only_what_both_have_measured_is_compared(found: list[Outcome], tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    found.append(outcome(1.0))
    CliRunner().invoke(bench, ["--save", str(path), "decrypt"])
    record = read_record(path)
    assert ["a job"] == [label for label, _, _ in compared(record, record)]
    assert [] == list(compared(record, attrs.evolve(record, jobs={})))


def test_a_file_that_is_no_saved_run_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"jobs": []}', encoding="utf-8")
    result = CliRunner().invoke(bench, ["--compare", str(path), str(path)])
    assert 1 == result.exit_code
    assert f"Error: {path} is no file that the benchmark has saved\n" == result.stderr


# --- measuring and judging ----------------------------------------------------------------------------------


def test_a_target_is_at_most_or_at_least() -> None:
    assert Result(label="", value=2.0, target=2.0).met
    assert not Result(label="", value=2.1, target=2.0).met
    assert Result(label="", value=2.0, target=2.0, bound="at least").met
    assert not Result(label="", value=1.9, target=2.0, bound="at least").met
    assert Result(label="", value=9.0).met
    assert Result(label="", value=None, target=2.0).met


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

    figures = await measure({"one": one, "other": other}, rounds=2, units=2, progress=lambda _: None)
    assert ["one", "other", "other", "one", "one", "other"] == ran
    assert (4.0, 5.0) == figures["one"].seconds
    assert 4.5 == ratio(figures["one"], figures["other"])


def test_a_row_names_the_verdict_the_ratio_and_what_it_is_made_of() -> None:
    figure = Figure(name="ours", seconds=(1e-6, 2e-6, 3e-6))
    line, detail = rows([Result(label="a job", value=3.0, target=2.0, figures=(figure,))])
    assert ["MISSED", "a", "job", "3.00", "times", "at", "most", "2"] == line.split()
    assert ["ours", "2.0", "µs", "(1.5", "µs", "to", "2.5", "µs)"] == detail.split()


def test_a_row_says_why_nothing_was_compared() -> None:
    [line] = rows([Result(label="a job", value=None, target=2.0, note="there is nobody else")])
    assert "a job not compared at most 2: there is nobody else" == " ".join(line.split())


def test_the_line_of_a_job_is_of_the_result_that_is_nearest_to_its_target() -> None:
    far, near = (
        Result(label="far", value=1.0, target=2.0),
        Result(label="near", value=9.0, target=8.0, bound="at least"),
    )
    assert "ok job near: 9.00 times, at least 8, the nearest of 2" == " ".join(verdict("job", [far, near]).split())
    missed = Result(label="missed", value=2.5, target=2.0)
    assert verdict("job", [far, missed, near]).startswith("MISSED job                missed: 2.50 times")
    nothing = Result(label="idle", value=1.0, target=0.0, unit="bytes")
    assert verdict("job", [near, nothing]).startswith("MISSED")
    assert "has no target" in verdict("job", [Result(label="", value=1.0)])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(1.234e-6, "1.2 µs"), (0.00123, "1.23 ms"), (0.01234, "12.3 ms"), (0.1234, "123 ms"), (1.234, "1.23 s")],
)
def test_a_time_has_the_unit_that_reads_best(seconds: float, shown: str) -> None:
    assert shown == time(seconds)
