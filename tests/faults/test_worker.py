"""What the harnesses' own processes say when something is wrong with them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.faults.worker import Failed, Workers


def test_a_worker_whose_time_is_up_has_failed(tmp_path: Path) -> None:
    with Workers.open() as workers:
        pid = workers.start(tmp_path / "store", tmp_path / "journal")
        os.kill(pid, signal.SIGALRM)
        with pytest.raises(Failed, match="no end"):
            workers.wait()
