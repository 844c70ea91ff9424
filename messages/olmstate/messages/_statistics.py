"""What the actors count: for people who tune, and for tests that prove laziness."""

from __future__ import annotations

import attrs

from ._message import Query


@attrs.frozen(kw_only=True)
class CacheStatistics:
    """One data type's cache."""

    capacity: int
    """Entries that may be cached; 0: never cached."""
    cached: int
    """Entries now."""
    loaded: int
    """Entries read from the store."""
    hits: int
    misses: int
    invalidated: int
    """Cached entries dropped by key because another process wrote them."""
    invalidated_whole: int
    """Times that everything was dropped."""
    evicted: int


@attrs.frozen(kw_only=True)
class SupervisorStatistics:
    """The supervisor and all its actors, since it was opened."""

    caches: dict[str, CacheStatistics]
    """By data type."""
    generation: int
    turns: int
    commits: int
    commands: int
    largest_batch: int
    """Commands in one turn."""
    lock_waits: int
    """Turns that found the lock taken."""
    lock_wait_seconds: float
    longest_lock_wait: float
    """Seconds."""
    foreign_writes: int
    """Times that another process was found to have written."""
    fenced: int
    """Turns that the generation fence turned back."""
    lock_held: bool
    lock_holder: int | None
    """Process id of whoever holds the lock now."""


@attrs.frozen(kw_only=True)
class Statistics(Query[SupervisorStatistics]):
    """Counters of the supervisor and its actors.

    Returns:
        SupervisorStatistics: The supervisor and all its actors, since it was opened.
    """
