"""Only its owner may read a store, whatever the umask: folders are 0700, files 0600, from their first moment."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.strace import attached, calls
from tests.faults.worker import Workers
from tests.faults.world import World, make_nothing

UMASKS = (0, 0o022, 0o077, 0o777)

PROGRAM = """
import os, sys, trio
from pathlib import Path
from olmstate.storage import backup
from tests.faults.client import open_client, work
from tests.faults.homeserver import Homeserver

folder = Path(sys.argv[1])
homeserver = Homeserver.new(folder / "journal", bytes(32))
os.umask(int(sys.argv[2]))

async def main():
    async with open_client(folder / "above" / "store", homeserver) as (supervisor, store):
        await work(supervisor, homeserver)
        await backup(store, folder / "above" / "copies" / "copy")
        show("open")
    show("closed")

def show(when):
    for path in [folder / "above", *sorted((folder / "above").rglob("*"))]:
        print(when, path.is_dir(), oct(path.stat().st_mode & 0o7777), path.relative_to(folder))

trio.run(main)
"""


@pytest.mark.parametrize("umask", UMASKS)
def test_folders_and_files_are_their_owners_alone(umask: int, memory_folder: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(memory_folder), str(umask)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    shown = [line.split(maxsplit=3) for line in ran.stdout.splitlines()]
    assert {"above/store/olmstate.sqlite-wal", "above/copies/copy/olmstate.sqlite"} <= {path for *_, path in shown}
    wrong = [line for line in shown if line[2] != ("0o700" if line[1] == "True" else "0o600")]
    assert not wrong


@pytest.mark.usefixtures("strace")
def test_no_file_is_ever_open_to_others_even_for_a_moment(memory_folder: Path) -> None:
    world = make_nothing(memory_folder / "world")
    before = os.umask(0)
    try:
        with Workers.open() as workers:
            created = _created(world, workers)
    finally:
        os.umask(before)
    assert len(created) > 5
    assert {0o600, 0o700} == set(created)


def _created(world: World, workers: Workers) -> list[int]:
    """The modes with which files and folders of the store were made, and which they were given."""
    output = world.folder / "trace"
    pid = workers.start(world.store, world.journal)
    with attached(pid, output, world.files()):
        assert workers.go() == 0
    made = [call for call in calls(output) if call.name in ("mkdir", "chmod", "fchmod") or "O_CREAT" in call.arguments]
    return [stat.S_IMODE(int(call.arguments.rpartition(", ")[2], 8)) for call in made if call.result != -1]
