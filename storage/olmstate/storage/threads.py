"""Work that takes long, in a thread of Trio's.

Rules:

- That no thread can be started is told apart from whatever the work itself raises, which may be the same. Python says
  it with a RuntimeError, which looks like a defect of the library; and whoever can tell does the work on the spot, or
  refuses it as the operating system refuses other things.
- Threads are counted apart from the user's. A program may have all of Trio's 40 wait for something that only happens
  once its store is open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from olmstate.messages import StoreUnavailable

T = TypeVar("T")

MOST_DERIVATIONS = 4
"""At a time, of keys from passphrases: each takes 64 MiB, and several cores."""

_derivations: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("derivations")


class NoThread(Exception):
    """No thread can be started; the work has not begun."""


async def start_in_thread(
    work: Callable[[], T], limiter: trio.CapacityLimiter, *, abandon_on_cancel: bool = False
) -> T:
    """What ``work`` returns.

    Cancelled, it is waited for; or, if that is asked for, left to end by itself, and what it returns is lost.

    Raises:
        NoThread: Nothing was done.
        BaseException: As ``work`` raises.
    """
    begun = False

    def begin() -> T:
        nonlocal begun
        begun = True
        return work()

    try:
        return await trio.to_thread.run_sync(begin, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
    except RuntimeError as error:
        if begun:
            raise
        raise NoThread(str(error)) from error


async def in_thread(
    work: Callable[[], T], limiter: trio.CapacityLimiter | None = None, *, abandon_on_cancel: bool = False
) -> T:
    """What ``work`` returns; see `start_in_thread`. Without a ``limiter``, it is counted with the derivations of keys.

    Raises:
        StoreUnavailable: No thread can be started; ``work`` has not begun.
        BaseException: As ``work`` raises.
    """
    try:
        return await start_in_thread(work, limiter or _limiter(), abandon_on_cancel=abandon_on_cancel)
    except NoThread as error:
        raise StoreUnavailable(reason=str(error)) from error


def _limiter() -> trio.CapacityLimiter:
    try:
        return _derivations.get()
    except LookupError:
        limiter = trio.CapacityLimiter(MOST_DERIVATIONS)
        _derivations.set(limiter)
        return limiter
