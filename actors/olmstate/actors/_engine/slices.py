"""Long work in slices, so that the event loop goes on: nobody else waits for more than one of them.

Rule: a slice takes about a millisecond. Whatever comes in, more of it makes more slices, and no longer ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import attrs
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


@attrs.define
class SlicesOf(Generic[T]):
    """For ``async for``: some of ``items`` at a time, and others have their turn in between; not where all fit."""

    items: Sequence[T]
    size: int
    _position: int = 0

    def __aiter__(self) -> SlicesOf[T]:
        return self

    async def __anext__(self) -> Sequence[T]:
        if self._position >= len(self.items):
            raise StopAsyncIteration
        if self._position:
            await trio.lowlevel.checkpoint()
        some = self.items[self._position : self._position + self.size]
        self._position += self.size
        return some
