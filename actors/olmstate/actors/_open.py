"""Opening a supervisor: the store, the actors and the turns, for as long as a block runs."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import trio
from trio.lowlevel import enable_ki_protection

from olmstate.messages import DeviceId, Transport, UserId
from olmstate.storage import Secret, SqliteStore, Store, open_store

from ._arguments import folder_of, options_of, text_of, transport_of
from ._capabilities import CAPABILITIES
from ._engine.capability import Capability
from ._engine.options import Options
from ._engine.points import Addition
from ._engine.runner import Runner
from ._engine.running import Running
from ._supervisor import Supervisor


def open_supervisor(
    folder: str | os.PathLike[str],
    *,
    user_id: str,
    device_id: str,
    key: Secret | None,
    options: Options | None = None,
    transport: Transport | None = None,
) -> AbstractAsyncContextManager[Supervisor]:
    """Open the store of a device and run its supervisor while the block runs.

    Several may be open on one store, in one process or in many.

    Args:
        folder: The store's own folder; made, with mode 0700, if it isn't there.
        user_id: Whose device.
        device_id: Which device.
        key: 32 random bytes, or a passphrase, which takes 0.1 s and 64 MiB at each opening; None leaves the store
            unsealed.
        options: Capacities and waiting times.
        transport: Sends requests to the homeserver. With one, procedures make their requests themselves, and a
            background task keeps house: it uploads keys, makes queries that are due, and finishes what processes that
            have died have begun. Without one, `OutgoingRequests` hands requests out.

    Raises:
        StoreError: The store can't be opened.
        ValueError: ``folder`` is empty; or there is no store yet, and ``user_id`` or ``device_id`` is none that a
            server gives.
        TypeError: An argument is of another type, or ``transport`` can't be called.
    """
    path = folder_of(folder)
    options = options_of(options)
    additions = transport_of(transport)
    user, device = UserId(text_of("user_id", user_id)), DeviceId(text_of("device_id", device_id))

    async def open_this_store() -> SqliteStore:
        return await open_store(path, user_id=user, device_id=device, key=key, lock_timeout=options.lock_timeout)

    def run(store: Store) -> AbstractAsyncContextManager[Supervisor]:
        return run_capabilities(
            store, CAPABILITIES, user_id=user, device_id=device, options=options, additions=additions
        )

    return _OpenAndRun(open_this_store, run)


class _OpenAndRun(AbstractAsyncContextManager[Supervisor]):
    """A store that is open, and a supervisor that runs over it, while the block runs."""

    def __init__(
        self,
        open_this_store: Callable[[], Awaitable[SqliteStore]],
        run: Callable[[Store], AbstractAsyncContextManager[Supervisor]],
    ) -> None:
        self._open = open_this_store
        self._run = run

    @enable_ki_protection
    async def __aenter__(self) -> Supervisor:
        if not trio.lowlevel.in_trio_task():
            raise RuntimeError("this runs under Trio; under asyncio, import open_supervisor from olmstate.asyncio")
        self._store = await self._open()
        try:
            self._running = self._run(self._store)
            return await self._running.__aenter__()
        except BaseException:
            await self._store.aclose()
            raise

    @enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._running.__aexit__(kind, raised, trace)
        finally:
            await self._store.aclose()


def run_supervisor(
    store: Store,
    *,
    user_id: UserId,
    device_id: DeviceId,
    options: Options | None = None,
    transport: Transport | None = None,
) -> AbstractAsyncContextManager[Supervisor]:
    """Run a supervisor over an open store while the block runs; what was asked in it is answered before it ends."""
    additions = transport_of(transport)
    return run_capabilities(
        store, CAPABILITIES, user_id=user_id, device_id=device_id, options=options, additions=additions
    )


def run_capabilities(
    store: Store,
    capabilities: Sequence[Capability],
    *,
    user_id: UserId,
    device_id: DeviceId,
    options: Options | None = None,
    additions: Sequence[Addition] = (),
) -> AbstractAsyncContextManager[Supervisor]:
    """As `run_supervisor`, with these capabilities."""
    options = options_of(options)
    runner = Runner(store, capabilities, user_id=user_id, device_id=device_id, options=options, additions=additions)
    return Running(runner, Supervisor(runner), drain=options.drain)
