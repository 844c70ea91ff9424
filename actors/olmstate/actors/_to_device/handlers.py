"""Who takes in which to-device events once they are opened: a table that capabilities fill.

Owns: its points, and how events are offered to what was added there.
Rule: a handler sees nothing that isn't believed. An event that came encrypted is offered by the type in its payload, to
`ON_DECRYPTED` only; one that came in clear is anybody's word, and offered to `ON_PLAIN` only. So nobody takes an
``m.room_key`` in that came in clear.

All events of a handler's types in a batch come at once, in the order in which they were sent; handlers run in the order
of their capabilities. An event is untrusted, believed or not: a handler reads it with the getters of `untrusted_json`,
passes over what makes no sense, and raises nothing, since that would refuse the whole batch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import attrs

from olmstate.actors._engine.points import Additions, Point
from olmstate.actors._engine.turn import Turn
from olmstate.actors._wire.olm_message import OlmMessage
from olmstate.actors._wire.payload import Payload
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import DeviceAddress, JsonObject

E = TypeVar("E")


class DecryptedEvent(QuietStruct, kw_only=True, frozen=True, gc=False):
    """An event that was decrypted and is believed."""

    payload: Payload
    olm: OlmMessage
    """What it came in."""


class PlainEvent(QuietStruct, kw_only=True, frozen=True):
    """An event that came in clear."""

    type: str
    event: JsonObject


@attrs.frozen(eq=False)
class Handler(Generic[E]):
    """Takes in the events of some types."""

    types: tuple[str, ...] | None
    """None: of all."""
    run: Callable[[Turn, Sequence[E]], Awaitable[None]]


async def _nothing(turn: Turn, what: object) -> None:
    """Do nothing."""


@attrs.frozen(eq=False)
class OlmTrouble:
    """What is done when Olm sessions come, or don't do what they should."""

    undecryptable: Callable[[Turn, Sequence[OlmMessage]], Awaitable[None]] = _nothing
    """No session decrypts these messages, each of which has the shape of one; they are no replays."""
    renewed: Callable[[Turn, Sequence[DecryptedEvent]], Awaitable[None]] = _nothing
    """With each of these, its device has begun a new session."""
    started: Callable[[Turn, Sequence[DeviceAddress]], Awaitable[None]] = _nothing
    """We have begun a new session with each of these devices."""


OLM_TROUBLE = Point[OlmTrouble]("trouble with Olm sessions")
ON_DECRYPTED = Point[Handler[DecryptedEvent]]("handlers of decrypted to-device events")
ON_PLAIN = Point[Handler[PlainEvent]]("handlers of to-device events that came in clear")


@attrs.frozen
class SecretField:
    """A field of a decrypted event's content that is stored, and never told to whoever receives the event."""

    type: str
    field: str


SECRETS = Point[SecretField]("secrets in to-device events")


def secret_fields(additions: Additions) -> dict[str, str]:
    """Of each type that has one, the field that nobody is told."""
    return {secret.type: secret.field for secret in additions[SECRETS]}


def told_content(payload: Payload, secrets: Mapping[str, str]) -> JsonObject:
    """The content, without what nobody is told."""
    secret = secrets.get(payload.type)
    if secret is None:
        return payload.content
    content = payload.content.copy()
    content.pop(secret, None)
    return content


async def offer(turn: Turn, decrypted: Iterable[DecryptedEvent], plain: Iterable[PlainEvent]) -> None:
    """Have all who handle these events take them in."""
    await _offer(turn, turn.additions[ON_DECRYPTED], [(each.payload.type, each) for each in decrypted])
    await _offer(turn, turn.additions[ON_PLAIN], [(each.type, each) for each in plain])


async def _offer(turn: Turn, handlers: Sequence[Handler[E]], events: Sequence[tuple[str, E]]) -> None:
    if not events:
        return
    came = {event_type for event_type, _ in events}  # few types, however many events
    for handler in handlers:
        types = handler.types
        if types is None:
            await handler.run(turn, [event for _, event in events])
        elif not came.isdisjoint(types):
            await handler.run(turn, [event for event_type, event in events if event_type in types])
