"""Which handles on a store are alive, by the kernel's word.

Owns: a file for each handle that has left something in the store which is its own to finish, in the store's folder; the
flock on it says that the handle lives.
Rule: a handle announces itself under the store's lock, before its token is stored anywhere. Whoever reads a token can
ask whether its handle lives, at any time and without the lock. Files of dead handles are removed under the lock only.
Why: what a process has begun, only that process may go on with while it lives; after its death anybody may. A clock
can't tell a dead process from a frozen one. The kernel releases a dead process's flock at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from typing import TYPE_CHECKING, Final

from filelock import lock_descriptor

from olmstate.messages import StorePoisoned
from olmstate.storage.os_errors import os_errors

from .fork import no_fork, poison_in_child
from .lock_file import LockFile

if TYPE_CHECKING:
    from pathlib import Path

PREFIX: Final = "alive-"
_TOKEN_BYTES: Final = 8
_TOKEN: Final = re.compile(r"[0-9a-f]{16}")


class Presence:
    """One handle's sign of life. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Not announced yet: most handles never need to be."""
        self._folder = folder
        self._token = secrets.token_hex(_TOKEN_BYTES)
        self._file: LockFile | None = None
        self._forked = False
        poison_in_child(self)

    @property
    def token(self) -> str:
        """What stands for this handle in the store: 16 hexadecimal digits, never used twice."""
        return self._token

    def announce(self) -> str:
        """Let others see that this handle lives, from now until it is closed; its token. Under the store's lock.

        Raises:
            StorePoisoned: This is a forked child.
            StoreUnavailable: The operating system refuses.
            StoreFull: No room to create the file.
        """
        if self._forked:
            raise StorePoisoned(reason="it was opened by the process that this one was forked from")
        if self._file is None:
            file = LockFile(self._path(self._token))
            file.take()
            self._file = file
        return self._token

    def is_alive(self, token: str) -> bool:
        """Whether the handle that announced ``token`` lives.

        True in doubt: for a moment, another's question looks like a sign of life. Ask again later.

        Raises:
            StoreUnavailable: The operating system refuses.
        """
        if token == self._token:
            return self._file is not None
        if _TOKEN.fullmatch(token) is None:
            return False
        return not self._has_died(self._path(token))

    def sweep(self) -> None:
        """Remove the files of handles that were killed. Under the store's lock.

        Raises:
            StoreUnavailable: The operating system refuses.
        """
        with os_errors(self._folder):
            paths = [path for path in self._folder.iterdir() if path.name.startswith(PREFIX)]
        for path in paths:
            if path != self._path(self._token) and self._has_died(path):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _path(self, token: str) -> Path:
        return self._folder / f"{PREFIX}{token}"

    def _has_died(self, path: Path) -> bool:
        with no_fork, os_errors(path):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return True
            try:
                return lock_descriptor(descriptor, blocking=False)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Live no more. Closing again does nothing."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                self._path(self._token).unlink()  # first, so that nobody finds it without its flock
            file.close()

    def poison(self) -> None:
        """In a forked child: its parent lives on, and this is no sign of it."""
        self._forked = True
        file, self._file = self._file, None
        if file is not None:
            file.abandon()
