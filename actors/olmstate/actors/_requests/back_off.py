"""How long to wait after failures: 15 seconds, then twice as long each time, up to 15 minutes."""

from __future__ import annotations

from typing import Final

FIRST: Final = 15_000
LONGEST: Final = 15 * 60_000
SHORTEST: Final = 1_000
"""Milliseconds. The last is for a server that says when to come back: so much more each time that it was too soon, up
to the first. Else one that says "at once" time and again is asked as fast as we can."""
_DOUBLINGS: Final = 6
"""After which the longest is reached, so that no power of two grows large."""


def delay(failures: int, retry_after: float | None = None) -> int:
    """Milliseconds to wait after the ``failures``-th failure in a row.

    Args:
        failures: 1 or more.
        retry_after: Seconds that the server asks for. It may ask for longer, not for more than the longest, and not for
            none: who does so each time would be asked without a pause.
    """
    computed = min(FIRST << min(failures - 1, _DOUBLINGS), LONGEST)
    if retry_after is None:
        return computed
    shortest = min(SHORTEST * failures, FIRST)
    return round(max(shortest, min(retry_after * 1000, LONGEST)))


def is_over(until: int, now: int) -> bool:
    """Whether nobody waits any more until a time that `delay` has set, both in milliseconds since 1970.

    A clock that was set back must not make anybody wait for longer than they ever would.
    """
    return not now < until <= now + LONGEST
