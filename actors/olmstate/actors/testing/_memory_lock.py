"""The lock of a store in memory: first come, first served, like the cross-process one on disk."""

from __future__ import annotations

import contextlib

import attrs
import trio

from olmstate.messages import StoreBusy

from ._faults import Faults, Latency, Step


@attrs.define(eq=False)
class Slot:
    """What all handles on one disk compete for."""

    # a semaphore hands over to whoever has waited longest, and lets nobody past who comes back
    turn: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(1, max_value=1))
    holder: MemoryLock | None = None
    waiting: set[Wait] = attrs.field(factory=set["Wait"])


@attrs.define(eq=False)
class Wait:
    """How long somebody waits, which begins anew whenever another gets the lock."""

    timeout: float
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def begin(self) -> None:
        """From now on."""
        self.scope.deadline = trio.current_time() + self.timeout


class MemoryLock:
    """One handle's view of the lock; see `olmstate.storage.Lock`."""

    def __init__(self, slot: Slot, faults: Faults, latency: Latency | None, pid: int) -> None:
        """A handle that holds nothing yet."""
        self._slot = slot
        self._faults = faults
        self._latency = latency
        self._pid = pid

    @property
    def held(self) -> bool:
        """Whether this handle holds the lock."""
        return self._slot.holder is self

    async def acquire(self, timeout: float) -> None:  # noqa: ASYNC109 - the protocol's: the error names the holder
        """Wait for the lock, in turn.

        Args:
            timeout: Seconds, on Trio's clock, for which the same handle may hold it.

        Raises:
            StoreBusy: Nobody else got it for so long.
            RuntimeError: This handle holds the lock.
        """
        self._require_free()
        step = self._faults.begin("acquire")
        wait = Wait(timeout)
        wait.begin()
        self._slot.waiting.add(wait)
        try:
            with wait.scope:
                if self._latency is not None:
                    await trio.sleep(self._latency(step))
                await self._slot.turn.acquire()
                self._take()
        finally:
            self._slot.waiting.remove(wait)
        if not self.held:
            raise StoreBusy(holder_pid=self.holder_pid(), waited=timeout)
        self._end(step)

    def acquire_nowait(self) -> bool:
        """Take the lock if nobody holds it or waits for it; whether that was so."""
        self._require_free()
        step = self._faults.begin("acquire_nowait")
        with contextlib.suppress(trio.WouldBlock):
            self._slot.turn.acquire_nowait()
            self._take()
        self._end(step)
        return self.held

    def contended(self) -> bool:
        """Whether somebody else waits for it."""
        self._require_held()
        self._faults.end(self._faults.begin("contended"))
        return self._slot.turn.statistics().tasks_waiting > 0

    def release(self) -> None:
        """Let whoever has waited longest in."""
        self._require_held()
        self._slot.holder = None
        self._slot.turn.release()

    def holder_pid(self) -> int | None:
        """The process id of the handle that holds the lock now, or None."""
        return None if self._slot.holder is None else self._slot.holder._pid  # noqa: SLF001 - another of ours

    def _take(self) -> None:
        self._slot.holder = self
        for wait in self._slot.waiting:
            wait.begin()

    def _end(self, step: Step) -> None:
        try:
            self._faults.end(step)
        except BaseException:
            if self.held:
                self.release()  # whoever got an exception holds nothing
            raise

    def _require_free(self) -> None:
        if self.held:
            raise RuntimeError("the lock is held already")

    def _require_held(self) -> None:
        if not self.held:
            raise RuntimeError("the lock is not held")
