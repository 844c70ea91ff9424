"""Trouble from outside: many processes open a store that isn't there yet, all at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from olmstate.storage.sqlite.folder import UNFINISHED
from tests.faults import race

FIRST_OPENS = 60


def test_sixty_first_opens_make_one_store_with_one_account(memory_folder: Path) -> None:
    ran = subprocess.run(
        [sys.executable, race.__file__, str(memory_folder / "store"), str(FIRST_OPENS)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    opened = [line.split() for line in ran.stdout.splitlines()]
    assert len(opened) == FIRST_OPENS
    assert len({identity for identity, _ in opened}) == 1
    assert [made for _, made in opened].count("True") == 1
    assert not list(memory_folder.glob(f"store/{UNFINISHED}*"))
