"""The engines that must keep what `olmstate.storage.contract` promises: another one is another line in `ENGINES`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import attrs

from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.storage import Rows, Store, Table, open_store

DEVICES, OLM, INBOUND, MESSAGES = Table.DEVICES, Table.OLM_SESSIONS, Table.INBOUND_GROUP_SESSIONS, Table.OLM_MESSAGES
"""Two partitioned tables, one that isn't, one of keys alone."""


@attrs.frozen
class Engine:
    """One new store, while the test runs."""

    open: Callable[[], Awaitable[Store]]
    """Another handle on it, as another process has one. It is closed in the end."""


@asynccontextmanager
async def memory() -> AsyncGenerator[Engine]:
    """The one that comes with `olmstate.actors.testing`."""
    disk = MemoryDisk()

    async def handle() -> Store:
        return MemoryStore(disk)

    yield Engine(handle)


@asynccontextmanager
async def sqlite() -> AsyncGenerator[Engine]:
    """The one that keeps a store on disk."""
    with TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:

            async def handle() -> Store:
                store = await open_store(Path(folder), user_id=USER, device_id=DEVICE, key=bytes(32))
                stack.push_async_callback(store.aclose)
                return store

            yield Engine(handle)


Opened: TypeAlias = Callable[[], AbstractAsyncContextManager[Engine]]

ENGINES: Mapping[str, Opened] = {"memory": memory, "sqlite": sqlite}


async def write(store: Store, rows: Rows, seen: int) -> int:
    """Commit under the lock, which must be free."""
    assert store.lock.acquire_nowait()
    try:
        return await store.commit(rows, seen)
    finally:
        store.lock.release()
