"""What other capabilities add here: how an answer is taken in, what a refusal means, which requests are due."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.points import Point
from olmstate.actors._engine.turn import Turn
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import JsonObject, OlmStateError, RequestKind, Transport

from .actor import AnsweredRequest, NewRequest

UNRECOGNIZED: Final = "M_UNRECOGNIZED"
"""The homeserver doesn't know the end point (spec: Common error codes)."""
T = TypeVar("T")


class Answer(QuietStruct, kw_only=True, frozen=True):
    """How the answer to a kind of request is taken in: in the turn in which the request is removed.

    If it raises an `OlmStateError`, the answer counts as garbage: the request stays, and is sent again.
    """

    kind: RequestKind
    take: Callable[[Turn, AnsweredRequest, JsonObject], Awaitable[None]]
    complaint: Callable[[JsonObject], OlmStateError | None] | None = None
    """What whoever waits for the request hears: a 200 may say that some of it was refused. It has been taken in."""


class Refused(QuietStruct, kw_only=True, frozen=True):
    """What the homeserver said when it refused a request for good."""

    status: int
    errcode: str | None
    error: str | None
    challenge: JsonObject | None = None
    """The user has to authenticate first."""

    @property
    def is_of_all(self) -> bool:
        """Whether it would have been refused whatever it had been about: else one of several may be why."""
        return self.challenge is not None or self.errcode == UNRECOGNIZED


class Refusal(QuietStruct, kw_only=True, frozen=True):
    """What it means that a kind of request was refused for good: in the turn in which the request is removed."""

    kind: RequestKind
    take: Callable[[Turn, AnsweredRequest, Refused], Awaitable[None]]
    halve: Callable[[AnsweredRequest], Awaitable[tuple[NewRequest, ...]]] | None = None
    """The same in two requests, which are made in its place if one of those that it is about may be why it was refused;
    none if it is about one alone."""
    leaves_out: bool = False
    """Whoever waits isn't told that some are refused: they see whom they learn nothing of."""
    answers: frozenset[int] = frozenset()
    """Statuses that say all that was asked, as a 404 says that there is nothing: nobody is told of a refusal then."""


class Upkeep(QuietStruct, kw_only=True, frozen=True):
    """Requests that become due by themselves, for example since one-time keys were used up."""

    due: Callable[[BesideTurns], Awaitable[bool]]
    """Whether there is anything to make. Asked often, and without a turn."""
    make: Callable[[Turn], Awaitable[None]]
    """Make what is due, as this turn sees it: another process may have been quicker."""


def halves_of(items: Sequence[T]) -> tuple[Sequence[T], ...]:
    """Two halves; of one item there are none."""
    middle = len(items) // 2
    return (items[:middle], items[middle:]) if middle else ()


ANSWERS = Point[Answer]("answers to requests")
REFUSALS = Point[Refusal]("refused requests")
UPKEEP = Point[Upkeep]("requests that are due")
TRANSPORT = Point[Transport]("transport")
"""At most one: what the user gave to `open_supervisor`."""
