"""The program: the group that commands add themselves to, and how each of them ends.

Rule: what went wrong is one line on stderr and exit code 1, never a traceback. A traceback is a bug of ours. Exit code
2 is for a command line that makes no sense; its one line comes after the usage.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, TypeVar

import click
import trio

from olmstate.messages import OlmStateError

from ._output import printable

T = TypeVar("T")


class _Commands(click.Group):
    """A group whose commands may raise the library's errors."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except OlmStateError as error:
            raise click.ClickException(printable(" ".join(str(error).split()))) from error
        except RuntimeError as error:
            if _is_interrupt(error):
                raise KeyboardInterrupt from None
            raise

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - click's own
        """Run the program; that what it says can't be written, to a full disk say, is one line, too."""
        _open_what_is_closed()
        _say_what_can_be_said()
        try:
            return super().main(*args, **extra)
        except OSError as error:
            with suppress(OSError):
                click.echo(f"Error: {error}", err=True)
            _forget_output()
            sys.exit(1)
        finally:
            try:
                sys.stdout.flush()
            except (OSError, ValueError):  # it was told
                _forget_output()


_STANDARD = (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))
"""In the order of their descriptors. What is said on a closed standard output is lost, and to write to it fails."""


def _open_what_is_closed() -> None:
    """Open the standard streams that were closed, or files of the store get their descriptors, and what is said.

    There is nothing to read on a closed standard input, and nobody to hear what goes to a closed standard error.
    """
    for descriptor, (name, mode, flags) in enumerate(_STANDARD):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # the lowest descriptor that is free, which is this one
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good


def _say_what_can_be_said() -> None:
    """Write what the terminal has no letters for as an escape, as Python does on standard error: a file's name, say."""
    output = sys.stdout
    if isinstance(output, TextIOWrapper) and output.errors == "strict":
        output.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Have Python not try to write once more what could not be written, when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="olmstate")
def commands() -> None:
    """One Matrix device, several processes, one store, and never a broken ratchet."""


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run a command's asynchronous part; its errors come out as they were raised, not in Trio's groups.

    Raises:
        OlmStateError, OSError, click.ClickException: What the work raised.
        KeyboardInterrupt: Somebody pressed Ctrl-C.
    """
    try:
        return trio.run(work)
    except BaseExceptionGroup as group:
        error = _cause(group)
        raise error from error.__cause__


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What to tell the user of several that failed together."""
    if group.subgroup(_is_interrupt) is not None:
        return KeyboardInterrupt()
    _, rest = group.split((click.ClickException, OlmStateError, OSError))
    return group if rest is not None else _first(group.subgroup(click.ClickException) or group)


def _is_interrupt(error: BaseException) -> bool:
    """Whether it is a Ctrl-C, also one that came while a class was made, as in an import: Python 3.11 wraps it then."""
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, RuntimeError) and isinstance(error.__cause__, KeyboardInterrupt)
    )


def _first(error: BaseException) -> BaseException:
    inside: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return _first(inside[0]) if inside else error
