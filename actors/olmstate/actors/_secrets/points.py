"""What other capabilities add here: who wants to know that private keys have come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from olmstate.actors._engine.points import Point
from olmstate.actors._engine.turn import Turn

PRIVATE_KEYS_LEARNT = Point[Callable[[Turn], Awaitable[None]]]("private keys that came, or were published")
