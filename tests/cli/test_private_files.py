"""Files that only their owner may read, whole or not at all; and what is no file is written into, never replaced."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import click
import pytest

from olmstate.cli._private_files import PrivateFile


def write(path: Path, content: bytes, *, force: bool) -> None:
    with PrivateFile(path, force=force) as file:
        file.write(content)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
@pytest.mark.parametrize("force", [False, True])
def test_the_mode_is_0600_under_any_umask(tmp_path: Path, umask: int, *, force: bool) -> None:
    path = tmp_path / "file"
    before = os.umask(umask)
    try:
        write(path, b"content", force=force)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"content"


def test_what_exists_is_kept_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"dear")

    with pytest.raises(click.ClickException, match="--force"):
        write(path, b"content", force=False)

    assert path.read_bytes() == b"dear"
    assert [path] == list(tmp_path.iterdir())


def test_what_somebody_else_makes_meanwhile_is_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with PrivateFile(path, force=False) as file:
        path.write_bytes(b"dear")
        with pytest.raises(click.ClickException, match="--force"):
            file.write(b"content")

    assert path.read_bytes() == b"dear"
    assert [path] == list(tmp_path.iterdir())


def test_force_replaces_it_with_a_private_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"dear")
    path.chmod(0o644)

    write(path, b"content", force=True)

    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path] == list(tmp_path.iterdir())


def test_what_is_never_written_leaves_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"dear")
    with pytest.raises(ZeroDivisionError), PrivateFile(path, force=True):
        raise ZeroDivisionError

    assert path.read_bytes() == b"dear"
    assert [path] == list(tmp_path.iterdir())


def test_a_link_to_nowhere_counts_as_existing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.symlink_to(tmp_path / "nowhere")

    with pytest.raises(click.ClickException, match="--force"), PrivateFile(path, force=False):
        pass


def test_a_folder_that_is_missing_is_one_clear_line_before_anything_is_done(tmp_path: Path) -> None:
    with (
        pytest.raises(click.ClickException, match="No such file"),
        PrivateFile(tmp_path / "missing" / "file", force=False),
    ):
        pytest.fail("nothing can be written there")


def test_the_target_of_a_link_is_left_alone_when_the_link_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"dear")
    (tmp_path / "file").symlink_to(target)

    write(tmp_path / "file", b"content", force=True)

    assert target.read_bytes() == b"dear"


# --- what is no file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("force", [False, True])
def test_a_fifo_is_written_into(tmp_path: Path, *, force: bool) -> None:
    # by force, it was replaced by a file, and whoever reads it waited for ever
    path, read = tmp_path / "fifo", list[bytes]()
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()

    write(path, b"content" * 100_000, force=force)

    reader.join()
    assert [b"content" * 100_000] == read
    assert path.is_fifo()


@pytest.mark.parametrize("force", [False, True])
def test_a_device_is_written_into_and_stays_one(tmp_path: Path, *, force: bool) -> None:
    # as root, it was replaced by a file, for all programs
    with pytest.raises(click.ClickException, match="/dev/full can't be written: No space left on device"):
        write(Path("/dev/full"), b"content", force=force)

    assert Path("/dev/full").is_char_device()
    assert not [path for path in Path("/dev").iterdir() if path.name.startswith(".full")]


def test_a_link_to_what_is_open_is_written_into(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        path = Path("/dev/fd") / str(file.fileno())
        write(path, b"content", force=True)
        assert (tmp_path / "file").read_bytes() == b"content"
        assert path.exists()


def test_a_socket_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with pytest.raises(click.ClickException, match="is no file"):
            write(path, b"content", force=True)
    assert path.is_socket()
