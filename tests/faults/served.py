"""A homeserver over HTTP for three devices, until stdin ends: ``python -m tests.faults.served`` writes its URL."""

from __future__ import annotations

import os
from typing import Final

import trio

from olmstate.messages import DeviceId, UserId
from tests.cli.served import serving
from tests.faults.homeserver import ALICE, ALICE_DEVICE
from tests.peer.homeserver import Homeserver

BOB: Final = UserId("@bob:example.org")
BOBS_DEVICE: Final = DeviceId("TABLET")
CAROL: Final = UserId("@carol:example.org")
CAROLS_DEVICE: Final = DeviceId("PHONE")


async def main() -> None:
    """Serve them, each by its name as the access token."""
    server = Homeserver(lambda: 0)
    sessions = {
        "alice": server.log_in(ALICE, ALICE_DEVICE),
        "bob": server.log_in(BOB, BOBS_DEVICE),
        "carol": server.log_in(CAROL, CAROLS_DEVICE),
    }
    async with serving(sessions) as url:
        print(url, flush=True)
        await trio.to_thread.run_sync(os.read, 0, 1)


if __name__ == "__main__":
    trio.run(main)
