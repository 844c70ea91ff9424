"""Work that takes long, in a thread of Trio's.

Rule: that no thread can be started is told apart from whatever the work itself raises, which may be the same.
Why: Python says it with a RuntimeError, which looks like a defect of the library; and who is told apart can do the work
on the spot, or refuse it as the operating system refuses other things.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from olmstate.messages import StoreUnavailable

T = TypeVar("T")


class NoThread(Exception):
    """No thread can be started; the work has not begun."""


async def start_in_thread(
    work: Callable[[], T], limiter: trio.CapacityLimiter | None = None, *, abandon_on_cancel: bool = False
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


async def in_thread(work: Callable[[], T], *, abandon_on_cancel: bool = False) -> T:
    """What ``work`` returns; see `start_in_thread`.

    Raises:
        StoreUnavailable: No thread can be started; ``work`` has not begun.
        BaseException: As ``work`` raises.
    """
    try:
        return await start_in_thread(work, abandon_on_cancel=abandon_on_cancel)
    except NoThread as error:
        raise StoreUnavailable(reason=str(error)) from error
