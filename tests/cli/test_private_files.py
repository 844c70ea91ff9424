"""Files that only their owner may read, whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click
import pytest

from olmstate.cli._private_files import refuse_existing, write_private_file


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
@pytest.mark.parametrize("force", [False, True])
def test_the_mode_is_0600_under_any_umask(tmp_path: Path, umask: int, *, force: bool) -> None:
    path = tmp_path / "file"
    before = os.umask(umask)
    try:
        write_private_file(path, b"content", force=force)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"content"


def test_what_exists_is_kept_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"dear")

    with pytest.raises(click.ClickException, match="--force"):
        write_private_file(path, b"content", force=False)

    assert path.read_bytes() == b"dear"
    assert [path] == list(tmp_path.iterdir())


def test_force_replaces_it_with_a_private_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"dear")
    path.chmod(0o644)

    write_private_file(path, b"content", force=True)

    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path] == list(tmp_path.iterdir())


def test_a_link_to_nowhere_counts_as_existing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.symlink_to(tmp_path / "nowhere")

    with pytest.raises(click.ClickException):
        refuse_existing(path, force=False)


def test_a_folder_that_is_missing_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="No such file"):
        write_private_file(tmp_path / "missing" / "file", b"content", force=False)


def test_the_target_of_a_link_is_left_alone_when_the_link_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"dear")
    (tmp_path / "file").symlink_to(target)

    write_private_file(tmp_path / "file", b"content", force=True)

    assert target.read_bytes() == b"dear"
