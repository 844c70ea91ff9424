"""What a forked child may do with its parent's handles: nothing.

Owns: the at-fork hooks, and the set of handles that they poison.
Rule: a child neither uses, nor unlocks, nor keeps alive what its parent opened.
Why: a flock belongs to the open file description, which a fork shares. A child that unlocked it would take the lock
    from its parent; one that just kept its copy of the descriptor would hold the lock after its parent's death. Closing
    the copy, without unlocking, does neither.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Handle(Protocol):
    """Something that must not outlive a fork."""

    def poison(self) -> None:
        """Close the child's copies of all descriptors, unlock nothing, and refuse every use from now on."""


no_fork = threading.RLock()
"""Held while a descriptor exists that no handle knows yet: a fork in another thread waits, so no child inherits it.

Reentrant, because a finalizer or a signal handler may fork in the midst of it.
"""

_handles: WeakSet[Handle] = WeakSet()


def poison_in_child(handle: Handle) -> None:
    """From now until it is collected, poison `handle` in every child that this process forks."""
    with no_fork:
        _handles.add(handle)


def _after_in_child() -> None:
    no_fork.release()
    for handle in _handles:
        handle.poison()


os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=_after_in_child)
