"""Which file systems a store may be on, from what Linux tells about mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from olmstate.messages import StoreUnavailable, UnsupportedFilesystem
from olmstate.storage.sqlite import filesystem
from olmstate.storage.sqlite.filesystem import filesystem_type, mount_id, refuse_network_filesystem, spans_machines

if TYPE_CHECKING:
    from pathlib import Path

FDINFO = "pos:\t0\nflags:\t02100000\nmnt_id:\t29\nino:\t2\n"
MOUNTINFO = r"""
22 28 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:5 - proc proc rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard
29 28 0:45 / /home rw,relatime shared:291 master:7 - nfs4 server:/home rw,vers=4.2,addr=192.0.2.1
129 28 0:46 /a /mnt/with\040space/- rw,nosuid,nodev - fuse.sshfs me@host:/a rw,user_id=1000
229 28 0:47 / /mnt/plain rw - ext4 /dev/nfs rw
""".lstrip()


def test_the_mount_of_an_open_descriptor_is_found() -> None:
    assert mount_id(FDINFO) == 29
    assert mount_id("pos:\t0\n") is None
    assert mount_id("") is None


@pytest.mark.parametrize(
    ("mount", "filesystem"), [(22, "proc"), (28, "ext4"), (29, "nfs4"), (129, "fuse.sshfs"), (229, "ext4"), (9, None)]
)
def test_a_mount_s_file_system_is_found_past_any_number_of_tags(mount: int, filesystem: str | None) -> None:
    assert filesystem == filesystem_type(MOUNTINFO, mount)


@pytest.mark.parametrize(
    "filesystem", ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "fuse.sshfs"]
)
def test_what_several_machines_may_mount_is_known(filesystem: str) -> None:
    assert spans_machines(filesystem)


@pytest.mark.parametrize(
    "filesystem",
    ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "fuse", "fuse.gocryptfs", "sshfs", "ext4.nfs", ""],
)
def test_local_and_unknown_file_systems_pass(filesystem: str) -> None:
    assert not spans_machines(filesystem)


def test_a_folder_on_this_machine_passes(tmp_path: Path) -> None:
    refuse_network_filesystem(tmp_path)


def test_the_refusal_names_folder_and_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = filesystem._filesystem_of(tmp_path)  # pyright: ignore[reportPrivateUsage]
    if here is None:
        pytest.skip("this system does not tell what a folder is on")
    monkeypatch.setattr(filesystem, "_SPANS_MACHINES", frozenset({here}))

    with pytest.raises(UnsupportedFilesystem) as refused:
        refuse_network_filesystem(tmp_path)

    assert (str(tmp_path), here) == (refused.value.path, refused.value.filesystem)


def test_a_missing_folder_is_an_error_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="missing"):
        refuse_network_filesystem(tmp_path / "missing")
