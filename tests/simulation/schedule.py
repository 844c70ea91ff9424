"""A Trio run that repeats: one seed, one order of everything.

Owns: `run`, which seeds Trio's scheduler, lets virtual time pass at once, and keeps threads away; and `skeleton`, by
which two runs are compared.
Rule: nothing in a simulation depends on the wall clock, on addresses or on hashes, nor on another thread.
Why: an order of events that was found once must be found again.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import trio
import trio.testing

from tests.faults.history import Entry

T = TypeVar("T")

# Trio's own switch for tests that must repeat: runnable tasks are then shuffled by a generator that can be seeded,
# from an order that doesn't depend on hashes
_scheduler: Any = importlib.import_module("trio._core._run")


@contextmanager
def _deterministic(rng: random.Random) -> Generator[None]:
    async def run_here(
        function: Callable[..., T],
        *args: object,
        limiter: trio.CapacityLimiter | None = None,
        abandon_on_cancel: bool = False,  # what runs here can be cancelled, before or after
    ) -> T:
        async with limiter or nullcontext():
            await trio.sleep(rng.uniform(0, 0.01))
            result = function(*args)
            await trio.sleep(rng.uniform(0, 0.01))
            return result

    before = _scheduler._ALLOW_DETERMINISTIC_SCHEDULING, _scheduler._r, trio.to_thread.run_sync
    _scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    _scheduler._r = random.Random(rng.random())
    setattr(trio.to_thread, "run_sync", run_here)  # noqa: B010 - a type checker knows that it is another function
    try:
        yield
    finally:
        _scheduler._ALLOW_DETERMINISTIC_SCHEDULING, _scheduler._r, run_sync = before
        setattr(trio.to_thread, "run_sync", run_sync)  # noqa: B010


def run(main: Callable[[], Awaitable[T]], rng: random.Random) -> T:
    """Run ``main``, in an order that depends on ``rng`` alone."""
    with _deterministic(rng):
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def wall_clock() -> int:
    """Milliseconds since 1970, by virtual time."""
    return 1_700_000_000_000 + int(trio.current_time() * 1000)


def skeleton(history: Sequence[Entry]) -> list[str]:
    """A history without what is random in each run: keys, ciphertexts, and what is sorted by them."""
    return [
        f"{entry.t} {entry.process} {entry.kind} "
        + " ".join(str(entry.data.get(name)) for name in ("ask", "message", "generation", "seen", "index", "error"))
        for entry in history
    ]
