"""The pages as `make docs` builds them, once for all tests of this folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages; building them gave no warning."""
    folder = tmp_path_factory.mktemp("docs")
    options = (
        "--builder",
        "html",
        "--fail-on-warning",
        "--keep-going",
        "--quiet",
        "--doctree-dir",
        folder / "doctrees",
    )
    command = (sys.executable, "-m", "sphinx", *options, DOCS, folder / "html")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return folder / "html"
