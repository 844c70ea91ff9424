"""What a forked child may do with its parent's handles: nothing.

Owns: the at-fork hooks, and the set of handles that they poison.
Rule: a child neither uses, nor unlocks, nor keeps alive what its parent opened.
Why: a flock belongs to the open file description, which a fork shares. A child that unlocked it would take the lock
    from its parent; one that just kept its copy of the descriptor would hold the lock after its parent's death. Closing
    the copy, without unlocking, does neither.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Protocol
from weakref import ref


class Handle(Protocol):
    """Something that must not outlive a fork."""

    def poison(self) -> None:
        """Close the child's copies of all descriptors, unlock nothing, and refuse every use from now on."""


no_fork = threading.RLock()
"""Held while a descriptor exists that no handle knows yet: a fork in another thread waits, so no child inherits it.

Reentrant, because a finalizer or a signal handler may fork in the midst of it.
"""

_handles: list[ref[Handle]] = []
"""Weak, and without callbacks, as a `WeakSet` has: those run wherever a handle is collected, and a Ctrl-C that comes in
one is printed and forgotten."""
_MOST_DEAD: Final = 64


def poison_in_child(handle: Handle) -> None:
    """From now until it is collected, poison `handle` in every child that this process forks."""
    global _dead_after  # noqa: PLW0603 - it belongs to the list
    with no_fork:
        if len(_handles) >= _dead_after:
            _handles[:] = [known for known in _handles if known() is not None]
            _dead_after = 2 * len(_handles) + _MOST_DEAD
        _handles.append(ref(handle))


_dead_after = _MOST_DEAD
"""At this length, those that are gone are looked for: seldom enough, whatever the number of handles."""


def _after_in_child() -> None:
    no_fork.release()
    handles = [handle for known in _handles if (handle := known()) is not None]
    with _interrupted_later():  # or Python would pass over the Ctrl-C, and over the handles that are left
        for handle in handles:
            handle.poison()


@contextmanager
def _interrupted_later() -> Generator[None]:
    """Have a Ctrl-C that comes in the block come after it. For a forked child: its one thread is the main one."""
    came: list[int] = []
    try:
        usual = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    except ValueError:  # in a subinterpreter, to which no signal comes
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if usual is None else usual)
    if came:
        signal.raise_signal(signal.SIGINT)


os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=_after_in_child)
