"""What the store keeps: opaque rows in a fixed set of tables, and which of them changed.

A row's ``key`` names one thing; its ``partition`` names what is loaded, cached and invalidated together (all Olm
sessions with one device, say). In a table that is not partitioned they are the same; in one that is, a key in another
partition is another row. Both are keyed hashes, so that the database shows neither rooms nor people.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeAlias

import attrs
import msgspec

from .tables import BY_ROW, PARTITIONED, Table

Position: TypeAlias = tuple[bytes, bytes]
"""Where a row is in its table: partition, and key in it."""
START: Position = (b"", b"")
"""Before all rows."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row. Values are plain here; the store seals them."""

    key: bytes
    partition: bytes
    value: bytes | None
    """None: the row is to be deleted."""
    generation: int = 0
    """Of the commit that wrote it; filled in by the store."""
    group: bytes = b""
    """With which others it can be found, in a table whose rows are grouped; written, and never read."""

    def __repr__(self) -> str:
        """All but the value, which is secret."""
        return f"Row({self.key!r}, {self.partition!r}, ..., {self.generation})"


Rows: TypeAlias = Mapping[Table, Sequence[Row]]


def position_of(table: Table, row: Row) -> Position:
    """Where ``row`` is in ``table``: where partitions are keys, the key alone counts."""
    return row.partition if table in PARTITIONED else row.key, row.key


def unit_of(table: Table, row: Row) -> bytes:
    """What is loaded, cached and invalidated together with ``row``: its partition; or, by row, it alone.

    A row alone is named by its partition and its key, joined; they are of the same length.
    """
    return row.partition + row.key if table in BY_ROW else row.partition


@attrs.frozen
class Changes:
    """What other handles have written since a generation."""

    generation: int
    """Up to which this holds."""
    partitions: Mapping[Table, frozenset[bytes]] | None
    """By table, as `RowReader.read` takes them; None: too much or too long ago to tell: everything may have changed."""
    ours: bool = False
    """It is nothing but this handle's own commit, which is on the disk while `Store.commit` has yet to return."""


class RowReader(Protocol):
    """What an actor sees of the store: committed rows, by partition. Awaiting may or may not reach a checkpoint."""

    @property
    def pickle_key(self) -> bytes:
        """32 bytes for vodozemac's pickles."""
        ...

    def key(self, table: Table, *parts: str) -> bytes:
        """The keyed hash under which ``parts`` are kept in ``table``."""
        ...

    async def read(self, table: Table, partitions: Collection[bytes]) -> dict[bytes, list[Row]]:
        """The rows of each of ``partitions``, an empty list for one that has none; see `unit_of`."""
        ...

    async def page(self, table: Table, after: Position, limit: int, group: bytes | None = None) -> list[Row]:
        """At most ``limit`` rows behind the position ``after``, in the order of their positions.

        Of one ``group`` only, if the table's rows are grouped and one is named; those without a group are of ``b""``.
        """
        ...

    @property
    def restored_generation(self) -> int:
        """Rows of this generation and before came from a backup; 0 if the store never was one."""
        ...


class Lock(Protocol):
    """The cross-process lock, as the supervisor sees it."""

    @property
    def held(self) -> bool:
        """Whether this handle has it."""
        ...

    async def acquire(self, timeout: float) -> object:  # noqa: ASYNC109 - the lock names the holder when time is up
        """Wait for the lock; raises `StoreBusy` once nobody else has got it for ``timeout`` seconds."""
        ...

    def acquire_nowait(self) -> bool:
        """Take the lock if it is free and nobody waits for it; whether it was taken."""
        ...

    def contended(self) -> bool:
        """Whether somebody else waits for it."""
        ...

    def release(self) -> None:
        """Let the lock go."""
        ...

    def holder_pid(self) -> int | None:
        """The process that holds it; None if nobody does, or nobody can be named."""
        ...


class Presence(Protocol):
    """Which handles on the store are alive: what a process has begun is its own to finish while it lives."""

    @property
    def token(self) -> str:
        """What stands for this handle in stored rows; no other handle ever has the same."""
        ...

    def announce(self) -> str:
        """Let others see that this handle lives, from now until it is closed; its token. Under the lock."""
        ...

    def is_alive(self, token: str) -> bool:
        """Whether the handle that announced ``token`` lives; True in doubt."""
        ...

    def sweep(self) -> None:
        """Remove what dead handles have left of their announcements. Under the lock."""
        ...


class Role(Protocol):
    """What one handle on a store has at a time, for as long as it likes; nothing that must be right rests on it."""

    async def acquire(self) -> None:
        """Wait for it. Cancelled, it isn't had.

        Raises:
            StoreError: The operating system refuses.
            trio.ClosedResourceError: The handle was closed.
        """
        ...

    def release(self) -> None:
        """Let another have it."""
        ...


class Store(RowReader, Protocol):
    """What the supervisor sees of the store."""

    @property
    def presence(self) -> Presence:
        """Which handles are alive."""
        ...

    @property
    def lock(self) -> Lock:
        """The lock under which everything is written."""
        ...

    @property
    def sync_role(self) -> Role:
        """Who syncs with the homeserver."""
        ...

    async def look(self, since: int | None) -> Changes | None:
        """What was committed after generation ``since``; with None, only how far the store is.

        None: nobody, we too, has committed since this handle last looked. That is cheap, and never wrong. An engine
        that can tell without waiting never reaches a checkpoint here; its asker goes on in the slice of time in which
        nobody had committed.

        Raises:
            StorePoisoned: The store is an earlier one than it was.
            SchemaTooNew: A later olmstate has migrated the store.
            StoreError: It can't be read.
        """
        ...

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write ``rows`` durably in one transaction if the generation is still ``seen``; the new generation.

        Raises:
            Fenced: The generation isn't ``seen`` any more; nothing was written.
            StoreError: Nothing was written, or, with `StorePoisoned`, nobody knows.
        """
        ...


class Fenced(Exception):
    """Another handle has committed since what this turn derives from was read."""
