"""Writing files that only their owner may read, whole or not at all, and never over another by accident.

Rule: that FILE can't be written is found before the work is done that it is for. What is no file is never replaced: a
FIFO or a device is written into, and ``-`` is the standard output.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import click

STANDARD = Path("-")
"""Standard input or output, as a FILE."""


class PrivateFile:
    """What is to become a file with mode 0600, whatever the umask; gone again unless it is written."""

    def __init__(self, path: Path, *, force: bool) -> None:
        """Nothing is done yet.

        Args:
            path: Where.
            force: Replace a file that is there.
        """
        self.path = path
        self._force = force
        self._partial: Path | None = None
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Make sure that it can be written.

        Raises:
            click.ClickException: It can't, or it exists and ``force`` wasn't given.
        """
        if _is_stream(self.path):
            return self
        if not self._force and os.path.lexists(self.path):
            raise click.ClickException(f"{self.path} exists already; --force replaces it")
        self._partial = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            self._descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.fchmod(self._descriptor, 0o600)
        except OSError as error:
            self._drop()
            raise self._refusal(error) from error
        return self

    def write(self, content: bytes) -> None:
        """Write all of it, and make it the file.

        Raises:
            click.ClickException: It can't be written, or somebody else was quicker and ``force`` wasn't given.
        """
        try:
            if self._partial is None:
                _write_stream(self.path, content)
                return
            with os.fdopen(self._descriptor, "wb", closefd=False) as file:
                file.write(content)
                file.flush()
                os.fsync(self._descriptor)
            if self._force:
                self._partial.replace(self.path)
            else:
                os.link(self._partial, self.path)  # unlike a rename, it fails if somebody was quicker
        except FileExistsError:
            raise click.ClickException(f"{self.path} exists already; --force replaces it") from None
        except OSError as error:
            raise self._refusal(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind but what was written."""
        self._drop()

    def _drop(self) -> None:
        if self._descriptor != -1:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._partial is not None:
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)

    def _refusal(self, error: OSError) -> click.ClickException:
        return click.ClickException(f"{self.path} can't be written: {error.strerror}")


def _is_stream(path: Path) -> bool:
    """Whether it is there to be written into: nothing in it is lost, and nothing may take its place.

    Raises:
        click.ClickException: It is a disk, or a socket.
    """
    if path == STANDARD:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise click.ClickException(f"{path} is no file")
    # what is open already, wherever that goes: in place of the link itself, the next program would find a file
    opened = path.parent in _OPENED or path in _NAMES_OF_OPENED
    return opened or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


_OPENED = {Path("/dev/fd"), Path("/proc/self/fd")}
_NAMES_OF_OPENED = {Path("/dev/stdout"), Path("/dev/stderr")}


def _write_stream(path: Path, content: bytes) -> None:
    if path == STANDARD:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    with path.open("wb", buffering=0) as file:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
