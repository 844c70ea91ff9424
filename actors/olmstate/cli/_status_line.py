"""A line about how far something is: written over on a terminal, a line of its own now and then elsewhere.

Rule: whoever isn't a terminal gets whole lines and no control characters, so that a log can be read.
"""

from __future__ import annotations

import shutil
import time
from typing import TextIO

import click

TERMINAL_SECONDS = 0.1
OTHER_SECONDS = 2.0


class StatusLine:
    """The line, on one stream."""

    def __init__(self, stream: TextIO, *, other_seconds: float = OTHER_SECONDS) -> None:
        """A line that isn't there yet; on what is no terminal, one each ``other_seconds``."""
        self._stream = stream
        self._terminal = stream.isatty()
        self._width = 0
        self._shown = time.monotonic()
        self.pause = TERMINAL_SECONDS if self._terminal else other_seconds
        """Seconds after which there is a point in showing it again."""

    def show(self, line: str) -> None:
        """Show it."""
        if self._terminal:
            line = line[: shutil.get_terminal_size().columns - 1]  # a line that is wrapped can't be written over
            click.echo(f"\r{line:<{self._width}}", nl=False, file=self._stream)
            self._width = len(line)
        else:
            click.echo(line, file=self._stream)
        self._shown = time.monotonic()

    def show_now_and_then(self, line: str) -> None:
        """Show it, if that was long enough ago."""
        if time.monotonic() - self._shown >= self.pause:
            self.show(line)

    def clear(self) -> None:
        """Make room for something else."""
        if self._terminal and self._width:
            click.echo(f"\r{'':<{self._width}}\r", nl=False, file=self._stream)
            self._width = 0
