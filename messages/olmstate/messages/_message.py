"""What a message is: a frozen value that carries the type of its reply.

``await supervisor.ask(message)`` has the type that the message's class names, under mypy and pyright strict. A
message is a `Command`, a `Query` or a `Procedure`, and nothing else decides how it travels: a command waits for the
cross-process lock and is committed before its reply; a query is answered from committed state by the actor that owns
it, without the lock.

A *route* says which function or which actor handles a class of messages. It is made from the class, so that a type
checker sees whether both are of the same message and the same reply:

    ShareRoomKey.by(share_room_key)         # async def share_room_key(turn, command: ShareRoomKey) -> RoomKeyShare
    SyncToken.answered_by(AccountActor)     # an actor whose messages SyncToken is one of
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import attrs

R = TypeVar("R")  # invariant on purpose: a covariant R would let reply() widen to object
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
M_contra = TypeVar("M_contra", contravariant=True)


@attrs.frozen
class Reply:
    """Proof that a handler answered its own message; only `Message.reply` makes one."""

    value: Any = attrs.field(repr=False)


@attrs.frozen
class Route(Generic[T_contra]):
    """Which function handles a class of messages; ``T_contra`` is what the function works with: a turn, say."""

    message: type[Message[Any]]
    run: Callable[[T_contra, Any], Awaitable[Any]]


@attrs.frozen
class QueryRoute:
    """Which actor answers a class of queries."""

    message: type[Query[Any]]
    actor: type[Any]


class Handles(Protocol[M_contra]):
    """An actor that handles messages of some classes."""

    def handle(self, message: M_contra, /) -> Reply:
        """Answer one message."""
        ...


class Message(Generic[R]):
    """A typed message; ``R`` is the type of its reply."""

    __slots__ = ()

    def reply(self, value: R) -> Reply:
        """Answer this message; a value of another type is a type error."""
        return Reply(value)

    @classmethod
    def by(cls, run: Callable[[T, Self], Awaitable[R]]) -> Route[T]:
        """The route to a function; one that takes another message, or gives another reply, is a type error."""
        return Route(cls, run)

    if TYPE_CHECKING:

        def _of_class_and_reply(self) -> tuple[Self, R]:
            """What an actor's ``ask`` is typed by: one of its messages, and the reply of that one. Never called."""
            ...


class Command(Message[R], Generic[R]):
    """Changes the device's state; what it needs of that is durable before it is answered.

    Runs in a turn under the lock, unless a turn before has reserved what it uses up.
    """

    __slots__ = ()


class Query(Message[R], Generic[R]):
    """Reads committed state, never older than the moment of asking. Takes no lock."""

    __slots__ = ()

    @classmethod
    def answered_by(cls, actor: type[Handles[Self]]) -> QueryRoute:
        """The route to an actor; one that doesn't handle this class of queries is a type error."""
        return QueryRoute(cls, actor)


class Procedure(Message[R], Generic[R]):
    """Long work that runs in the asker's task as many short commands or queries.

    Cancelling one, or a crash, leaves what its finished steps stored; asking again stores the rest.
    """

    __slots__ = ()
