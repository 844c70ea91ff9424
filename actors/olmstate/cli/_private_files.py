"""Writing files that only their owner may read, whole or not at all, and never over another by accident."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click


def refuse_existing(path: Path, *, force: bool) -> None:
    """Say so before the work is done that the file is for.

    Raises:
        click.ClickException: It exists, and ``force`` wasn't given.
    """
    if not force and os.path.lexists(path):
        raise click.ClickException(f"{path} exists already; --force replaces it")


def write_private_file(path: Path, content: bytes, *, force: bool) -> None:
    """Write ``content`` with mode 0600, whatever the umask.

    Raises:
        click.ClickException: It can't be written, or exists and ``force`` wasn't given.
    """
    refuse_existing(path, force=force)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write(partial, content)
        try:
            if force:
                partial.replace(path)
            else:
                os.link(partial, path)  # unlike a rename, it fails if somebody was quicker
        finally:
            partial.unlink(missing_ok=True)
    except FileExistsError:
        raise click.ClickException(f"{path} exists already; --force replaces it") from None
    except OSError as error:
        raise click.ClickException(f"{path} can't be written: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
