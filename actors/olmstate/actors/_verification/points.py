"""What other capabilities add here: what is done once our own identity was verified."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from olmstate.actors._engine.points import Point
from olmstate.actors._engine.turn import Turn

OWN_IDENTITY_VERIFIED = Point[Callable[[Turn, tuple[str, ...]], Awaitable[None]]]("verifications of our own identity")
"""Done in the commit that ends the flow. Told the subjects of its requests: what is about these goes out after them."""
