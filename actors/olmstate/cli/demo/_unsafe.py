"""The control: the same store, without what makes it safe to share.

A demo that can't fail proves nothing. Here the lock lets everybody in, nobody hears of another's write, and the fence
never turns a commit back, as in programs that simply open the same files twice. The library has no such switch: this is
a store of the demo's own making, given to the supervisor in the real one's place.
"""

from __future__ import annotations

from collections.abc import Collection

from olmstate.storage import Changes, Position, Presence, Role, Row, Rows, SqliteStore, Table

NEVER_MOVES = 0
"""The generation that everybody believes to see."""


class NoLock:
    """A lock that everybody can hold at once."""

    def __init__(self) -> None:
        """Not held."""
        self._held = False

    @property
    def held(self) -> bool:
        """Whether this supervisor believes to hold it."""
        return self._held

    async def acquire(self, timeout: float) -> None:  # noqa: ASYNC109, ARG002 - the protocol's; nobody waits
        """Succeed."""
        self._held = True

    def acquire_nowait(self) -> bool:
        """Succeed."""
        self._held = True
        return True

    def contended(self) -> bool:
        """Nobody waits for what everybody has."""
        return False

    def release(self) -> None:
        """Forget it."""
        self._held = False

    def holder_pid(self) -> int | None:
        """Nobody."""
        return None


class UnsafeStore:
    """A store without exclusion, invalidation and fence. Rows are read from and written to the real one."""

    def __init__(self, store: SqliteStore) -> None:
        """Over an open store."""
        self._store = store
        self._lock = NoLock()

    @property
    def lock(self) -> NoLock:
        """It does nothing."""
        return self._lock

    @property
    def presence(self) -> Presence:
        """The real one's."""
        return self._store.presence

    @property
    def sync_role(self) -> Role:
        """The real one's."""
        return self._store.sync_role

    @property
    def restored_generation(self) -> int:
        """The real one's."""
        return self._store.restored_generation

    @property
    def pickle_key(self) -> bytes:
        """The real one's."""
        return self._store.pickle_key

    def key(self, table: Table, *parts: str) -> bytes:
        """The real one's."""
        return self._store.key(table, *parts)

    async def read(self, table: Table, partitions: Collection[bytes]) -> dict[bytes, list[Row]]:
        """The real one's."""
        return await self._store.read(table, partitions)

    async def page(self, table: Table, after: Position, limit: int, group: bytes | None = None) -> list[Row]:
        """The real one's."""
        return await self._store.page(table, after, limit, group)

    async def look(self, since: int | None) -> Changes | None:
        """Nothing, but how far the store is, which never moves."""
        return Changes(NEVER_MOVES, {}) if since is None else None

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write whatever it derives from: last one wins."""
        await self._store.lock.acquire(60)
        try:
            await self._store.commit(rows, self._store.info().generation)
        finally:
            self._store.lock.release()
        return seen
