"""One file that one open handle at a time has taken.

Owns: a descriptor that stays open, the flock on it, and the name of who took it last.
Rule: a file counts as taken only if it is still the one at its path. Nothing here ever blocks or unlinks.
Why: a flock locks an inode. If somebody replaced the file, whoever opens the path gets another inode and another lock,
    and two would hold "the" lock. And a path opened anew for every try would cost three times as much.
"""

from __future__ import annotations

import contextlib
import os
import stat
from io import FileIO
from typing import TYPE_CHECKING

from filelock import lock_descriptor, unlock_descriptor

from olmstate.messages import StoreUnavailable
from olmstate.storage.os_errors import os_errors

from .fork import no_fork

if TYPE_CHECKING:
    from pathlib import Path

_MODE = 0o600
_REPLACEMENTS = 10
"""How often one try follows a path to a new file. More means that the file system's inode numbers don't hold still."""
_SIGNATURE = b"%-10d %20d\n"
"""The process id of who took the file last, for people; and how often it went from one handle to another."""
_SIGNATURE_LENGTH = len(_SIGNATURE % (0, 0))


class LockFile:
    """One of possibly many handles on the file at `path`; taken by at most one of them, in all processes together.

    Handles in one process exclude one another just as those in several do. Not thread-safe.

    Args:
        path: Created with mode 0600 if missing, whatever the umask; its folder must exist.

    Raises:
        StoreUnavailable: The operating system refuses to open or to create it.
        StoreFull: No room to create it.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._signature: bytes | None = None
        self._open()

    def _open(self) -> None:
        with no_fork, os_errors(self._path):
            # The descriptor is the file's from the start. If both closed it, whoever came second would close another's.
            file = FileIO(self._path, "r+", opener=_create)
            try:
                status = os.fstat(file.fileno())
            except BaseException:
                file.close()
                raise
            self._file = file
            self._descriptor = file.fileno()
            self._inode = status.st_ino
            self._device = status.st_dev
        if stat.S_IMODE(status.st_mode) != _MODE:
            # Refused to who isn't the owner, and by file systems without modes: there the mount's options rule.
            with contextlib.suppress(OSError):
                os.fchmod(self._descriptor, _MODE)

    @property
    def place(self) -> tuple[int, int]:
        """Device and inode: what all handles on the file have in common."""
        return self._device, self._inode

    def take(self) -> bool:
        """Try once.

        Returns:
            Whether this handle has taken the file now. False: another has it, or is just looking whether somebody has.

        Raises:
            StoreUnavailable: The operating system refuses: the folder is gone, say.
            StoreFull: The file is gone, and there is no room to create it.
        """
        for _ in range(_REPLACEMENTS):
            if not self._try():
                return False
            if self.is_in_place():
                return True
            self._follow()
        raise StoreUnavailable(reason=f"{self._path!r} is another file each time it is opened")

    def is_taken(self) -> bool:
        """Look whether another handle has taken the file: by a try that is let go at once.

        Raises:
            StoreUnavailable: The operating system refuses.
        """
        if not self._try():
            return True
        self.let_go()
        # Half the price of comparing with the path, and whoever replaces a file unlinks it.
        if os.fstat(self._descriptor).st_nlink:
            return False
        if not self.take():
            return True
        self.let_go()
        return False

    def _try(self) -> bool:
        try:
            return lock_descriptor(self._descriptor, blocking=False)
        except OSError as error:
            raise StoreUnavailable(reason=f"{error}: {self._path!r}") from error

    def _follow(self) -> None:
        """Let the file go that was replaced, and open the one at the path."""
        self.let_go()
        # Bound to a name so that it is closed only when its successor is open: if that fails, this handle stays usable.
        replaced = self._file
        self._open()
        replaced.close()

    def is_in_place(self) -> bool:
        """Whether the file at the path is the one that this handle has open."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - by the string it is twice as fast
        except OSError:
            return False
        return status.st_ino == self._inode and status.st_dev == self._device

    def let_go(self) -> None:
        """Undo `take`. A handle that is closed has let go already."""
        if not self._file.closed:
            unlock_descriptor(self._descriptor)

    def sign(self) -> None:
        """Record this handle as the one that has taken the file. Call it only when that is so."""
        # Most often nobody else had it in between, and a file that isn't written needs no write-back.
        if (last := self.signature()) == self._signature:
            return
        _, turns = _read_signature(last)
        self._signature = _SIGNATURE % (os.getpid(), turns + 1)
        # A full disk, say. Only messages to people and waits rest on it: no reason to fail what the lock is taken for.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, self._signature, 0)

    def signature(self) -> bytes:
        """Another one after each time that the file went from one handle to another."""
        try:
            return os.pread(self._descriptor, _SIGNATURE_LENGTH, 0)
        except OSError:
            return b"?"

    def signer(self) -> int | None:
        """The living process that signed last, if any: who has taken the file, if it is taken.

        For the few microseconds between `take` and `sign` that is the one before, if it still lives.
        """
        pid, _ = _read_signature(self.signature())
        return pid if _is_alive(pid) else None

    def close(self) -> None:
        """Let go and close. Closing again does nothing."""
        self.let_go()
        self._file.close()

    def abandon(self) -> None:
        """Close this process's copy of the descriptor without letting go: another process shares it and goes on."""
        self._file.close()


def _create(path: str, flags: int) -> int:
    """Open, or create, what is at the path itself: a symbolic link is not followed."""
    flags |= os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    with contextlib.suppress(FileExistsError):
        created = os.open(path, flags | os.O_CREAT | os.O_EXCL, _MODE)
        leave_to_owner(created, os.path.dirname(path))  # noqa: PTH120 - a string, as it was given
        return created
    return os.open(path, flags | os.O_CREAT, _MODE)  # another was quicker


def leave_to_owner(created: int, folder: str | os.PathLike[str]) -> None:
    """Give the file that was just created to whoever owns its folder, if root has created it, as SQLite does with its.

    Or whoever looked at a store as root had locked its own user out: only who owns a file of it may open that.
    """
    if os.geteuid() == 0:
        # Refused where ids are mapped: it stays root's there.
        with contextlib.suppress(OSError):
            owner = os.stat(folder)  # noqa: PTH116 - as above
            os.fchown(created, owner.st_uid, owner.st_gid)


def _read_signature(signature: bytes) -> tuple[int, int]:
    """The process id and the number in it; 0 for what can't be read."""
    try:
        pid, turns = signature.split()
        return int(pid), int(turns)
    except ValueError:
        return 0, 0


def _is_alive(pid: int) -> bool:
    if pid <= 0:  # names a group of processes, not one
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
