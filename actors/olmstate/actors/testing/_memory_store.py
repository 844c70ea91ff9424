"""A store in memory: the promises of the one on disk, without the disk, and with time and trouble as a test wants them.

Owns: rows, the generation and the lock of one store (`MemoryDisk`), and handles on it (`MemoryStore`). Two handles on
one disk are two processes, as far as an actor or a supervisor can tell.
Rule: what `olmstate.storage.Store` says holds here too. Handles see only what was committed, a commit is fenced by the
generation and needs the lock, deletions are told like other changes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence

import msgspec
import trio

from olmstate.messages import StorePoisoned
from olmstate.storage import Changes, Fenced, Position, Row, Rows, Table, position_of, unit_of
from olmstate.storage.tables import KEYS_ONLY

from ._faults import Faults, Latency, Operation, Step
from ._memory_lock import MemoryLock, Slot


class MemoryDisk:
    """What several handles share.

    Example:
        >>> disk = MemoryDisk()
        >>> disk.write_from_elsewhere({Table.DEVICES: [Row(b"key", b"partition", b"value")]})
        1
        >>> [row.value for row in disk.rows(Table.DEVICES)]
        [b'value']
    """

    def __init__(self) -> None:
        """An empty store."""
        self.generation = 0
        """Commits so far."""
        self.restored_generation = 0
        """Set it to `generation` to make a backup of what is there."""
        self.slot = Slot()
        self.sync_turn = trio.Semaphore(1, max_value=1)
        self.handles = 0
        """Opened so far."""
        self.alive: set[str] = set()
        """Tokens of the handles that have announced themselves and live."""
        self._rows: dict[Table, dict[Position, Row]] = {table: {} for table in Table}
        self._written: list[tuple[int, Table, bytes]] = []
        """Each row that was ever written or deleted, with its commit's generation: what `changes` tells."""
        self._writer: object = None
        self._floor = 0
        """Changes up to this generation can't be told."""

    def rows(self, table: Table) -> list[Row]:
        """What is stored in a table, in the order of its places."""
        return [row for _, row in sorted(self._rows[table].items())]

    def read(self, table: Table, partitions: Collection[bytes]) -> dict[bytes, list[Row]]:
        """The rows of each of ``partitions``."""
        found: dict[bytes, list[Row]] = {partition: [] for partition in partitions}
        for row in self._rows[table].values():
            unit = unit_of(table, row)
            if unit in found:
                found[unit].append(row)
        return found

    def write_from_elsewhere(self, rows: Rows | None = None, *, keys_known: bool = True) -> int:
        """Commit as another process does, and so invalidate what is cached; the new generation.

        It doesn't ask for the lock. In the midst of a turn, that is a process that believes that it has it.

        Args:
            rows: What it writes. ``{table: disk.rows(table)}`` writes a table's rows as they are, which invalidates
                all of them, one by one; None writes nothing but the generation.
            keys_known: False makes it a commit of which nobody can tell what it changed: everything is invalidated.
        """
        generation = self.commit(rows or {}, self.generation)
        if not keys_known:
            self._floor = generation
        return generation

    def commit(self, rows: Rows, seen: int, writer: object = None) -> int:
        """Write rows; the new generation.

        Raises:
            Fenced: The generation isn't ``seen``.
        """
        if seen != self.generation:
            raise Fenced
        self.generation += 1
        self._writer = writer
        for table, table_rows in rows.items():
            for row in table_rows:
                if table not in KEYS_ONLY:
                    self._written.append((self.generation, table, unit_of(table, row)))
                position = position_of(table, row)
                if row.value is None:
                    self._rows[table].pop(position, None)
                else:
                    generation = 0 if table in KEYS_ONLY else self.generation
                    self._rows[table][position] = msgspec.structs.replace(row, generation=generation)
        return self.generation

    def changes(self, since: int, writing: object) -> Changes:
        """What was committed after ``since``, for a handle whose last commit is ``writing``."""
        ours = self.generation == since + 1 and self._writer is writing
        if since < self._floor:
            return Changes(self.generation, None, ours)
        partitions: dict[Table, set[bytes]] = {}
        for generation, table, partition in reversed(self._written):
            if generation <= since:
                break
            partitions.setdefault(table, set()).add(partition)
        return Changes(self.generation, {table: frozenset(keys) for table, keys in partitions.items()}, ours)


class MemoryPresence:
    """One handle's sign of life, among those of a disk."""

    def __init__(self, disk: MemoryDisk) -> None:
        """Not announced yet."""
        self._disk = disk
        disk.handles += 1
        self.token = f"{disk.handles:016x}"
        """What stands for this handle in stored rows."""

    def announce(self) -> str:
        """Let others see that this handle lives; its token."""
        self._disk.alive.add(self.token)
        return self.token

    def is_alive(self, token: str) -> bool:
        """Whether the handle that announced ``token`` lives."""
        return token in self._disk.alive

    def sweep(self) -> None:
        """Nothing is left of dead handles."""

    def close(self) -> None:
        """Live no more, as a process that has ended or was killed."""
        self._disk.alive.discard(self.token)


class MemoryRole:
    """One handle's way to the role of a disk: first come, first served."""

    def __init__(self, turn: trio.Semaphore) -> None:
        """Not had."""
        self._turn = turn

    async def acquire(self) -> None:
        """Wait for it."""
        await self._turn.acquire()

    def release(self) -> None:
        """Let another have it."""
        self._turn.release()


class MemoryStore:
    """One handle on a disk; see `olmstate.storage.Store`.

    Without a latency nothing waits, as with the store on disk.

    Example:
        A supervisor over it, and another that stands for another process:

        >>> import trio
        >>> from olmstate.actors import run_supervisor
        >>> from olmstate.messages import CreateAccount, DeviceId, IdentityKeys, UserId
        >>> async def main() -> None:
        ...     disk = MemoryDisk()
        ...     who = {"user_id": UserId("@alice:example.org"), "device_id": DeviceId("ALICE")}
        ...     async with (
        ...         run_supervisor(MemoryStore(disk), **who) as one,
        ...         run_supervisor(MemoryStore(disk, pid=2), **who) as other,
        ...     ):
        ...         made = await one.ask(CreateAccount())
        ...         print(made == await other.ask(IdentityKeys()))
        >>> trio.run(main)
        True
    """

    def __init__(
        self,
        disk: MemoryDisk,
        *,
        faults: Faults | None = None,
        latency: Latency | None = None,
        pid: int | None = None,
    ) -> None:
        """A handle.

        Args:
            disk: What it reads and writes.
            faults: What goes wrong.
            latency: How long a step takes, on Trio's clock: with pytest-trio's ``autojump_clock``, no time at all.
            pid: The process that it stands for, as `StoreBusy` names it. None: this one.
        """
        self._disk = disk
        self._faults = faults or Faults()
        self._latency = latency
        self._seen = -1
        self._poison: StorePoisoned | None = None
        self._writing = object()
        """Stands for the present or last commit: no other says the same."""
        self.lock = MemoryLock(disk.slot, self._faults, latency, os.getpid() if pid is None else pid)
        """The disk's lock, for this handle."""
        self.sync_role = MemoryRole(disk.sync_turn)
        """Who syncs with the homeserver."""
        self.presence = MemoryPresence(disk)
        """Which of the disk's handles are alive."""

    @property
    def pickle_key(self) -> bytes:
        """The same for every store: nothing here is a secret."""
        return bytes(32)

    @property
    def restored_generation(self) -> int:
        """The disk's."""
        return self._disk.restored_generation

    def key(self, table: Table, *parts: str) -> bytes:
        """The hash under which ``parts`` are kept in ``table``."""
        return hashlib.blake2b(repr((table, parts)).encode(), digest_size=16).digest()

    async def read(self, table: Table, partitions: Collection[bytes]) -> dict[bytes, list[Row]]:
        """The rows of each of ``partitions``, as they are half-way through the step's latency."""
        step, rest = await self._begin("read", table)
        found = self._disk.read(table, partitions)
        await self._end(step, rest)
        return found

    async def page(self, table: Table, after: Position, limit: int, group: bytes | None = None) -> list[Row]:
        """At most ``limit`` rows behind the place ``after``, in the order of their places, or those of a group."""
        step, rest = await self._begin("page", table)
        found = [row for row in self._disk.rows(table) if position_of(table, row) > after]
        rows = [row for row in found if group in (None, row.group)][:limit]
        await self._end(step, rest)
        return rows

    async def look(self, since: int | None) -> Changes | None:
        """What was committed after ``since``; with None, only how far the disk is. None: nothing since the last look.

        It takes no time, as with the store on disk.

        Raises:
            StorePoisoned: That generation was never reached: the disk isn't what it was.
        """
        step = self._count("look")
        if self._seen == self._disk.generation == since:  # or whoever asks has not heard of what was seen
            self._strike_after(step)
            return None
        since = self._disk.generation if since is None else since
        if since > self._disk.generation:
            self._poison = StorePoisoned(reason="the disk was replaced by an older one")
            raise self._poison
        changes = self._disk.changes(since, self._writing)
        self._seen = changes.generation
        self._strike_after(step)
        return changes

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write ``rows``, half-way through the step's latency, if the generation is ``seen``; the new generation.

        Raises:
            Fenced: It isn't; nothing was written.
            StorePoisoned: Without the lock.
        """
        copied: dict[Table, Sequence[Row]] = {table: tuple(table_rows) for table, table_rows in rows.items()}
        step, rest = await self._begin("commit")
        self._writing = object()
        if not self.lock.held:
            raise StorePoisoned(reason="a commit was tried without the lock")
        generation = self._disk.commit(copied, seen, self._writing)
        await self._end(step, rest)
        return generation

    # --- time and trouble -----------------------------------------------------------------------------------

    async def _begin(self, operation: Operation, table: Table | None = None) -> tuple[Step, float]:
        step = self._count(operation, table)
        half = 0.0 if self._latency is None else self._latency(step) / 2
        await self._wait(half)
        return step, half

    async def _end(self, step: Step, rest: float) -> None:
        self._strike_after(step)
        await self._wait(rest)

    async def _wait(self, seconds: float) -> None:
        if self._latency is not None:
            await trio.sleep(seconds)

    def _count(self, operation: Operation, table: Table | None = None) -> Step:
        if self._poison is not None:
            raise StorePoisoned(reason=self._poison.reason)
        try:
            return self._faults.begin(operation, table)
        except StorePoisoned as error:
            self._poison = error
            raise

    def _strike_after(self, step: Step) -> None:
        try:
            self._faults.end(step)
        except StorePoisoned as error:
            self._poison = error  # as on disk, a handle in doubt stays in doubt
            raise
