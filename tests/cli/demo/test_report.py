"""The verdict: right only if everything was done and nothing was wrong."""

from __future__ import annotations

import json

import pytest

from olmstate.cli.demo._report import MOST_EXAMPLES, Problem, Report


def good() -> Report:
    return Report(
        processes=4,
        messages=400,
        kills_wanted=3,
        seed=1,
        unsafe=False,
        recorded_expected=113,
        recorded_syncs=25,
        sent=400,
        read=400,
        received_syncs=25,
        recorded_decrypted=113,
        kills=3,
        seconds=5.0,
        sending_seconds=4.0,
    )


def test_it_is_right_if_everything_was_done_and_nothing_was_wrong() -> None:
    assert good().right
    assert "Everything is right" in good().verdict()


@pytest.mark.parametrize("problem", list(Problem))
def test_one_problem_of_any_kind_makes_it_wrong(problem: Problem) -> None:
    report = good()
    report.found(problem, "this one")

    assert not report.right
    assert report.as_json()[problem.value] == 1
    assert "this one" in report.verdict()


@pytest.mark.parametrize("count", ["sent", "read", "received_syncs", "recorded_decrypted", "kills"])
def test_what_was_left_undone_makes_it_wrong(count: str) -> None:
    report = good()
    setattr(report, count, 1)

    assert not report.right
    assert "NOT right" in report.verdict()
    assert "only 1 of" in report.verdict()


def test_a_problem_that_has_one_cause_is_counted_once() -> None:
    report = good()
    report.found(Problem.REUSED_ONE_TIME_KEYS, "key", once="key")
    report.found(Problem.REUSED_ONE_TIME_KEYS, "key", once="key")
    report.found(Problem.REUSED_ONE_TIME_KEYS, "other key", once="other key")

    assert report.problems[Problem.REUSED_ONE_TIME_KEYS] == 2


def test_a_thousand_problems_have_a_few_examples() -> None:
    report = good()
    for number in range(1000):
        report.found(Problem.STALE_READS, f"example {number}")

    assert report.problems[Problem.STALE_READS] == 1000
    assert MOST_EXAMPLES == report.verdict().count("example ")


def test_programs_get_everything_that_was_counted() -> None:
    shown = json.loads(json.dumps(good().as_json()))

    for name in (
        "processes",
        "sent",
        "read",
        "recorded_expected",
        "recorded_decrypted",
        "undecryptable",
        "reused_indices",
        "reused_one_time_keys",
        "stale_reads",
        "kills",
        "invalidations",
        "seconds",
        "seed",
    ):
        assert isinstance(shown[name], int | float), name
    assert shown["messages_per_second"] == 100.0
