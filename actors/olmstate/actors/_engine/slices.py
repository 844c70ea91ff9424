"""Long work in slices, so that the event loop goes on: nobody else waits for more than one of them.

Rule: a slice takes about a millisecond. Whatever comes in, more of it makes more slices, and no longer ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Generic, TypeVar

import trio

from olmstate.actors._wire.steps import Steps

T = TypeVar("T")


async def in_slices(steps: Steps[T]) -> T:
    """Run ``steps``, and let others have their turn after each. Cancelled in between, the rest is never done.

    Raises:
        BaseException: As the work raises.
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        await trio.lowlevel.checkpoint()


class SlicesOf(Generic[T]):
    """For ``async for``: some of ``items`` at a time, and others have their turn in between; not where all fit."""

    def __init__(self, items: Iterable[T], size: int) -> None:
        """At most ``size`` at a time: how many take a millisecond, the work knows."""
        self._left = iter(items)
        self._size = size
        self._first = True

    def __aiter__(self) -> SlicesOf[T]:
        """Itself."""
        return self

    async def __anext__(self) -> tuple[T, ...]:
        """The next ones."""
        some = tuple(islice(self._left, self._size))
        if not some:
            raise StopAsyncIteration
        if not self._first:
            await trio.lowlevel.checkpoint()
        self._first = False
        return some
