"""Which file systems a store may not be on.

Owns: the list of those that span machines, and how to tell what a folder is on.
Rule: what is known to span machines is refused; what isn't known is let pass.
Why: the lock is a flock and SQLite's WAL index is shared memory. Both bind the processes of one kernel only: on a
    network file system two machines would both hold the lock, each in good faith.
"""

from __future__ import annotations

import os
from pathlib import Path

from olmstate.messages import StoreUnavailable, UnsupportedFilesystem

_SPANS_MACHINES = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "coda", "9p"),  # servers
        *("ceph", "glusterfs", "lustre", "gpfs", "beegfs", "orangefs", "pvfs2", "gfs2", "ocfs2"),  # clusters
        *("vboxsf", "vmhgfs", "prl_fs"),  # folders that a virtual machine shares with its host
    }
)
_SPANS_MACHINES_BY_FUSE = frozenset(
    {
        *("sshfs", "smbnetfs", "curlftpfs", "davfs", "davfs2", "nfs", "vmhgfs-fuse"),
        *("ceph", "ceph-fuse", "glusterfs", "mfs", "moosefs", "juicefs", "seaweedfs"),
        *("rclone", "s3fs", "s3ql", "goofys", "gcsfuse", "blobfuse", "blobfuse2"),
    }
)


def refuse_network_filesystem(folder: Path) -> None:
    """Make sure that `folder` is not on a file system which several machines may mount.

    Knows only Linux; elsewhere, and where the kernel does not tell, every folder passes.

    Args:
        folder: An existing folder.

    Raises:
        UnsupportedFilesystem: It is, and locks on it can't be relied on.
        StoreUnavailable: The folder can't be opened.
    """
    filesystem = _filesystem_of(folder)
    if filesystem is not None and spans_machines(filesystem):
        raise UnsupportedFilesystem(path=os.fspath(folder), filesystem=filesystem)


def spans_machines(filesystem: str) -> bool:
    """Whether `filesystem`, a type as Linux names it (`ext4`, `nfs4`, `fuse.sshfs`), is known to span machines."""
    kind, _, subtype = filesystem.partition(".")
    return kind in _SPANS_MACHINES or (kind == "fuse" and subtype in _SPANS_MACHINES_BY_FUSE)


def mount_id(fdinfo: str) -> int | None:
    """Read which mount a descriptor is on from its `/proc/self/fdinfo` file. See proc(5)."""
    for line in fdinfo.splitlines():
        key, _, value = line.partition(":")
        if key == "mnt_id":
            return int(value)
    return None


def filesystem_type(mountinfo: str, mount: int) -> str | None:
    """Read a mount's file system type from `/proc/self/mountinfo`. See proc(5).

    A line is: mount id, parent id, device, root, mount point, options, any number of tags, "-", type, source, options.
    The kernel escapes white space in all of them.
    """
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if fields[0] == str(mount):
            return fields[fields.index("-", 6) + 1]
    return None


def _filesystem_of(folder: Path) -> str | None:
    # By an open descriptor, not by the longest mount point that the path begins with: no symbolic link, no mount that
    # hides another, no mount in the midst of it and no chroot can mislead it.
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StoreUnavailable(reason=str(error)) from error
    try:
        mount = mount_id(Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii"))
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None  # not Linux, or a sandbox without /proc
    finally:
        os.close(descriptor)
    return None if mount is None else filesystem_type(mountinfo, mount)
