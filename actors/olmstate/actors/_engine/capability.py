"""A capability: what one folder brings to a device. The supervisor is built from a tuple of them, and names none.

Owns: the shape of a capability, and what its functions work with.
Rule: a message has one route. What has none is refused when it is asked, before it waits for anything or anybody.

To add a message, write its class, its function, and one line among the routes here:

    commands     run in a turn: async def run(turn: Turn, command: C) -> R
    queries      answered by an actor from committed state: Q.answered_by(SomeActor)
    procedures   run in the asker's task: async def run(supervisor: Asking, procedure: P) -> R
    without_turn commands that mostly need no turn, because one before has reserved what they use up
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import attrs

from olmstate.messages import Command, Event, Message, QueryRoute, Route

from .actor import Actor, Environment
from .turn import ActorsByClass, Turn

R = TypeVar("R")
T = TypeVar("T")


class Asking(Protocol):
    """What a procedure works with: the supervisor."""

    def ask(self, message: Message[R], /) -> Awaitable[R]:
        """Send a message."""
        ...

    def publish(self, event: Event, /) -> None:
        """Tell subscribers."""
        ...


class BesideTurns(Protocol):
    """What works on commands beside the turns has this to work with: the supervisor."""

    @property
    def actors(self) -> ActorsByClass:
        """Its actors."""
        ...

    def refresh(self) -> None:
        """Learn what others have committed and tell the actors.

        Raises:
            StoreError, ActorStopped: Nothing can be answered.
        """
        ...

    async def ask_in_turn(self, command: Command[R], /) -> R:
        """Have a turn run a command, and wait for the reply."""
        ...

    def now(self) -> int:
        """Milliseconds since 1970."""
        ...


@attrs.frozen
class WithoutTurn(Generic[T]):
    """Commands that mostly need no turn, and what works on them instead; it is made once for each supervisor.

    They have a route among the ``commands``, too: for when there must be a turn.
    """

    make: Callable[[BesideTurns], T]
    routes: tuple[Route[T], ...]


@attrs.frozen(kw_only=True)
class Capability:
    """What one folder brings."""

    actor: Callable[[Environment], Actor[Any]] | None = None
    """Owns state."""
    commands: tuple[Route[Turn], ...] = ()
    queries: tuple[QueryRoute, ...] = ()
    procedures: tuple[Route[Asking], ...] = ()
    without_turn: tuple[WithoutTurn[Any], ...] = ()


def check_routes(routes: Iterable[Route[Any] | QueryRoute]) -> None:
    """Make sure that no message has two routes.

    Raises:
        ValueError: One has.
    """
    seen: set[type[Message[Any]]] = set()
    for route in routes:
        if route.message in seen:
            raise ValueError(f"{route.message.__name__} has two routes")
        seen.add(route.message)
