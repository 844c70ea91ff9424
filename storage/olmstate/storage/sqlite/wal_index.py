"""Whether anybody has committed: a look at the memory that SQLite shares between processes.

Owns: for each database that this process has open, how many connections it has, and a mapping of its ``-shm`` file.
Rule: whether anybody has committed is seen by whether the header is what it was, never by what it says. Every commit
changes it, since it counts transactions and holds a checksum over the log (SQLite: WAL-mode File Format, 2.1). What
else changes it costs a needless question. How long the log is, `log_pages`, is a hint for when to tidy up.
Why: ``PRAGMA data_version`` goes by the same header, but it is a statement to run and locks to take. Each query would
pay 4 µs for it, and three times as much where it pushes other code out of the processor's caches.

A process that closes any descriptor of a file loses all POSIX locks that it has on it, and SQLite has its locks on
just this file. So the descriptor is closed after the last connection, also if others have opened that. So is one of
the database itself, which is opened only to see whether the system can read it.

SQLite keeps a list of the locks of its process, and a fork copies the list but not the locks. In a child SQLite would
take for held what nobody holds, and others would cut or begin anew a log that the child is using. So there a database
that the parent had open can't be opened.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
from typing import Final

import attrs

from olmstate.messages import StoreUnavailable
from olmstate.storage.lock.fork import no_fork, poison_in_child

HEADER_BYTES: Final = 48
"""Of the copy of the header that a commit writes last."""
_MAPPED_BYTES: Final = 136
"""Both copies of the header, and how far the log has been taken into the database."""
_READ_BYTES: Final = 1 << 20
"""At a time, to see whether a file can be read."""
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
    _database: int | None = None
    _inherited: bool = False
    """Whether this process was forked from the one whose connections these are."""

    @classmethod
    def enter(cls, path: str) -> WalIndex:
        """Count a connection that is about to be opened.

        Raises:
            OSError: There is no such database.
            StoreUnavailable: This process was forked from one that had it open.
        """
        with no_fork:
            status = os.stat(path)  # noqa: PTH116 - a string, as SQLite has it
            place = status.st_dev, status.st_ino
            index = _indices.get(place)
            if index is None:
                index = _indices[place] = cls(path, place)
                poison_in_child(index)
            index._count()
            return index

    def _count(self) -> None:
        if self._inherited:
            raise StoreUnavailable(
                reason="this process was forked from one that had the store open, and SQLite can't lock it here: "
                "fork before opening, or start the process anew (multiprocessing: spawn)"
            )
        self._connections += 1

    def leave(self) -> None:
        """Count a connection that was closed; one that a forked child has inherited never counts."""
        with no_fork:
            if self._inherited:
                return
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

    def read_error(self) -> OSError | None:
        """What the system says when the database and its log are read as they are; None if they can be.

        Reads all of both: only for when something is wrong.
        """
        try:
            with no_fork:
                if self._database is None:
                    self._database = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            _read_all(self._database, self._path)
            with contextlib.suppress(FileNotFoundError):
                # SQLite has no locks on the log
                log = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    _read_all(log, f"{self._path}-wal")
                finally:
                    os.close(log)
        except OSError as error:
            return error
        return None

    def is_of(self, database: int, shm: int) -> bool:
        """Whether it is that of the files with these inodes; after `header`.

        SQLite goes on with the shared memory that another connection of its process has open, whatever is at the path.

        Raises:
            OSError: Any.
        """
        return self._place[1] == database and self._descriptor is not None and os.fstat(self._descriptor).st_ino == shm

    def poison(self) -> None:
        """Never be entered again: this is a forked child, and SQLite's locks are its parent's."""
        self._inherited = True
        self._close()

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
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.close()
        descriptors = self._descriptor, self._database
        self._descriptor = self._database = None
        for descriptor in descriptors:
            if descriptor is not None:
                os.close(descriptor)


def _read_all(descriptor: int, path: str) -> None:
    offset = 0
    try:
        while data := os.pread(descriptor, _READ_BYTES, offset):
            offset += len(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


_indices: dict[tuple[int, int], WalIndex] = {}
"""By device and inode of the database."""
