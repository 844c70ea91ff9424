"""Opening a supervisor: the store, the actors and the turns, for as long as a block runs."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import trio

from olmstate.messages import DeviceId, Transport, UserId
from olmstate.storage import Store, open_store

from ._capabilities import CAPABILITIES
from ._engine.capability import Capability
from ._engine.hidden_nursery import open_hidden_nursery
from ._engine.options import Options
from ._engine.points import Addition
from ._engine.supervisor import Supervisor
from ._requests.points import TRANSPORT


@asynccontextmanager
async def open_supervisor(
    folder: str | os.PathLike[str],
    *,
    user_id: str,
    device_id: str,
    key: bytes | str | None,
    options: Options | None = None,
    transport: Transport | None = None,
) -> AsyncGenerator[Supervisor]:
    """Open the store of a device and run its supervisor while the block runs.

    Several may be open on one store, in one process or in many.

    Args:
        folder: The store's own folder; made, with mode 0700, if it isn't there.
        user_id: Whose device.
        device_id: Which device.
        key: 32 random bytes, or a passphrase; None leaves the store unsealed.
        options: Capacities and waiting times.
        transport: Sends requests to the homeserver. With one, procedures make their requests themselves, and a
            background task keeps house: it uploads keys, makes queries that are due, and finishes what processes that
            have died have begun. Without one, `OutgoingRequests` hands requests out.

    Raises:
        StoreError: The store can't be opened.
    """
    options = options or Options()
    user, device = UserId(user_id), DeviceId(device_id)
    store = await open_store(Path(folder), user_id=user, device_id=device, key=key, lock_timeout=options.lock_timeout)
    try:
        async with run_supervisor(
            store, user_id=user, device_id=device, options=options, transport=transport
        ) as supervisor:
            yield supervisor
    finally:
        await store.aclose()


def run_supervisor(
    store: Store,
    *,
    user_id: UserId,
    device_id: DeviceId,
    options: Options | None = None,
    transport: Transport | None = None,
) -> AbstractAsyncContextManager[Supervisor]:
    """Run a supervisor over an open store while the block runs; what was asked in it is answered before it ends."""
    additions = () if transport is None else (TRANSPORT.add(transport),)
    return run_capabilities(
        store, CAPABILITIES, user_id=user_id, device_id=device_id, options=options, additions=additions
    )


@asynccontextmanager
async def run_capabilities(
    store: Store,
    capabilities: Sequence[Capability],
    *,
    user_id: UserId,
    device_id: DeviceId,
    options: Options | None = None,
    additions: Sequence[Addition] = (),
) -> AsyncGenerator[Supervisor]:
    """As `run_supervisor`, with these capabilities."""
    options = options or Options()
    supervisor = Supervisor(
        store, capabilities, user_id=user_id, device_id=device_id, options=options, additions=additions
    )
    running = trio.CancelScope(shield=True)

    async def run() -> None:
        with running:
            await supervisor.run()

    async with open_hidden_nursery() as nursery:
        nursery.start_soon(run)
        try:
            yield supervisor
        finally:
            # cancelled or not, what was sent is finished: whoever sent it may have told others
            with trio.move_on_after(options.drain, shield=True):
                await supervisor.close()
            running.cancel()
