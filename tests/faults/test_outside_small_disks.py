"""Trouble from outside: the disk is full, or read-only, and is freed, or writable, again.

The scenarios are in `small_disk`; they run in a process that may mount what it likes without anybody seeing it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import small_disk

PRIVATE = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]


@pytest.fixture
def may_mount(full: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a fixture
    """Without the right to mount, fail in CI and under `--full`, and skip elsewhere."""
    tried = subprocess.run(
        [*PRIVATE, "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        reason = f"no disk can be mounted here: {tried.stderr.strip()}"
        if os.environ.get("CI") or full:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.mark.usefixtures("may_mount")
@pytest.mark.parametrize("scenario", small_disk.SCENARIOS)
def test_what_a_disk_refuses_is_a_typed_error_and_nothing_is_lost_when_it_refuses_no_more(
    scenario: str, tmp_path: Path
) -> None:
    subprocess.run(
        [*PRIVATE, sys.executable, small_disk.__file__, str(tmp_path), scenario],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
