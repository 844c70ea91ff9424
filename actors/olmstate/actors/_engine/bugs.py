"""Bugs: what a handler raises that is no answer.

Owns: what counts as one, and what its asker is told.
Rule: a bug is its asker's. Whoever meets one drops what the handler may have spoiled, and the others go on. What ends a
task or a program (a cancellation, Ctrl-C) is no bug, and passes. Where nobody has asked, the log is told.
Why: a device's supervisor serves all tasks of a process. One event that nobody thought of must not stop them.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from types import TracebackType

import trio

from olmstate.messages import InternalError

logger = logging.getLogger("olmstate")
"""Hears of the bugs that nobody is told of, since nobody has asked for what met them."""

_ENDS = (trio.Cancelled, KeyboardInterrupt, SystemExit, GeneratorExit)


def is_bug(error: BaseException) -> bool:
    """Whether ``error``, which is no `OlmStateError`, is a bug; a panic of vodozemac's is one, and no Exception.

    A group is one if it has nothing in it that ends a task or a program.
    """
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(_ENDS) is None  # pyright: ignore[reportUnknownMemberType] - a group is of any errors
    return not isinstance(error, _ENDS)


def report(what: str, error: BaseException) -> None:
    """Log a bug: which, and where; its own text may quote what nobody should read."""
    logger.error("%s: %s", what, error if isinstance(error, InternalError) else internal_error(error))


def internal_error(error: BaseException) -> InternalError:
    """What the asker is told of a bug: which, and where; its own text may quote what nobody should read."""
    told = InternalError(reason=f"{type(error).__name__} in {_place(error.__traceback__)}")
    told.__cause__ = error
    return told


class left_to_the_next(AbstractContextManager[None]):  # noqa: N801 - used like a function
    """For what nobody has asked for: what goes wrong in the block is told to whoever asks for something next."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return error is not None and is_bug(error)


def _place(trace: TracebackType | None) -> str:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    code = trace.tb_frame.f_code
    return f"{trace.tb_frame.f_globals.get('__name__', code.co_filename)}.{code.co_qualname}, line {trace.tb_lineno}"
