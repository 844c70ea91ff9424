"""The worked example of the page on contributing: added to a copy of the code as it says, it does what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, EXAMPLES, ROOT, fences

PAGE = DOCS / "contributing.md"
EXAMPLE = EXAMPLES / "capability"
ROOTS = ("actors", "messages", "storage")
PROGRAM = Path(__file__).with_name("two_processes.py")
STRIKE = """
import random

from tests.simulation.every_step import points
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.strikes import STRIKES
from tests.simulation.test_every_step import strike_at

chosen = []
for scenario in SCENARIOS:
    if scenario.name in ("nickname", "set_nickname"):
        for strike in STRIKES:
            there = list(points(scenario, "crowded", strike))
            chosen += random.Random(0).sample(there, min(2, len(there)))
struck = strike_at(chosen)
struck.judge()
assert struck.cases > len(STRIKES)
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, with the folder and the lines of the page."""
    code = tmp_path_factory.mktemp("code")
    for root in ROOTS:
        shutil.copytree(ROOT / root, code / root, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(EXAMPLE / "actors", code / "actors/olmstate/actors", dirs_exist_ok=True)
    shutil.copytree(EXAMPLE / "messages", code / "messages/olmstate/messages", dirs_exist_ok=True)
    shutil.copytree(ROOT / "tests", code / "tests", ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    shutil.copytree(EXAMPLE / "tests", code / "tests/simulation", dirs_exist_ok=True)
    for lines in fences(PAGE, "diff"):
        _add(code, lines.splitlines())
    return code


def _add(code: Path, lines: Sequence[str]) -> None:
    """Put the lines that begin with + where those around them are."""
    file = code / lines[0].removeprefix(" # ")
    around = [line[1:] for line in lines[1:] if not line.startswith("+")]
    with_new = [line[1:] for line in lines[1:]]
    text = file.read_text(encoding="utf-8")
    assert text.count("\n".join(around)) == 1, f"{file.name} has changed: the page says\n" + "\n".join(around)
    file.write_text(text.replace("\n".join(around), "\n".join(with_new)), encoding="utf-8")


def environment(code: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*(str(code / root) for root in ROOTS), str(code)])}


def test_the_page_shows_all_of_the_example_and_names_where_it_goes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for root, folder in (
        ("actors", "actors/olmstate/actors"),
        ("messages", "messages/olmstate/messages"),
        ("tests", "tests/simulation"),
    ):
        for file in (EXAMPLE / root).rglob("*.py"):
            assert f"examples/capability/{file.relative_to(EXAMPLE)}\n" in text
            assert f"`{folder}/{file.relative_to(EXAMPLE / root)}`" in text


def test_two_processes_share_what_the_example_keeps(code: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(PROGRAM), str(tmp_path)]
    env = environment(code)
    with subprocess.Popen([*command, "one"], env=env, stdin=-1, stdout=-1, text=True) as one:
        assert one.stdin is not None
        assert one.stdout is not None
        assert ["Bob"] == json.loads(one.stdout.readline())  # the event, once it was committed
        assert "Bob" == json.loads(one.stdout.readline())
        two = subprocess.run([*command, "two"], env=env, capture_output=True, text=True, check=True)
        assert ["Bob", True, False, "Bobby"] == [json.loads(line) for line in two.stdout.splitlines()]
        one.stdin.write("go on\n")
        one.stdin.flush()
        assert ["Bobby"] == json.loads(one.stdout.readline())  # the other's event
        assert "Bobby" == json.loads(one.stdout.readline())
    assert one.returncode == 0


def run(code: Path, *arguments: str) -> str:
    """What a tool says of the copy, if it has anything to complain of."""
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(code), cwd=code, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr if done.returncode else ""


def test_the_example_is_in_its_rooms(code: Path) -> None:
    tests = code / "tests" / "packaging" / "test_layout.py"
    assert "" == run(code, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(code), str(tests))


def test_the_example_works_or_says_why_whatever_goes_wrong_at_any_step(code: Path) -> None:
    assert "" == run(code, "-c", STRIKE)


def test_the_example_is_typed(code: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", code)
    assert "" == run(code, "-m", "mypy", "--no-incremental", *ROOTS)
