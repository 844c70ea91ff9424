"""The rooms of the repository, and the one direction in which their doors open."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("actors", "messages", "storage")

MAY_IMPORT = {
    "messages": {"messages"},
    "storage": {"storage", "messages"},
    "actors": {"actors", "storage", "messages"},
    "cli": {"cli", "http", "actors", "storage", "messages"},
    "asyncio": {"asyncio", "actors", "storage", "messages"},
    "http": {"http", "messages"},
    "qr": {"qr", "messages"},
}
# What a room must never touch, whoever brought it in.
MUST_NOT_NEED = {
    "messages": {"trio", "sqlite3", "sqlite_utils", "filelock"},
    "storage": {"vodozemac"},
    "actors": {"click", "asyncio"},
    "cli": set[str](),
    "asyncio": {"click"},
    "http": {"click", "trio", "asyncio"},
    "qr": {"click", "trio", "asyncio"},
}


def imported_by(file: Path) -> set[str]:
    """Absolute names of all modules that a file imports, `from a import b` counting as a and as a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_of(portion: str) -> list[Path]:
    files = [file for root in SOURCE_ROOTS for file in (ROOT / root / "olmstate" / portion).rglob("*.py")]
    assert files, f"no source files for olmstate.{portion}"
    return files


def test_no_source_root_turns_the_namespace_into_a_package() -> None:
    assert [] == [root for root in SOURCE_ROOTS if (ROOT / root / "olmstate" / "__init__.py").exists()]


def test_a_source_root_holds_the_namespace_and_nothing_else() -> None:
    for root in SOURCE_ROOTS:
        assert ["olmstate"] == [path.name for path in (ROOT / root).iterdir() if path.name != "__pycache__"]


@pytest.mark.parametrize("portion", MAY_IMPORT)
def test_imports_between_rooms_go_one_way(portion: str) -> None:
    for file in files_of(portion):
        rooms = {name.split(".")[1] for name in imported_by(file) if name.startswith("olmstate.")}
        assert rooms <= MAY_IMPORT[portion], f"{file.relative_to(ROOT)} goes against the direction"


@pytest.mark.parametrize("portion", MUST_NOT_NEED)
def test_a_room_does_not_need_what_is_not_its_business(portion: str) -> None:
    for file in files_of(portion):
        packages = {name.split(".")[0] for name in imported_by(file)}
        assert set() == packages & MUST_NOT_NEED[portion], f"{file.relative_to(ROOT)} needs too much"


# --- inside the actors --------------------------------------------------------------------------------------

ACTORS = ROOT / "actors" / "olmstate" / "actors"
CAPABILITIES = [
    ast.unparse(node.value)
    for node in ast.walk(ast.parse((ACTORS / "_capabilities.py").read_text(encoding="utf-8")))
    if isinstance(node, ast.Attribute) and node.attr == "CAPABILITY"
]
"""Folders, in the order of the tuple that the supervisor is built from."""


def folders_used_by(folder: str) -> dict[str, set[str]]:
    """By file, the folders and modules of the actors from which its files import."""
    used: dict[str, set[str]] = {}
    for file in (ACTORS / folder).rglob("*.py"):
        names = {name.split(".")[2] for name in imported_by(file) if name.startswith("olmstate.actors.")}
        used[str(file.relative_to(ACTORS))] = names
    assert used
    return used


def test_each_folder_of_the_actors_is_the_engine_the_wire_or_a_capability() -> None:
    folders = {path.parent.name for path in ACTORS.glob("_*/__init__.py")}
    assert {"_engine", "_wire", *CAPABILITIES} == folders
    assert len(CAPABILITIES) == len(set(CAPABILITIES))


def test_an_import_from_another_folder_of_the_actors_is_absolute() -> None:
    for file in ACTORS.rglob("_*/*.py"):
        levels = [node.level for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
        assert max(levels) <= 1, file.relative_to(ROOT)


def test_the_wire_knows_nothing_but_itself() -> None:
    for file, used in folders_used_by("_wire").items():
        assert used <= {"_wire"}, file


def test_the_engine_knows_no_capability_and_of_the_wire_no_more_than_what_steps_and_structs_are() -> None:
    for file in (ACTORS / "_engine").rglob("*.py"):
        used = {name for name in imported_by(file) if name.startswith("olmstate.actors.")}
        used = {name for name in used if not name.startswith("olmstate.actors._engine")}
        modules = tuple(f"olmstate.actors._wire.{module}" for module in ("quiet_struct", "steps"))
        assert [] == [name for name in used if not name.startswith(modules)], file.relative_to(ROOT)


def test_the_wire_needs_neither_trio_nor_a_store() -> None:
    for file in (ACTORS / "_wire").rglob("*.py"):
        names = {name for name in imported_by(file) if name.split(".")[0] == "trio" or "olmstate.storage" in name}
        assert set() == names, file.relative_to(ROOT)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_capability_imports_only_from_those_before_it(capability: str) -> None:
    before = CAPABILITIES[: CAPABILITIES.index(capability)]
    for file, used in folders_used_by(capability).items():
        assert used <= {"_engine", "_wire", capability, *before}, file


# --- what tests talk to -------------------------------------------------------------------------------------


def test_what_tests_talk_to_shares_nothing_with_the_library() -> None:
    """Else a mistake could be in both. Type checkers may know the library's names, which `tests.peer.names` has."""
    modules = [f"tests.peer.{file.stem}" for file in (ROOT / "tests" / "peer").glob("*.py")]
    assert modules
    program = f"import sys, {', '.join(modules)}; print([name for name in sys.modules if name.startswith('olmstate')])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=ROOT, text=True)
    assert "[]" == loaded.stdout.strip()
