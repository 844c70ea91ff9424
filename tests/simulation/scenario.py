"""What a scenario is: a message in a small situation in which it has something to do, and how to tell that it did it.

Owns: `Scenario` and `Prepared`.
Rule: what a scenario prepares is what an app has to do first. What follows is what the app relies on once it has
a reply.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs

from olmstate.messages import Message, OlmStateError
from tests.simulation.client import Client

Follow: TypeAlias = Callable[[Client], Awaitable[None]]


async def nothing(client: Client) -> None:
    """Nothing follows."""


def anything(reply: object) -> bool:
    """There is nothing in the reply that could be wrong."""
    return True


@attrs.frozen
class Elsewhere:
    """What another process may do meanwhile, so that the answer is another one."""

    message: Message[Any]
    refused: tuple[type[OlmStateError], ...] = ()
    """What may be answered then."""


@attrs.frozen
class Prepared:
    """What to ask, and what must hold once it was answered."""

    message: Message[Any]
    follow: Follow = nothing
    """What must work then, in any process, and as often as it is tried."""
    right: Callable[[Any], bool] = anything
    """Whether that can be a reply, also to one who asks once more."""
    once_more: Callable[[], Message[Any]] | None = None
    """The same with what can be used only once replaced; None: there is no such thing in it."""
    elsewhere: Elsewhere | None = None
    """None: the same."""

    def anew(self) -> Message[Any]:
        """The message, for somebody else or once it was replied to."""
        return self.message if self.once_more is None else self.once_more()


def add_a_room_key(client: Client) -> Elsewhere:
    """For what changes by nothing that others do."""
    key = client.world.new_room_key(client.world.peers[0])
    return Elsewhere(key.add_room_key())


Prepare: TypeAlias = Callable[[Client], Awaitable[Prepared]]


@attrs.frozen(kw_only=True)
class Scenario:
    """A situation."""

    prepare: Prepare
    empty: bool = False
    """The store has no account yet."""
    again: tuple[type[OlmStateError], ...] = ()
    """What may be answered when it was done before."""
    refused: tuple[type[OlmStateError], ...] = ()
    """What must be answered, each time: there is no reply."""

    @property
    def name(self) -> str:
        """Its function's."""
        return self.prepare.__name__
