"""Work that takes long, in a thread of Trio's.

Rule: that no thread can be started is an error of the store, as any refusal of the operating system.
Why: Python says it with a RuntimeError, which looks like a defect of the library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from olmstate.messages import StoreUnavailable

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """What ``work`` returns.

    Raises:
        StoreUnavailable: No thread can be started; ``work`` has not begun.
        BaseException: As ``work`` raises.
    """
    begun = False

    def begin() -> T:
        nonlocal begun
        begun = True
        return work()

    try:
        return await trio.to_thread.run_sync(begin)
    except RuntimeError as error:
        if begun:
            raise
        raise StoreUnavailable(reason=str(error)) from error
