"""A role that one handle on a store has at a time, for as long as it likes: who syncs with the homeserver.

Owns: two files in the store's folder. Whoever has taken `sync` has the role; `sync-next` is the place of whoever waits
for it first.
Rule: everyone passes the place, who comes back at once too. So a process that syncs for ever lets another in between
two of its syncs. Every try is synchronous, and the only checkpoint is the sleep between tries: no cancellation can land
between "taken" and "recorded". The kernel frees both files when a process dies.
Why not the store's lock: that is held for milliseconds and waited for in milliseconds; this one for the length of a
long poll. Nothing that must be right rests on it (decision 0056).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import enable_ki_protection

from olmstate.messages import StorePoisoned

from .fork import no_fork, poison_in_child
from .lock_file import LockFile

if TYPE_CHECKING:
    from pathlib import Path

SYNC_FILES: Final = ("sync", "sync-next")
ROLE_POLL: Final = 0.05
"""Seconds between two tries of whoever waits first, 0.1 ms of work a second; the others try a quarter as often."""


class Role:
    """One handle's way to the role. Not thread-safe; several tasks may wait with one handle."""

    def __init__(self, folder: Path) -> None:
        """Not had; no file is touched before somebody wants it."""
        self._folder = folder
        self._files: tuple[LockFile, LockFile] | None = None
        self._here = trio.Semaphore(1, max_value=1)
        self._closed = False
        self._forked = False
        poison_in_child(self)

    @enable_ki_protection
    async def acquire(self) -> None:
        """Wait for the role. Cancelled, it isn't had.

        Raises:
            StorePoisoned: This is a forked child.
            StoreUnavailable: The operating system refuses.
            StoreFull: No room to create the files.
            trio.ClosedResourceError: This handle was closed, perhaps meanwhile.
        """
        await self._here.acquire()
        try:
            role, place = self._opened()
            try:
                while not place.take():
                    await trio.sleep(4 * ROLE_POLL)
                    self._require_usable()
                while not role.take():
                    await trio.sleep(ROLE_POLL)
                    self._require_usable()
            finally:
                place.let_go()
        except BaseException:
            self._here.release()
            raise

    @enable_ki_protection
    def release(self) -> None:
        """Let another have it."""
        if self._files is not None:
            self._files[0].let_go()
        self._here.release()

    def _opened(self) -> tuple[LockFile, LockFile]:
        self._require_usable()
        if self._files is None:
            with no_fork:
                role = LockFile(self._folder / SYNC_FILES[0])
                try:
                    self._files = role, LockFile(self._folder / SYNC_FILES[1])
                except BaseException:
                    role.close()
                    raise
        return self._files

    def _require_usable(self) -> None:
        if self._forked:
            raise StorePoisoned(reason="it was opened by the process that this one was forked from")
        if self._closed:
            raise trio.ClosedResourceError("this store was closed")

    def close(self) -> None:
        """Let go and close. Closing again does nothing."""
        self._closed = True
        for file in self._files or ():
            file.close()

    def poison(self) -> None:
        """In a forked child: the role is its parent's."""
        self._forked = True
        files, self._files = self._files, None
        for file in files or ():
            file.abandon()
