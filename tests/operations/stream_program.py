"""A process on a store that is shared: it writes, or it says what it hears, until it is killed.

python -m tests.operations.stream_program FOLDER write
python -m tests.operations.stream_program FOLDER hear [POSITION]
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import trio

from olmstate.actors import Supervisor, open_supervisor
from olmstate.messages import DevicesChanged, Lagged
from tests.operations.device import KEY
from tests.operations.peer import Peer, add_devices


async def write(supervisor: Supervisor) -> None:
    """A new device after the other; each is said once its commit is durable."""
    for number in itertools.count():
        peer = Peer(f"@{os.getpid()}-{number}:example.org")
        await supervisor.ask(add_devices(peer))
        print(peer.user_id, flush=True)


async def hear(supervisor: Supervisor, since: int | None) -> None:
    """Each event's position, and whose device is new."""
    with supervisor.subscribe(DevicesChanged, Lagged, since=since) as events:
        print("listening", flush=True)
        async for event in events:
            what = "lagged" if isinstance(event, Lagged) else event.added[0].user_id
            print(event.position, what, flush=True)


async def main(folder: Path, role: str, since: int | None) -> None:
    """Open the store, and go on for ever."""
    async with open_supervisor(folder, user_id="@alice:example.org", device_id="ALICE", key=KEY) as supervisor:
        await (write(supervisor) if role == "write" else hear(supervisor, since))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
