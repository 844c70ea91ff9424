"""The store's cross-process lock: one at a time, and each in turn.

Owns: `lock`, a file in the store's folder, which is exclusion: who has taken it may write. And a place in the line in
    front of it, which is fairness (`_line`): only the head tries `lock`, and is woken when it is let go (`_wake_up`),
    as who is behind another is when that one has moved up or gone.
Rules:
    - Everyone enters the line, who comes back at once too. So a greedy process can't barge past one that waits.
    - Every try is synchronous, and the only checkpoint is the sleep between tries: neither a cancellation nor Ctrl-C
      can land between "taken" and "recorded".
    - Safety asks no clock: no leases, nobody steals. The kernel releases what a dead process had taken.
    - Liveness does not depend on the head: who has not become the head after `PATIENCE` tries `lock` directly, since
      the head may be frozen.
Why polling: a blocking flock would need a thread that no cancellation can reach. The poll times, and what they give:
    docs/decisions/0003-turnstile-lock.md and 0014. The head polls too, since a holder that was killed wakes nobody.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from olmstate.messages import StoreBusy, StorePoisoned

from .fork import no_fork, poison_in_child
from .line import HEAD, Line
from .lock_file import LockFile
from .wake_up import WakeUp

if TYPE_CHECKING:
    from pathlib import Path

WAITER_POLL = (0.0005, 0.002)
"""Shortest and longest time between two tries for the place before, in seconds."""
LATE_POLL = (0.0005, 0.001)
"""The same for who has waited longer than `LATE`. Rarely lucky so far, it now gets more tries than the others."""
HEAD_POLL = (0.001, 0.003)
"""The same of the head, for `lock`, as long as it can be woken before. Else it tries as often as the others: it would
be overtaken by those who have waited for `PATIENCE`."""
LATE = 0.005
"""Seconds."""
PATIENCE = 0.1
"""Seconds after which a waiter no longer trusts that the head is alive and well."""
CROWD_POLL = (0.02, 0.06)
"""The same for who has waited longer than `PATIENCE` and isn't the head. Then there are many, or the holder takes its
time; fifty who try every millisecond leave the holder a thirtieth of two processors."""


@attrs.frozen(kw_only=True)
class LockWait:
    """How it went to acquire the lock."""

    waited: float
    """Seconds on Trio's clock."""
    tries: int
    """1: the lock was free."""
    bypassed: bool
    """Whether it was taken from behind, past a head that is frozen, or that waits longer than `PATIENCE` itself."""


_AT_ONCE = LockWait(waited=0.0, tries=1, bypassed=False)


class Turnstile:
    """A handle on the lock of the store in `folder`. Held by at most one handle, in all processes together.

    Handles in one process exclude one another too. A handle belongs to one task at a time and to Trio's thread.

    A forked child can't use its parent's handle: everything but `held` and `close` raises `StorePoisoned` there, and
    the parent notices nothing.

    Args:
        folder: The store's folder; it must exist. The files in it are created with mode 0600.
        rng: Draws the times between tries; give a seeded one to make them repeat.

    Raises:
        StoreUnavailable: The operating system refuses to open or create the files.
        StoreFull: No room to create them.
    """

    def __init__(self, folder: Path, *, rng: random.Random | None = None) -> None:
        # Jitter, no secret.
        self._rng = rng or random.Random()  # noqa: S311
        self._pid = os.getpid()
        self._held = False
        self._acquiring = False
        self._forked = False
        self._closed = False
        with no_fork:
            self._line = Line(folder)
            try:
                self._lock = LockFile(folder / "lock")
            except BaseException:
                self._line.close()
                raise
            # by place: the head waits for the lock, and others for the place before theirs
            self._wake_ups = [WakeUp(file) for file in (self._lock, *self._line.files)]
            poison_in_child(self)

    @property
    def held(self) -> bool:
        """Whether this handle holds the lock."""
        return self._held

    @enable_ki_protection
    async def acquire(self, timeout: float) -> LockWait:  # noqa: ASYNC109 - who waited how long is part of the error
        """Wait for the lock, in turn, for as long as others get theirs.

        A checkpoint only if it has to wait: if the lock is free, it is held on return even in a cancelled scope.

        Args:
            timeout: Seconds on Trio's clock, 0 or more, for which the same handle may hold the lock. The lock is tried
                at least once.

        Raises:
            StoreBusy: Nobody else got it for ``timeout`` seconds. `holder_pid` is None if nobody had it at the last
                moment: it was being handed over; or somebody frozen stands before this one in the line, and `timeout`
                is below `PATIENCE`.
            StorePoisoned: This is a forked child.
            StoreUnavailable: The operating system refuses, for example because the folder is gone.
            StoreFull: A file of the lock is gone, and there is no room to create it.
            RuntimeError: This handle holds the lock.
            trio.BusyResourceError: Another task is acquiring with this handle.
            trio.ClosedResourceError: This handle was closed, perhaps while this task waited.
            ValueError: `timeout` is negative or not a number.
        """
        self._require_idle()
        if not timeout >= 0:
            raise ValueError(f"timeout must be 0 or more, got {timeout}")
        self._acquiring = True
        try:
            if self._try_in_turn():
                return _AT_ONCE
            now = started = trio.current_time()
            deadline = started + timeout
            signature = self._lock.signature()
            tries = 1
            while now < deadline:
                place = self._line.place
                await self._wake_ups[place].wait(min(now + self._until_next_try(now - started), deadline))
                self._require_open()
                now = trio.current_time()
                tries += 1
                if self._try_in_turn() or (
                    self._line.place != HEAD and now - started >= PATIENCE and self._take_lock()
                ):
                    return LockWait(waited=now - started, tries=tries, bypassed=self._line.place != HEAD)
                if signature != (signature := self._lock.signature()):
                    deadline = now + timeout
            raise StoreBusy(holder_pid=self.holder_pid(), waited=now - deadline + timeout)
        finally:
            self._acquiring = False
            place = self._line.place
            self._wake_ups[place].stop()  # first, for whoever is there next
            self._line.leave()
            self._wake_who_is_behind(place)

    def _until_next_try(self, waited: float) -> float:
        if self._line.place == HEAD and self._wake_ups[HEAD].listening:
            return self._rng.uniform(*HEAD_POLL)
        if waited >= PATIENCE:
            return self._rng.uniform(*CROWD_POLL)
        return self._rng.uniform(*(WAITER_POLL if waited < LATE else LATE_POLL))

    @enable_ki_protection
    def acquire_nowait(self) -> bool:
        """Try once to take the lock, without overtaking anyone who waits.

        Returns:
            Whether the lock is held now.

        Raises:
            StorePoisoned: This is a forked child.
            StoreUnavailable: The operating system refuses, for example because the folder is gone.
            StoreFull: A file of the lock is gone, and there is no room to create it.
            RuntimeError: This handle holds the lock.
            trio.BusyResourceError: Another task is acquiring with this handle.
            trio.ClosedResourceError: This handle was closed.
        """
        self._require_idle()
        try:
            return self._line.move_up() and self._take_lock()
        finally:
            self._line.leave()

    def _try_in_turn(self) -> bool:
        """Move up as far as there is room, and take the lock as the head; or be woken when there is more to be had."""
        while True:
            before = self._line.place
            try:
                is_head = self._line.move_up()
            finally:  # for it may come one place further, and be refused the next
                if self._line.place != before:
                    self._wake_ups[before].stop()
                    self._wake_who_is_behind(before)
            if is_head and self._take_lock():
                return True
            # what it waits for may have been let go before it could be woken by that: once more, if that is new
            if not self._wake_ups[self._line.place].listen():
                return False

    def _wake_who_is_behind(self, place: int) -> None:
        if place + 1 < len(self._wake_ups):
            self._wake_ups[place + 1].send()

    def _take_lock(self) -> bool:
        if not self._lock.take():
            return False
        self._held = True
        self._lock.sign()
        return True

    @enable_ki_protection
    def release(self) -> None:
        """Let the next one in.

        Raises:
            StorePoisoned: This is a forked child; the parent's lock is as it was.
            RuntimeError: This handle doesn't hold the lock.
        """
        self._require_held()
        self._held = False
        self._lock.let_go()
        if self._wake_ups[HEAD].send():
            # Linux may have it wait for this processor, though another is idle, and this process may go on for long
            os.sched_yield()

    @enable_ki_protection
    def contended(self) -> bool:
        """Ask, as the holder, whether somebody waits: if so, release.

        Raises:
            StorePoisoned: This is a forked child.
            StoreUnavailable: The operating system refuses.
            RuntimeError: This handle doesn't hold the lock.
        """
        self._require_held()
        return self._line.is_taken()

    @enable_ki_protection
    def holder_pid(self) -> int | None:
        """The id of the living process that holds the lock now, or None.

        A look, for people. Unless this handle holds the lock, it is tried and let go at once, in some microseconds: it
        overtakes nobody, but another's try in just that moment fails. A waiter then tries again; an `acquire_nowait`
        answers False. Of a holder in another pid namespace (a container) the id can't be told: None, or the id of who
        has that number here.

        Raises:
            StorePoisoned: This is a forked child.
            StoreUnavailable: The operating system refuses.
            trio.ClosedResourceError: This handle was closed.
        """
        self._require_open()
        if self._held:
            return self._pid
        if self._lock.take():
            self._lock.let_go()
            return None
        return self._lock.signer()

    def check(self) -> None:
        """Make sure that what is held is still the store's lock. Does nothing if it isn't held.

        Raises:
            StorePoisoned: The lock file was unlinked or replaced, so that another process may hold the new one; or this
                is a forked child.
            trio.ClosedResourceError: This handle was closed.
        """
        self._require_open()
        if self._held and not self._lock.is_in_place():
            raise StorePoisoned(reason="its lock file was removed or replaced while the lock was held")

    def close(self) -> None:
        """Release the lock if it is held, and close all files. Closing again, or in a forked child, does nothing."""
        if self._held:
            self.release()
        self._closed = True
        self._line.close()
        self._lock.close()
        for wake_up in self._wake_ups:
            wake_up.close()

    def poison(self) -> None:
        """Become unusable: this is a forked child, and the lock is its parent's."""
        self._forked = True
        self._held = False
        self._line.abandon()
        self._lock.abandon()
        for wake_up in self._wake_ups:
            wake_up.abandon()

    def _require_open(self) -> None:
        if self._forked:
            raise StorePoisoned(reason="it was opened by the process that this one was forked from")
        if self._closed:
            raise trio.ClosedResourceError("this turnstile is closed")

    def _require_held(self) -> None:
        # What is held is open, so this asks for the rest only when it is about to raise.
        if not self._held:
            self._require_open()
            raise RuntimeError("the lock is not held")

    def _require_idle(self) -> None:
        self._require_open()
        if self._held:
            raise RuntimeError("the lock is held already")
        if self._acquiring:
            raise trio.BusyResourceError("another task is acquiring with this turnstile")
