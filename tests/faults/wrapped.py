"""A store and its lock, passed on as they are: tests put something in between by overriding a part."""

from __future__ import annotations

from collections.abc import Collection

from olmstate.storage import Changes, Lock, Position, Presence, Role, Row, Rows, Store, Table


class WrappedLock:
    """A lock; see `olmstate.storage.Lock`."""

    def __init__(self, inner: Lock) -> None:
        """Over another."""
        self.inner = inner

    @property
    def held(self) -> bool:
        """Whether this handle holds it."""
        return self.inner.held

    async def acquire(self, timeout: float) -> object:  # noqa: ASYNC109 - the protocol's
        """Wait for it."""
        return await self.inner.acquire(timeout)

    def acquire_nowait(self) -> bool:
        """Try it."""
        return self.inner.acquire_nowait()

    def contended(self) -> bool:
        """Whether somebody else waits for it."""
        return self.inner.contended()

    def release(self) -> None:
        """Let it go."""
        self.inner.release()

    def holder_pid(self) -> int | None:
        """Who holds it."""
        return self.inner.holder_pid()


class WrappedStore:
    """A store; see `olmstate.storage.Store`."""

    def __init__(self, inner: Store, lock: Lock | None = None) -> None:
        """Over another, with another lock than that one's if one is given."""
        self.inner = inner
        self._lock = inner.lock if lock is None else lock

    @property
    def lock(self) -> Lock:
        """The lock."""
        return self._lock

    @property
    def presence(self) -> Presence:
        """The wrapped store's."""
        return self.inner.presence

    @property
    def sync_role(self) -> Role:
        """The wrapped store's."""
        return self.inner.sync_role

    @property
    def pickle_key(self) -> bytes:
        """For vodozemac's pickles."""
        return self.inner.pickle_key

    @property
    def restored_generation(self) -> int:
        """Up to which it came from a backup."""
        return self.inner.restored_generation

    def key(self, table: Table, *parts: str) -> bytes:
        """Under which something is kept."""
        return self.inner.key(table, *parts)

    async def read(self, table: Table, partitions: Collection[bytes]) -> dict[bytes, list[Row]]:
        """The rows of some partitions."""
        return await self.inner.read(table, partitions)

    async def page(self, table: Table, after: Position, limit: int, group: bytes | None = None) -> list[Row]:
        """Some of all rows."""
        return await self.inner.page(table, after, limit, group)

    async def look(self, since: int | None) -> Changes | None:
        """What was committed."""
        return await self.inner.look(since)

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write rows."""
        return await self.inner.commit(rows, seen)
