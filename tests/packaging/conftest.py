"""The distributions as a release would have them, built once for all tests of this folder.

Owns: the built wheel, the built sdist, and the wheel built from that sdist.
Rule: they are built by the installed hatchling, without isolation and without the net.
Why: what is published is what is built, not what the tree looks like.
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
    """Paths of what was built from the tree, and what was built from the sdist."""

    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


def _build(source: Path, into: Path, *targets: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(into)]
    for target in targets:
        command += ["--target", target]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Build all three."""
    folder = tmp_path_factory.mktemp("distributions")
    _build(ROOT, folder / "tree", "wheel", "sdist")
    [sdist] = (folder / "tree").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    _build(folder / sdist.name.removesuffix(".tar.gz"), folder / "again", "wheel")
    [wheel] = (folder / "tree").glob("*.whl")
    [wheel_of_sdist] = (folder / "again").glob("*.whl")
    return Distributions(wheel=wheel, sdist=sdist, wheel_of_sdist=wheel_of_sdist)


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
