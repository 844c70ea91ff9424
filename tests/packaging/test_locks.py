"""The lock files name everything that we depend on, exactly, with hashes, and no place to get it from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("run.lock", "dev.lock", "peers.lock", "mutants.lock")
"""What may be together in one environment."""
LOCKS = (*OURS, "synapse.lock")


def pins_of(lock: str) -> dict[str, tuple[str, int]]:
    """Each package's version and how many hashes it has."""
    text = (ROOT / ".requirements" / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    pins: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            pinned = re.match(r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)", line)
            assert pinned, f"{lock}: not an exact version: {line[:80]}"
            pins[pinned["name"]] = (pinned["version"], len(re.findall(r"--hash=sha256:[0-9a-f]{64}", line)))
    return pins


def names_in(requirements: list[object]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9-]", entry)[0].lower() for entry in requirements if isinstance(entry, str)}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_a_hash(lock: str) -> None:
    assert [] == [name for name, (_, hashes) in pins_of(lock).items() if not hashes]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_no_path(lock: str) -> None:
    text = (ROOT / ".requirements" / lock).read_text(encoding="utf-8")
    assert [] == re.findall(r"^.*(?:://|index-url|find-links| /).*$", text, flags=re.MULTILINE)


def test_the_locks_agree_where_they_name_the_same_package() -> None:
    run, dev, *others = (pins_of(lock) for lock in OURS)
    assert run == {name: pin for name, pin in dev.items() if name in run}
    for other in others:
        both = dev.keys() & other.keys()
        assert {name: dev[name] for name in both} == {name: other[name] for name in both}


def test_the_locks_hold_all_that_pyproject_asks_for() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run = names_in(pyproject["project"]["dependencies"]) | names_in(pyproject["build-system"]["requires"])
    dev = set(run)
    for requirements in (*pyproject["project"]["optional-dependencies"].values(),):
        dev |= names_in(requirements)
    groups = pyproject["dependency-groups"]
    apart = {name: names_in(groups.pop(name)) for name in ("peers", "mutants", "synapse")}
    for requirements in groups.values():
        dev |= names_in(requirements)
    assert run <= set(pins_of("run.lock"))
    assert dev <= set(pins_of("dev.lock"))
    for name, wanted in apart.items():
        assert wanted <= set(pins_of(f"{name}.lock"))
