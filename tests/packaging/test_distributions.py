"""Wheel and sdist hold what they should, nothing else, and work where they are installed."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.packaging.conftest import Distributions

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("actors", "messages", "storage")
INSTALLED = {"__pycache__", "node_modules"}
PORTIONS = {"http", "actors", "asyncio", "cli", "messages", "qr", "storage"}


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and INSTALLED.isdisjoint(path.parts)
    }


def test_the_wheel_puts_only_olmstate_into_site_packages(wheel_files: set[str]) -> None:
    assert {"olmstate"} == {name.split("/")[0] for name in wheel_files if ".dist-info/" not in name}


def test_the_wheel_holds_every_file_of_the_three_source_roots_and_no_other(wheel_files: set[str]) -> None:
    of_the_tree: set[str] = set()
    for root in SOURCE_ROOTS:
        of_the_tree |= files_below(ROOT / root)
    assert of_the_tree == {name for name in wheel_files if ".dist-info/" not in name}


def test_every_portion_of_the_namespace_is_there_and_marked_as_typed(wheel_files: set[str]) -> None:
    program = {"__main__.py"}  # of ``python -m olmstate``: the one file that is in no portion
    assert PORTIONS | program == {name.split("/")[1] for name in wheel_files if name.startswith("olmstate/")}
    assert {f"olmstate/{portion}/py.typed" for portion in PORTIONS} <= wheel_files


def test_nothing_turns_the_namespace_into_a_package(wheel_files: set[str], sdist_files: set[str]) -> None:
    for name in wheel_files | sdist_files:
        assert not name.endswith("olmstate/__init__.py"), f"{name} hides the other portions"


def test_no_user_downloads_what_only_measures(wheel_files: set[str]) -> None:
    moving_in = "olmstate/cli/_moving_in/_nio.py"  # reads matrix-nio's stores, and needs nothing of it
    assert [] == [name for name in wheel_files - {moving_in} if "bench" in name or "nio" in name]


def test_the_wheel_is_small_but_for_the_recording_of_the_demo(distributions: Distributions) -> None:
    with zipfile.ZipFile(distributions.wheel) as archive:
        recordings = sum(file.compress_size for file in archive.infolist() if "/recordings/" in file.filename)
    assert recordings > 0
    assert distributions.wheel.stat().st_size - recordings <= 650_000


def test_the_sdist_holds_what_it_takes_to_test_and_to_document(sdist_files: set[str]) -> None:
    for folder in (*SOURCE_ROOTS, "tests", ".requirements", ".ci"):
        assert {f"{folder}/{name}" for name in files_below(ROOT / folder)} <= sdist_files
    pages = {f"docs/{name}" for name in files_below(ROOT / "docs") if not name.startswith("_build/")}
    assert pages <= sdist_files
    assert {"CHANGELOG.md", "LICENSE", "Makefile", "README.md", "pyproject.toml"} <= sdist_files


def test_the_sdist_holds_nothing_that_a_tool_left_behind(sdist_files: set[str]) -> None:
    left_behind = (".venv/", ".git/", "dist/", "docs/_build/", ".hypothesis/", ".mypy_cache/")
    assert [] == [name for name in sdist_files if name.startswith(left_behind) or INSTALLED & set(name.split("/"))]


def test_the_metadata_names_licence_python_and_program(distributions: Distributions) -> None:
    with zipfile.ZipFile(distributions.wheel) as archive:
        [info] = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
    assert ("olmstate", "Apache-2.0", ">=3.11") == (
        metadata["Name"],
        metadata["License-Expression"],
        metadata["Requires-Python"],
    )
    assert "olmstate = olmstate.cli:main" in entry_points
    assert licence == (ROOT / "LICENSE").read_text()


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_an_installed_wheel_is_found_by_import_and_by_its_program(distributions: Distributions, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", distributions.wheel)
    # Our dependencies come from the environment of the tests. A folder named in a .pth file doesn't have its
    # own .pth files read, so an editable olmstate over there stays unseen.
    purelib = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (purelib / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    imports = "import olmstate.actors, olmstate.cli, olmstate.messages, olmstate.storage"
    found = run(python, "-I", "-c", f"{imports}; print(*olmstate.__path__)")
    assert f"{purelib / 'olmstate'}\n" == found
    # the recording and the workers' own start come from the wheel too
    demo = ("demo", "--processes", "2", "--messages", "20", "--kills", "0", "--seed", "1", "--json")
    *_, said = run(environment / "bin" / "olmstate", *demo).splitlines()
    assert json.loads(said)["right"]
