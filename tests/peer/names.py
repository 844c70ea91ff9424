"""The library's names for kinds of strings and of JSON, for type checkers alone: at run time a user id is a string."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from olmstate.messages import (
        Curve25519Key,
        DeviceId,
        Ed25519Key,
        EventId,
        MegolmSessionId,
        RoomId,
        UserId,
    )
else:
    Curve25519Key = DeviceId = Ed25519Key = EventId = MegolmSessionId = RoomId = UserId = str

Json: TypeAlias = Any
JsonObject: TypeAlias = dict[str, Any]

__all__ = [
    "Curve25519Key",
    "DeviceId",
    "Ed25519Key",
    "EventId",
    "Json",
    "JsonObject",
    "MegolmSessionId",
    "RoomId",
    "UserId",
]
