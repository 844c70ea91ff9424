"""Long work in slices, so that the event loop goes on: nobody else waits for more than one of them.

Rule: a slice takes about a millisecond. Whatever comes in, more of it makes more slices, and no longer ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

    def __init__(self, items: Iterable[T], size: int, weight: Callable[[T], int] | None = None) -> None:
        """At most ``size`` at a time: how many take a millisecond, the work knows.

        Args:
            items: All.
            size: Of those of a slice together; one that is larger has one for itself.
            weight: An item's; None: one.
        """
        self._left = iter(items)
        self._size = size
        self._weight = weight
        self._next: list[T] = []
        self._first = True

    def __aiter__(self) -> SlicesOf[T]:
        """Itself."""
        return self

    async def __anext__(self) -> tuple[T, ...]:
        """The next ones."""
        some = tuple(islice(self._left, self._size)) if self._weight is None else self._weighed(self._weight)
        if not some:
            raise StopAsyncIteration
        if not self._first:
            await trio.lowlevel.checkpoint()
        self._first = False
        return some

    def _weighed(self, weight: Callable[[T], int]) -> tuple[T, ...]:
        some, self._next = self._next, []
        total = sum(map(weight, some))
        for item in self._left:
            total += weight(item)
            if some and total > self._size:
                self._next = [item]
                break
            some.append(item)
        return tuple(some)
