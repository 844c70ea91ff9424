"""Long work in short steps, for whoever has other things to do in between.

Owns: what such work looks like: a generator that yields after each step and returns what came out.
Rule: a step takes below a millisecond, whatever the input. What a step is, the work itself knows: so many bytes, or
so many keys.
Why: a thread would not help. CPython runs one thread at a time, and a thread that computes keeps the event loop waiting
for 5 ms each time that it wants to go on; a single call that doesn't let go, such as parsing 50 MB, for as long as it
takes. Steps are pure: who runs them decides what comes in between.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]
"""Work in steps, and what comes out."""


def at_once(steps: Steps[T]) -> T:
    """Run all steps, with nothing in between."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
