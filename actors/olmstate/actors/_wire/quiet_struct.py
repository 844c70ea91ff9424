"""Structs, which cost next to nothing to define and to make: what is asked and told inside (decisions 0028, 0084)."""

from __future__ import annotations

from typing import Final

import msgspec

IDS: Final = frozenset({"user_id", "device_id", "room_id", "session_id", "event_id", "request_id", "flow_id", "key_id"})
"""Fields that are no secret, whatever else there is."""


class QuietStruct(msgspec.Struct, kw_only=True, frozen=True):
    """Base of what is nothing but its fields: a stored form, or what one part of the device asks or tells another.

    Each class says once more that it is frozen and takes keywords, since type checkers don't know that of the base.
    """

    def __repr__(self) -> str:
        """The name, and which ids it is about: much of the rest is secret."""
        fields = self.__struct_fields__
        shown = [f"{name}={getattr(self, name)!r}" for name in fields if name in IDS]
        return f"{type(self).__name__}({', '.join([*shown, *(['...'] if len(shown) < len(fields) else [])])})"
