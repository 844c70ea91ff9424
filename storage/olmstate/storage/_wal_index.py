"""Whether anybody has committed: a look at the memory that SQLite shares between processes.

Owns: for each database that this process has open, how many connections it has, and a mapping of its ``-shm`` file.
Rule: whether anybody has committed is seen by whether the header is what it was, never by what it says. Every commit
changes it, since it counts transactions and holds a checksum over the log (SQLite: WAL-mode File Format, 2.1). What
else changes it costs a needless question. How long the log is, `log_pages`, is a hint for when to tidy up.
Why: ``PRAGMA data_version`` goes by the same header, but it is a statement to run and locks to take. Each query would
pay 4 µs for it, and three times as much where it pushes other code out of the processor's caches.

Whoever closes any descriptor of a file loses all POSIX locks that his process has on it, and SQLite has its locks on
just this file. So the descriptor is closed after the last connection, whoever has opened that.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from typing import Final

import attrs

from ._fork import no_fork

HEADER_BYTES: Final = 48
"""Of the copy of the header that a commit writes last."""
_MAPPED_BYTES: Final = 136
"""Both copies of the header, and how far the log has been taken into the database."""
_LENGTH: Final = struct.Struct("=16xI76xI")
"""``mxFrame`` and ``nBackfill``."""


@attrs.define(eq=False)
class WalIndex:
    """One database's, for all its connections in this process; `enter` one for each, and `leave` it after closing."""

    _path: str
    """Of the database."""
    _place: tuple[int, int]
    """Device and inode."""
    _connections: int = 0
    _descriptor: int | None = None
    _memory: mmap.mmap | None = None

    @classmethod
    def enter(cls, path: str) -> WalIndex:
        """Count a connection that is about to be opened.

        Raises:
            OSError: There is no such database.
        """
        with no_fork:
            status = os.stat(path)  # noqa: PTH116 - a string, as SQLite has it
            place = status.st_dev, status.st_ino
            index = _indices.setdefault(place, cls(path, place))
            index._connections += 1  # noqa: SLF001 - its own
            return index

    def leave(self) -> None:
        """Count a connection that was closed."""
        with no_fork:
            self._connections -= 1
            if not self._connections:
                del _indices[self._place]
                self._close()

    def header(self) -> bytes:
        """What changes with each commit.

        Raises:
            OSError: The file can't be opened, or is empty, since no connection has read anything yet.
        """
        return (self._memory or self._map())[:HEADER_BYTES]

    def log_pages(self) -> int:
        """About how many pages of the log are not in the database yet, whoever wrote them.

        Raises:
            OSError: As for `header`.
        """
        lengths: tuple[int, int] = _LENGTH.unpack_from(self._memory or self._map())
        written, taken_in = lengths
        return max(0, written - taken_in)

    def _map(self) -> mmap.mmap:
        with no_fork:
            if self._descriptor is None:
                self._descriptor = os.open(f"{self._path}-shm", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                self._memory = mmap.mmap(self._descriptor, _MAPPED_BYTES, prot=mmap.PROT_READ)
            except ValueError as error:
                raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), self._path) from error
            return self._memory

    def _close(self) -> None:
        if self._memory is not None:
            self._memory.close()
        if self._descriptor is not None:
            os.close(self._descriptor)


_indices: dict[tuple[int, int], WalIndex] = {}
"""By device and inode of the database."""
