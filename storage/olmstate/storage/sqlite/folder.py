"""The store's folder: what the files in it are called, who may read them, and that they outlive a power cut.

Folders that we make are for their owner alone (0700), under any umask. One that is there already is closed to others
only if it holds nothing but a store: a home folder that was named by mistake stays as it is.

An existing file is never opened here. In one process, closing any descriptor on a database cancels the locks that
SQLite has on it through all others.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from olmstate.messages import StoreCorrupt, StoreUnavailable
from olmstate.storage.lock.line import PLACES
from olmstate.storage.lock.lock_file import leave_to_owner
from olmstate.storage.lock.presence import PREFIX
from olmstate.storage.lock.role import SYNC_FILES

DATABASE = "olmstate.sqlite"
UNFINISHED = f"{DATABASE}.partial"
"""A database on its way: it is renamed when it is whole, so that nobody opens half of one."""

_COMPANIONS = ("-wal", "-shm", "-journal")
_FILES = {
    "lock",
    *PLACES,
    *SYNC_FILES,
    *(name + suffix for name in (DATABASE, UNFINISHED) for suffix in ("", *_COMPANIONS)),
}


def make_folder(folder: Path) -> None:
    """Make ``folder``, and those above it that are missing.

    Raises:
        OSError: Any.
    """
    for path in reversed([folder, *folder.parents]):
        if not path.exists():
            with contextlib.suppress(FileExistsError):  # another process is making it too
                path.mkdir(mode=0o700)
                path.chmod(0o700)  # the umask may have taken even that
            sync_folder(path.parent)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077 and all(_is_ours(path.name) for path in folder.iterdir()):
        with contextlib.suppress(PermissionError):  # somebody else's, who lets us in; our files are 0600 all the same
            folder.chmod(mode & 0o700)


def _is_ours(name: str) -> bool:
    return name in _FILES or name.startswith(PREFIX)


def create_file(path: Path) -> None:
    """Make an empty file that only its owner may read, under any umask, before SQLite opens it.

    Raises:
        OSError: Any; `FileExistsError` if there is one.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        leave_to_owner(descriptor, path.parent)
    finally:
        os.close(descriptor)


def remove_database(path: Path) -> None:
    """Remove a database that nobody has open, and the files beside it, if they are there.

    Raises:
        OSError: Any.
    """
    for suffix in ("", *_COMPANIONS):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def name_database(unfinished: Path, path: Path) -> None:
    """Give a database that is whole its name, durably. Under the lock of its folder; ``path`` must be vacant.

    Raises:
        StoreCorrupt: See `require_vacant`.
        OSError: Any.
    """
    require_vacant(path)
    # SQLite would take files of an earlier database of that name for the new one's
    for suffix in _COMPANIONS:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    unfinished.rename(path)
    sync_folder(path.parent)


def require_vacant(path: Path) -> None:
    """Make sure that no database is at ``path``, and that none was lost there.

    Raises:
        StoreUnavailable: There is one.
        StoreCorrupt: The database is gone, but not what was last written to it: nobody meant to remove the store.
        OSError: Any.
    """
    if os.path.lexists(path):
        raise StoreUnavailable(reason=f"there is a store in {path.parent} already")
    for suffix in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            if suffix != "-shm" and os.stat(f"{path}{suffix}").st_size:  # noqa: PTH116 - no Path to build for it
                raise StoreCorrupt(
                    reason=f"{path.name} is gone, but {path.name}{suffix} is there; to begin anew, remove both"
                )


def require_own_file(path: Path) -> None:
    """Make sure that the database at ``path``, if there is one, has no other name.

    Two folders with one database have two locks, and two logs: both would use the same steps.

    Raises:
        StoreUnavailable: It has.
        OSError: Any.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        raise StoreUnavailable(reason=f"{path} is a link: open the folder that it leads to")
    if status.st_nlink > 1:
        raise StoreUnavailable(
            reason=f"{path} has another name (a hard link), and two folders must not share a database: remove one of "
            "the names, or make a backup"
        )


def sync_folders_above(folder: Path) -> None:
    """Make ``folder``, and those above it, outlive a power cut, also if a process has made them that was killed then.

    Only in the file system that ``folder`` is in.

    Raises:
        OSError: Any of a folder of ours.
    """
    filesystem = folder.stat().st_dev
    for above in folder.parents:
        status = above.stat()
        if status.st_dev != filesystem:
            return  # what is mounted there was there before
        try:
            sync_folder(above)
        except OSError:
            if status.st_uid == os.geteuid():
                raise


def sync_folder(folder: Path) -> None:
    """Make what was created or renamed in ``folder`` outlive a power cut.

    Raises:
        OSError: Any.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # one may write into it but not list it
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
