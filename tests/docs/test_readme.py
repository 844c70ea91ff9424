"""What the README shows works as it stands, and what it names is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click

from olmstate.cli import main
from tests.docs.pages import ENVIRONMENT, EXAMPLES, ROOT, fences

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def shown_of(example: str) -> str:
    """The part of an example that pages show."""
    text = (EXAMPLES / example).read_text(encoding="utf-8")
    return text[text.index("import trio") :]


def test_its_programs_are_the_quickstarts() -> None:
    programs = ("first_program.py", "send_and_read.py", "another_process.py")
    assert [shown_of(program) for program in programs] == fences(README, "python")


def test_its_first_program_has_a_dozen_lines() -> None:
    first, *_ = fences(README, "python")
    assert 12 == len([line for line in first.splitlines() if line])


def test_code_fits_the_column_of_a_page() -> None:
    # at 1600 pixels, the first example was cut
    shown = [line for file in EXAMPLES.rglob("*.py") for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(shown) > 500
    assert [] == [line for line in shown if len(line) > 88]


def start(program: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def output_of(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate()
    assert 0 == process.returncode
    return printed


def test_its_programs_run_as_pasted_the_last_one_many_times_at_once(tmp_path: Path) -> None:
    first, second, last = fences(README, "python")
    assert output_of(start(first, tmp_path)).count("signed_curve25519:") >= 50
    assert "hello\n" == output_of(start(second, tmp_path))
    indices = [output_of(process) for process in [start(last, tmp_path) for _ in range(4)]]
    assert 4 == len({int(index) for index in indices} - {0})


def test_its_make_targets_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {target for names in re.findall(r"(?:`|\$ )make((?: [a-z]+)+)", TEXT) for target in names.split()}
    assert {"demo", "test"} <= named
    assert set() == named - targets


def test_its_commands_are_all_that_the_command_line_has_for_users() -> None:
    assert isinstance(main, click.Group)
    named = set(re.findall(r"`olmstate ([a-z-]+)", TEXT))
    assert named == set(main.commands)


def test_what_it_links_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    assert links
    assert [] == [link for link in links if not (ROOT / link).exists()]
