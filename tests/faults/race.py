"""Many processes that open a store at the same moment, which isn't there yet.

    python race.py FOLDER NUMBER

Each prints a line: its device's identity key, and whether it was the one that made the account.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import attrs
import trio

from olmstate.actors import open_supervisor
from olmstate.messages import AccountExists, CreateAccount, IdentityKeys
from tests.faults.client import OPTIONS
from tests.faults.homeserver import ALICE, ALICE_DEVICE

KEY = bytes(range(32))
PATIENT = attrs.evolve(OPTIONS, lock_timeout=300)


async def _open(folder: Path) -> str:
    async with open_supervisor(folder, user_id=ALICE, device_id=ALICE_DEVICE, key=KEY, options=PATIENT) as supervisor:
        try:
            device, made = await supervisor.ask(CreateAccount()), True
        except AccountExists:
            device, made = await supervisor.ask(IdentityKeys()), False
        return f"{device.curve25519} {made}\n"


def main() -> None:
    """Start them, let them go, and wait for them."""
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    waiting, gun = os.pipe()
    children: list[int] = []
    for _ in range(number):
        child = os.fork()
        if child == 0:
            os.close(gun)
            os.read(waiting, 1)  # ends when the parent has closed its end
            os.write(1, trio.run(_open, folder).encode())
            os._exit(0)
        children.append(child)
    os.close(gun)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(any(statuses))


if __name__ == "__main__":
    main()
