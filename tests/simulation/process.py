"""A process in a simulation: a supervisor on a handle of its own, which can be killed at any moment.

Owns: `Process`, and the store and lock between a supervisor and the store in memory that know whether it lives.
Rule: killed, it does nothing any more, not even tidy up: no exception handler runs against the store, nothing is
written to the history, and the kernel lets its lock go. A commit that was under way is written or not.
Why: cancelling a nursery is polite. SIGKILL is not, and it is SIGKILL that the library has to survive.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import attrs
import trio

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors.testing import DEVICE, USER, Faults, Latency, MemoryDisk, MemoryStore
from olmstate.messages import Message
from olmstate.storage import Changes, Lock, Position, Row, Rows, Store, Table
from tests.faults.history import Entry, Log, Sink
from tests.faults.recording import RecordingStore, RecordingSupervisor
from tests.faults.wrapped import WrappedLock, WrappedStore

R = TypeVar("R")


class Killed(SystemExit):
    """What a dead process's tasks meet wherever they turn; no code that handles exceptions handles this one."""


@attrs.define(eq=False)
class Life:
    """Whether a process lives, and what ends with it."""

    alive: bool = True
    _ends: set[trio.CancelScope] = attrs.field(factory=set[trio.CancelScope], init=False)

    def check(self) -> None:
        """Go no further if it is dead."""
        if not self.alive:
            raise Killed

    @contextmanager
    def until_end(self) -> Generator[None]:
        """What is done in the block ends when the life does, though it may be shielded from everything else."""
        self.check()
        with trio.CancelScope() as scope:
            self._ends.add(scope)
            try:
                yield
            finally:
                self._ends.discard(scope)
        self.check()

    def end(self) -> None:
        """End it."""
        self.alive = False
        for scope in self._ends:
            scope.cancel()


@attrs.frozen
class MortalSink:
    """Takes a process's entries for as long as it lives."""

    sink: Sink
    life: Life

    def append(self, entry: Entry) -> None:
        """See `tests.faults.history.Sink`."""
        if self.life.alive:
            self.sink.append(entry)


class MortalLock(WrappedLock):
    """A lock that a process loses with its life."""

    def __init__(self, inner: Lock, life: Life) -> None:
        """Over a lock."""
        super().__init__(inner)
        self._life = life

    @property
    def held(self) -> bool:
        """Nothing is, any more."""
        return self._life.alive and super().held

    async def acquire(self, timeout: float) -> object:  # noqa: ASYNC109 - the protocol's
        """Wait for it."""
        self._life.check()
        acquired = await super().acquire(timeout)
        self._give_up_if_dead()
        return acquired

    def acquire_nowait(self) -> bool:
        """Try it."""
        self._life.check()
        acquired = super().acquire_nowait()
        self._give_up_if_dead()
        return acquired

    def contended(self) -> bool:
        """Whether somebody else waits for it."""
        self._life.check()
        contended = super().contended()
        self._life.check()
        return contended

    def release(self) -> None:
        """Let it go."""
        self._life.check()
        super().release()

    def _give_up_if_dead(self) -> None:
        """It may have been handed over to a waiter that was killed before it could wake up."""
        if not self._life.alive:
            self.drop()
            raise Killed

    def drop(self) -> None:
        """What the kernel does."""
        if self.inner.held:
            self.inner.release()


class MortalStore(WrappedStore):
    """A store whose user may be killed while it waits for an answer."""

    def __init__(self, inner: Store, lock: MortalLock, life: Life) -> None:
        """Over a store."""
        super().__init__(inner, lock)
        self._life = life

    async def read(self, table: Table, partitions: Collection[bytes]) -> dict[bytes, list[Row]]:
        """The rows of some partitions."""
        with self._life.until_end():
            return await super().read(table, partitions)

    async def page(self, table: Table, after: Position, limit: int, group: bytes | None = None) -> list[Row]:
        """Some of all rows."""
        with self._life.until_end():
            return await super().page(table, after, limit, group)

    async def look(self, since: int | None) -> Changes | None:
        """What was committed."""
        self._life.check()
        changes = await super().look(since)
        self._life.check()
        return changes

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write rows."""
        with self._life.until_end():
            return await super().commit(rows, seen)


class MortalSupervisor(RecordingSupervisor):
    """A supervisor that answers nobody who is dead."""

    def __init__(self, supervisor: Supervisor, store: RecordingStore, log: Log, life: Life) -> None:
        """Over a supervisor that runs on ``store``."""
        super().__init__(supervisor, store, log)
        self.supervisor = supervisor
        """It."""
        self._life = life

    async def ask(self, message: Message[R]) -> R:
        """Ask it."""
        try:
            return await super().ask(message)
        finally:
            self._life.check()


class Process:
    """One start of one process: its handle, its log, and its end."""

    def __init__(
        self,
        disk: MemoryDisk,
        sink: Sink,
        *,
        pid: int,
        token: str,
        clock: Callable[[], int],
        latency: Latency | None = None,
    ) -> None:
        """A process that has done nothing yet."""
        self.life = Life()
        self.faults = Faults()
        """What goes wrong with its handle."""
        self.log = Log(MortalSink(sink, self.life), f"{pid}-{token}", clock)
        store = MemoryStore(disk, faults=self.faults, latency=latency, pid=pid)
        self._presence = store.presence
        self._lock = MortalLock(store.lock, self.life)
        self.store = MortalStore(store, self._lock, self.life)
        self.scope = trio.CancelScope()
        """Everything that it does."""

    @asynccontextmanager
    async def run(
        self, options: Options | None = None, between: Callable[[Store], Store] = lambda store: store
    ) -> AsyncGenerator[MortalSupervisor]:
        """Run its supervisor while the block runs.

        Args:
            options: The supervisor's.
            between: Puts something between the supervisor and its store.
        """
        store = RecordingStore(between(self.store), self.log)
        try:
            async with (
                run_supervisor(store, user_id=USER, device_id=DEVICE, options=options) as supervisor,
                trio.open_nursery() as nursery,
            ):
                recording = MortalSupervisor(supervisor, store, self.log, self.life)
                nursery.start_soon(recording.listen)
                yield recording
                nursery.cancel_scope.cancel()
        finally:
            self._presence.close()  # as closing its store does

    def kill(self) -> None:
        """Kill it, from another task or from a step of its own."""
        if self.life.alive:
            self.life.end()
            self._lock.drop()
            self._presence.close()
            self.scope.cancel()
