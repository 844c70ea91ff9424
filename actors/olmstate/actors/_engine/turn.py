"""What an operation works with: the actors by class, the time, and a list for the events that its commit will cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, cast

import attrs

from olmstate.messages import SharedEvent

from .actor import Actor
from .points import Additions

A = TypeVar("A", bound=Actor[Any])


class ActorsByClass:
    """The actors of a supervisor; one is found by its class, and typed as that."""

    def __init__(self, actors: Iterable[Actor[Any]]) -> None:
        """One of each class."""
        self._actors = tuple(actors)
        self._by_class: dict[type[Any], Actor[Any]] = {}
        for actor in self._actors:
            # by its bases, too: a test puts a subclass in an actor's place
            for each in type(actor).__mro__[: -len(Actor.__mro__)]:
                if each in self._by_class:
                    raise ValueError(f"two actors are {each.__name__}")
                self._by_class[each] = actor

    def __getitem__(self, actor: type[A]) -> A:
        """The actor of this class."""
        return cast("A", self._by_class[actor])

    def __iter__(self) -> Iterator[Actor[Any]]:
        """All of them, in the order of the capabilities that they belong to."""
        return iter(self._actors)


@attrs.frozen(kw_only=True)
class Turn:
    """One turn of the supervisor, as a command sees it: ``await turn[DevicesActor].ask(…)``."""

    actors: ActorsByClass
    now: int
    """Milliseconds since 1970. Decides on rotation, never on safety."""
    events: list[SharedEvent]
    """Stored with the turn's commit, and published in all processes after it."""
    additions: Additions = attrs.field(factory=lambda: Additions(()))
    """What capabilities have added to others' points."""

    def __getitem__(self, actor: type[A]) -> A:
        """The actor of this class."""
        return self.actors[actor]
