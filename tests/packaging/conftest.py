"""The distributions as a release would have them, built once for all tests of this folder.

Owns: the sdist built from the tree, and the wheel built from that sdist.
Rule: they are built by the installed hatchling, without isolation and without the net.
Why: what is published is what is built, not the tree. What the sdist forgets, the wheel lacks.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]


@frozen(kw_only=True)
class Distributions:
    """Paths of what was built."""

    sdist: Path
    wheel: Path


def build(source: Path, target: str, into: Path) -> Path:
    """Build one distribution and return its path."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = into.iterdir()
    return built


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Build the sdist from this tree, and the wheel from the sdist, as pip does."""
    folder = tmp_path_factory.mktemp("distributions")
    sdist = build(ROOT, "sdist", folder / "sdist")
    with tarfile.open(sdist) as archive:
        # Python 3.11.2, which Debian has, knows no filters; newer ones warn when none is set.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)  # noqa: S202 - our own archive
    return Distributions(
        sdist=sdist, wheel=build(folder / sdist.name.removesuffix(".tar.gz"), "wheel", folder / "wheel")
    )


@pytest.fixture(scope="session")
def wheel_files(distributions: Distributions) -> set[str]:
    """The wheel's files, as site-packages would have them."""
    with zipfile.ZipFile(distributions.wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="session")
def sdist_files(distributions: Distributions) -> set[str]:
    """The sdist's files, without the folder that holds them all."""
    with tarfile.open(distributions.sdist) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
