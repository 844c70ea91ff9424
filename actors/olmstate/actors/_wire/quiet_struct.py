"""Structs, which cost next to nothing to make: for what is made for each message (decision 0028)."""

from __future__ import annotations

import msgspec


class QuietStruct(msgspec.Struct, kw_only=True, frozen=True):
    """Base of what is nothing but its fields: a stored form, or what one actor is told for another.

    Each class says once more that it is frozen and takes keywords, since type checkers don't know that of the base.
    """

    def __repr__(self) -> str:
        """The name alone: many hold secrets."""
        return f"{type(self).__name__}(...)"
