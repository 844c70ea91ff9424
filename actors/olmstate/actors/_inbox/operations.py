"""Putting to-device events into the inbox, and what the app says of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final, TypeVar

from olmstate.actors._engine.points import Additions
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._to_device.handlers import (
    ON_DECRYPTED,
    ON_PLAIN,
    DecryptedEvent,
    PlainEvent,
    secret_fields,
    told_content,
)
from olmstate.actors._wire.untrusted_json import if_sound, string
from olmstate.messages import AcknowledgeInbox, InboxReceived, JsonObject, KeepInInbox, UserId

from .actor import Acknowledge, InboxActor, Keep, Kept, NewInboxEvent, Put

E = TypeVar("E")

MOST_CHARACTERS: Final = 256 * 1024
"""Of an event. The spec lets one have 64 KiB."""
LONGEST_TYPE: Final = 255
"""Bytes (spec: Size limits): nothing longer is an event's type."""
EVENTS_AT_ONCE: Final = 12
"""Written, or dropped for others, without giving other tasks a chance: below a millisecond."""
NOTHING_TO_DO: Final = ("m.dummy",)
"""Types that say nothing; nobody handles them, and there is nothing that an app could do."""


async def receive_decrypted(turn: Turn, events: Sequence[DecryptedEvent]) -> None:
    """Events that came encrypted."""
    secrets = secret_fields(turn.additions)

    def new(event: DecryptedEvent) -> NewInboxEvent:
        payload = event.payload
        return NewInboxEvent(
            type=payload.type,
            sender=payload.sender,
            json=_text(told_content(payload, secrets)),
            keys=(event.olm.sender_key, payload.ed25519),
        )

    await _receive(turn, [(event.payload.type, event) for event in events], new)


async def receive_plain(turn: Turn, events: Sequence[PlainEvent]) -> None:
    """Events that came in clear."""

    def new(event: PlainEvent) -> NewInboxEvent:
        sender = if_sound(string, event.event, "sender")
        return NewInboxEvent(
            type=event.type, sender=None if sender is None else UserId(sender), json=_text(event.event), keys=None
        )

    await _receive(turn, [(event.type, event) for event in events], new)


async def _receive(turn: Turn, events: Iterable[tuple[str, E]], new: Callable[[E], NewInboxEvent]) -> None:
    """Put those of the app's types into the inbox."""
    ours = _types_of_others(turn.additions)
    kept = await turn[InboxActor].ask(Kept())
    chosen = [event for event_type, event in events if kept.get(event_type, event_type not in ours)]
    if not chosen:
        return
    received: list[tuple[int, str]] = []
    lost = 0
    async for some in SlicesOf(chosen, EVENTS_AT_ONCE):
        made = [each for event in some if (each := _made(new, event)) is not None]
        fitting = tuple(each for each in made if len(each.json) <= MOST_CHARACTERS)
        put = Put(events=fitting, too_large=len(made) - len(fitting), now=turn.now)
        numbers, dropped = await turn[InboxActor].ask(put)
        received += zip(numbers, (each.type for each in fitting), strict=True)
        lost += dropped
    if received or lost:
        turn.events.append(InboxReceived(events=tuple(received), lost=lost))


@lru_cache(16)
def _types_of_others(additions: Additions) -> frozenset[str]:
    """With which somebody does something already: a supervisor's are the same for each event."""
    decrypted = (handler.types or () for handler in additions[ON_DECRYPTED])
    plain = (handler.types or () for handler in additions[ON_PLAIN])
    return frozenset(chain(NOTHING_TO_DO, *decrypted, *plain))


def _made(new: Callable[[E], NewInboxEvent], event: E) -> NewInboxEvent | None:
    """None: no homeserver and no device can have sent that."""
    try:
        made = new(event)
    except (TypeError, ValueError):
        return None  # a program's own object, or a number that JSON has not
    return made if len(made.type.encode(errors="surrogatepass")) <= LONGEST_TYPE else None


def _text(value: JsonObject) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


async def acknowledge_inbox(turn: Turn, command: AcknowledgeInbox) -> None:
    """The app has dealt with these."""
    async for some in SlicesOf(command.numbers, EVENTS_AT_ONCE):
        await turn[InboxActor].ask(Acknowledge(numbers=some))


async def keep_in_inbox(turn: Turn, command: KeepInInbox) -> None:
    """Remember what the app wants."""
    await turn[InboxActor].ask(Keep(types=command.types, keep=command.keep, now=turn.now))
