"""The rooms of the repository, and the one direction in which their doors open."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("actors", "messages", "storage")

MAY_IMPORT = {
    "messages": {"messages"},
    "storage": {"storage", "messages"},
    "actors": {"actors", "storage", "messages"},
    "cli": {"cli", "actors", "storage", "messages"},
}
# What a room must never touch, whoever brought it in.
MUST_NOT_NEED = {
    "messages": {"trio", "sqlite3", "sqlite_utils", "filelock"},
    "storage": {"vodozemac"},
    "actors": {"click"},
    "cli": set[str](),
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
