"""The page about performance shows all that the benchmark has found, and was not written by hand."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from tests.bench.jobs import CHECKED, SHOWN
from tests.bench.record import read_record
from tests.docs.pages import DOCS

RUN = read_record(DOCS / "performance" / "python-3.11.json")
PAGE = (DOCS / "performance.md").read_text(encoding="utf-8")


def text_of(html: Path) -> str:
    page = (html / "performance.html").read_text(encoding="utf-8")
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_run_that_it_shows_has_every_job() -> None:
    assert {*CHECKED, *SHOWN} == RUN.jobs.keys()


def test_every_result_that_has_a_target_is_in_its_table(html: Path) -> None:
    text = text_of(html)
    wanted = [result for result in RUN.results if result.target is not None]
    assert wanted
    assert [] == [result.label for result in wanted if result.label not in text]


def test_every_plot_and_the_machine_are_on_it(html: Path) -> None:
    text = text_of(html)
    assert [] == [picture.title for picture in RUN.pictures if picture.title not in text]
    assert [] == [what for what, _ in RUN.machine.lines() if what not in text]


def test_no_measured_number_was_typed_in() -> None:
    assert [] == re.findall(r"\d[\d.,]* ?(?:µs|ms|times)\b", PAGE)
