"""Supervisors over a store in memory, as the tests here run them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors.testing import DEVICE, USER, Faults, Latency, MemoryDisk, MemoryStore


def supervised(
    disk: MemoryDisk,
    *,
    faults: Faults | None = None,
    latency: Latency | None = None,
    pid: int | None = None,
    options: Options | None = None,
) -> AbstractAsyncContextManager[Supervisor]:
    """A supervisor of Alice's device, with a handle of its own."""
    store = MemoryStore(disk, faults=faults, latency=latency, pid=pid)
    return run_supervisor(store, user_id=USER, device_id=DEVICE, options=options)
