"""What a message is: a frozen value that carries the type of its reply.

``await supervisor.ask(message)`` has the type that the message's class names, under mypy and pyright strict. A
message is a `Command` or a `Query`, and nothing else decides how it travels: a command waits for the cross-process
lock and is committed before its reply; a query is answered from committed state by the actor that owns it, without
the lock.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import attrs

R = TypeVar("R")  # invariant on purpose: a covariant R would let reply() widen to object


@attrs.frozen
class Reply:
    """Proof that a handler answered its own message; only `Message.reply` makes one."""

    value: Any = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Message(Generic[R]):
    """A typed message; ``R`` is the type of its reply."""

    def reply(self, value: R) -> Reply:
        """Answer this message; a value of another type is a type error."""
        return Reply(value)


@attrs.frozen(kw_only=True)
class Command(Message[R], Generic[R]):
    """Changes the device's state; what it needs of that is durable before it is answered.

    Runs in a turn under the lock, unless a turn before has reserved what it uses up.
    """


@attrs.frozen(kw_only=True)
class Query(Message[R], Generic[R]):
    """Reads committed state, never older than the moment of asking. Takes no lock."""


@attrs.frozen(kw_only=True)
class Procedure(Message[R], Generic[R]):
    """Long work that runs in the asker's task as many short commands or queries.

    Cancelling one, or a crash, leaves what its finished steps stored; asking again stores the rest.
    """


@attrs.frozen(kw_only=True)
class AccountQuery(Query[R], Generic[R]):
    """Answered by the actor that owns the account and the sync token."""


@attrs.frozen(kw_only=True)
class InboundGroupSessionsQuery(Query[R], Generic[R]):
    """Answered by the actor that owns the inbound group sessions."""


@attrs.frozen(kw_only=True)
class DevicesQuery(Query[R], Generic[R]):
    """Answered by the actor that owns the devices' public keys."""
