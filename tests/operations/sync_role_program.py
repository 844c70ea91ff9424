"""A process that has the sync role, says so, and keeps it until it is killed.

python -m tests.operations.sync_role_program FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from olmstate.actors import open_supervisor
from tests.operations.device import KEY


async def main(folder: Path) -> None:
    """Wait for it, and keep it."""
    async with open_supervisor(folder, user_id="@alice:example.org", device_id="ALICE", key=KEY) as supervisor:
        print("waiting", flush=True)
        async with supervisor.sync_turn():
            print("syncing", flush=True)
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
