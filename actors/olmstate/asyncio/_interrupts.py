"""Ctrl-C between two callbacks of the loop, and never in the midst of one of Trio's.

Rule: whatever handles SIGINT goes on doing so, a moment later: `asyncio.run` cancels the main task the first time, and
raises KeyboardInterrupt the second time. A loop that is stuck in somebody's callback is interrupted where it is.
Why: the KeyboardInterrupt of asyncio's handler comes wherever the main thread is. In the midst of a tick it ends Trio's
run, or the tick is lost; then whatever waits for Trio waits for ever, and nothing but SIGKILL ends the program
(decision 0067).
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

STUCK: Final = 1.0
"""Seconds after which a loop that has not come to its next callback is interrupted where it is."""


class Interrupts:
    """Puts itself before whatever handles SIGINT, while a guest runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is done yet."""
        self._loop = loop
        self._before: Callable[[int, FrameType | None], Any] | None = None
        self._since: float | None = None
        """When the first of those came that wait for the loop."""

    def begin(self) -> None:
        """Take it over, where this thread may, and where Python handles it."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(before):
            self._before = before
            signal.signal(signal.SIGINT, self._come)

    def end(self) -> None:
        """Give it back, unless somebody else has taken it over meanwhile."""
        if self._before is not None and signal.getsignal(signal.SIGINT) == self._come:
            signal.signal(signal.SIGINT, self._before)

    def _come(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._loop.is_closed() or (self._since is not None and now - self._since > STUCK):
            self._handle(number, frame)
            return
        self._since = now if self._since is None else self._since
        self._loop.call_soon_threadsafe(self._deliver, number)

    def _deliver(self, number: int) -> None:
        self._since = None
        self._handle(number, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._before is not None:
            self._before(number, frame)
