"""Open a store with other options than usual."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager

from olmstate.actors import Options, Supervisor, open_supervisor
from olmstate.storage import Table


def open_small(
    folder: str | os.PathLike[str], key: bytes
) -> AbstractAsyncContextManager[Supervisor]:
    """For a helper that decrypts a few events and ends: few caches, no long waits."""
    options = Options(
        capacities={Table.INBOUND_GROUP_SESSIONS: 100, Table.DEVICES: 0},
        lock_timeout=1.0,
    )
    return open_supervisor(
        folder, user_id="@bot:example.org", device_id="BOT", key=key, options=options
    )
