"""A capability: what one folder brings to a device. The supervisor is built from a tuple of them, and names none.

Owns: the shape of a capability, and what its functions work with.
Rule: a message has one route. What has none is refused when it is asked, before it waits for anything or anybody.

To add a message, write its class, its function, and one line among the routes here:

    commands     run in a turn: async def run(turn: Turn, command: C) -> R
    queries      answered by an actor from committed state: Q.answered_by(SomeActor)
    procedures   run in the asker's task: async def run(supervisor: Asking, procedure: P) -> R; so does a query that
                 takes several actors or several steps
    without_turn commands that mostly need no turn, because one before has reserved what they use up
    services     run beside the turns, in the background
    events       what subscribers in all processes hear: `turn.events` takes them
    additions    what other capabilities ask for at their points: a handler for an answer, say
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import attrs

from olmstate.messages import Command, Event, Message, QueryRoute, Route, SharedEvent
from olmstate.storage import Presence

from .actor import Actor, Environment
from .points import Addition, Additions
from .service import Service, ServicesByClass
from .turn import ActorsByClass, Turn

R = TypeVar("R")
T = TypeVar("T")


class Asking(Protocol):
    """What a procedure works with: the supervisor."""

    def ask(self, message: Message[R], /) -> Awaitable[R]:
        """Send a message."""
        ...

    def publish(self, event: Event, /) -> None:
        """Tell subscribers in this process of what goes on in it."""
        ...

    @property
    def services(self) -> ServicesByClass:
        """What runs beside the turns."""
        ...


class BesideTurns(Asking, Protocol):
    """What works on commands beside the turns, and a service, have this to work with: the supervisor."""

    @property
    def additions(self) -> Additions:
        """What capabilities, and the user, have added to others' points."""
        ...

    @property
    def presence(self) -> Presence:
        """Which handles on the store are alive."""
        ...

    @property
    def actors(self) -> ActorsByClass:
        """Its actors."""
        ...

    @property
    def generation(self) -> int:
        """The newest that was learnt of."""
        ...

    async def refresh(self) -> None:
        """Learn what others have committed and tell the actors; where the store can tell at once, without waiting.

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
    procedures: tuple[Route[BesideTurns], ...] = ()
    without_turn: tuple[WithoutTurn[Any], ...] = ()
    services: tuple[Callable[[BesideTurns], Service], ...] = ()
    events: tuple[type[SharedEvent], ...] = ()
    """What its commands may put among the events of their turn."""
    additions: tuple[Addition, ...] = ()


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
