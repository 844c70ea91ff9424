"""Paths that are named on the command line, and what is in them.

Rule: an empty one is a variable that nobody has set, and not the present folder. A device can be read for ever, so
nothing is read beyond what makes sense.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, cast

import click

_CHUNK = 1 << 20


class NamedPath(click.Path):
    """A path that is not empty."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path, if it may be meant."""
        if value == "":
            self.fail("a path can't be empty", param, ctx)
        return cast("Path", super().convert(cast("str", value), param, ctx))


store_argument = click.argument("store", type=NamedPath(path_type=Path, file_okay=False))
"""Of each command that has one."""

FILE = NamedPath(path_type=Path, exists=True, dir_okay=False, readable=True)
"""A file that is read."""


def read(file: BinaryIO, path: Path, *, most: int) -> bytes:
    """All that is in an open file.

    Raises:
        click.ClickException: It has more bytes than ``most``.
        OSError: It can't be read.
    """
    content = bytearray()
    while chunk := file.read(min(_CHUNK, most + 1 - len(content))):
        content += chunk
    if len(content) > most:
        raise click.ClickException(f"{path} is too large: {most:,} bytes are the most that make sense")
    return bytes(content)
