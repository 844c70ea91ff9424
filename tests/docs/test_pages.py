"""What pages must have, beside what they say."""

from __future__ import annotations

import re
import subprocess
from html import unescape
from pathlib import Path

import click

from olmstate.cli import main
from tests.docs.pages import DOCS


def text_of(page: Path) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8"))).split())


def test_every_command_and_option_is_on_the_page_of_the_command_line(html: Path) -> None:
    assert isinstance(main, click.Group)
    page = text_of(html / "command-line.html")
    for name, command in main.commands.items():
        assert f"olmstate {name}" in page
        for option in command.params:
            assert option.opts[0] in page or option.human_readable_name.upper() in page, (name, option.name)


def test_exit_codes_and_completion_are_on_it_too(html: Path) -> None:
    page = text_of(html / "command-line.html")
    assert "exit code what it means 0 It is done." in page
    assert "_OLMSTATE_COMPLETE=bash_source" in page


def test_no_page_shows_what_only_python_needs(html: Path) -> None:
    # the signature of Options had NOTHING and <function …> in it
    for page in html.glob("*.html"):
        assert not re.search(r"NOTHING|<function|<factory>| object at 0x", text_of(page)), page.name


def test_the_front_page_has_a_sentence_for_each_page() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    toctree = index[index.index("```{toctree}") :]
    named = re.findall(r"^([a-z/-]+)$", toctree, flags=re.MULTILINE)
    assert len(named) > 8
    for page in named:
        assert re.search(rf"^- \[[^\]]+\]\({page}\.md\): .+\.$", index, flags=re.MULTILINE), page


def test_what_takes_its_time_says_so() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert re.search(r"\$ make test\n```\n\nThe tests take .+ minutes", readme)
    assert "a tenth of a second and 64 MiB" in (DOCS / "quickstart.md").read_text(encoding="utf-8")


def test_who_has_built_the_pages_is_told_where_they_are() -> None:
    make = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "docs"],
        cwd=DOCS.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    *_, build, told = make.stdout.splitlines()
    assert build.endswith(" docs docs/_build/html")
    assert "docs/_build/html/index.html" in told
    assert told.startswith("echo ")


def test_the_page_on_performance_opens_with_plots() -> None:
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert page.index("```{performance-plot}") < page.index("```{performance-table}")


def test_code_can_be_copied(html: Path) -> None:
    assert "copybutton.js" in (html / "quickstart.html").read_text(encoding="utf-8")
