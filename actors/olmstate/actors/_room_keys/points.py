"""What other capabilities add here: who wants to know that a session's key, or a notice of it, has come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

from olmstate.actors._engine.points import Point
from olmstate.actors._engine.turn import Turn
from olmstate.messages import MegolmSessionId, RoomId, RoomKeysReceived

Sessions: TypeAlias = Collection[tuple[RoomId, MegolmSessionId]]

SESSIONS_LEARNT = Point[Callable[[Turn, Sessions], Awaitable[None]]]("room keys or withheld notices that came")


async def tell_of_room_keys(turn: Turn, sessions: Sessions, known: Sessions = ()) -> None:
    """Room keys have come new or better: tell subscribers and capabilities.

    Capabilities hear of those that were ``known``, too: what a device has forwarded may be its sender's own now.
    """
    if sessions:
        turn.events.append(RoomKeysReceived(room_keys=tuple(sessions)))
    if sessions or known:
        await tell_of_sessions(turn, {**dict.fromkeys(sessions), **dict.fromkeys(known)})


async def tell_of_sessions(turn: Turn, sessions: Sessions) -> None:
    """More is known of sessions: tell capabilities."""
    for learn in turn.additions[SESSIONS_LEARNT]:
        await learn(turn, sessions)
