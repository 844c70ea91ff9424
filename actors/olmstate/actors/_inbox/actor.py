"""The inbox actor owns the to-device events that wait until the app has dealt with them.

Its invariants:

- An event is in the inbox from the commit that took it in until the one that acknowledges it, or drops it for others.
- They are bounded, in number and in size. Those that came in clear go first, since anybody can send them at no cost;
  then those of the sender who has the most, so that nobody's can be pushed out by what others send.
- A number is given once. The first one is the time at which it was given, so that a restored store, which has none of
  them, gives no number that the store before it has given.

What is known of them is one partition. Their contents are rows apart, read when they are listed.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from operator import attrgetter
from typing import ClassVar, Final, TypeAlias, assert_never

from olmstate.actors._devices.actor import KnownSenderCodec
from olmstate.actors._devices.senders import KnownSender, sender_state
from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.named_records import NamedRecords, NamedRecordsCodec
from olmstate.actors._engine.records import OneRecordCodec
from olmstate.actors._identities.actor import IdentityCodec
from olmstate.actors._identities.known import KnownIdentity
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.shares import surplus
from olmstate.messages import (
    Curve25519Key,
    DecryptedToDevice,
    Ed25519Key,
    Inbox,
    InboxContent,
    InboxEvent,
    InboxPage,
    JsonObject,
    Message,
    PlainToDevice,
    Reply,
    UserId,
)
from olmstate.storage import Table

from .stored import InboxContentRecord, InboxRecord, InboxStateRecord

MOST_EVENTS: Final = 1_000
MOST_BYTES: Final = 8 * 1024 * 1024
BYTES_A_PAGE: Final = 256 * 1024
"""Of contents, listed without giving other tasks a chance: about a millisecond."""
SHARE: Final = MOST_BYTES // MOST_EVENTS
"""Bytes that an event counts for beside its own, where it matters who has the most."""


_Waiting: TypeAlias = NamedRecords[int, InboxRecord]
"""All events in the inbox by their numbers, oldest first."""


# --- what it is asked ---------------------------------------------------------------------------------------


class NewInboxEvent(QuietStruct, kw_only=True, frozen=True):
    """An event for the inbox."""

    type: str
    sender: UserId | None
    json: str
    """In ASCII, as in `InboxContentRecord`."""
    keys: tuple[Curve25519Key, Ed25519Key] | None
    """The sender's, as the payload says; None: it came in clear."""


class Kept(QuietStruct, Message[dict[str, bool]], kw_only=True, frozen=True):
    """Types of which the app has said whether they are kept, as this turn sees it."""


class Put(QuietStruct, Message[tuple[tuple[int, ...], int]], kw_only=True, frozen=True):
    """Have events wait; their numbers, and how many were dropped since there was no room."""

    events: tuple[NewInboxEvent, ...]
    too_large: int
    """How many others can't be kept."""
    now: int


class Acknowledge(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Have these go."""

    numbers: tuple[int, ...]


class Keep(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Remember whether these types are kept."""

    types: tuple[str, ...]
    keep: bool
    now: int


Asked: TypeAlias = Kept | Put | Acknowledge | Keep | Inbox


class InboxActor(Actor[Asked]):
    """Owns the to-device events that wait until the app has dealt with them."""

    name: ClassVar[str] = "inbox"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        number = attrgetter("number")
        self._waiting = Cache[_Waiting](
            Table.INBOX, NamedRecordsCodec(store, InboxRecord, number, number), capacity(Table.INBOX)
        )
        self._contents = Cache[InboxContentRecord | None](Table.INBOX_CONTENTS, OneRecordCodec(InboxContentRecord), 0)
        self._state = Cache[InboxStateRecord | None](
            Table.INBOX_STATE, OneRecordCodec(InboxStateRecord), capacity(Table.INBOX_STATE)
        )
        self._senders = Cache[KnownSender](Table.DEVICES, KnownSenderCodec(), capacity(Table.DEVICES), view=True)
        self._identities = Cache[KnownIdentity | None](
            Table.IDENTITIES, IdentityCodec(), capacity(Table.IDENTITIES), view=True
        )
        self._own_identity = store.key(Table.IDENTITIES, environment.user_id)
        self._partition = store.key(Table.INBOX, "events")
        self._state_key = store.key(Table.INBOX_STATE, "state")
        super().__init__(environment, [self._waiting, self._contents, self._state, self._senders, self._identities])

    def wanted(self, message: Asked) -> Wanted:
        """What is known of the events, and of the inbox; the contents of those that are listed, and their senders."""
        match message:
            case Kept() | Keep():
                return ((self._state, [self._state_key]),)
            case Put():
                return (self._state, [self._state_key]), (self._waiting, [self._partition])
            case Acknowledge():
                return ((self._waiting, [self._partition]),)
            case Inbox():
                return self._wanted_to_list(message)
            case _:
                assert_never(message)

    def _wanted_to_list(self, asked: Inbox) -> Wanted:
        yield self._state, [self._state_key]
        yield self._waiting, [self._partition]
        waiting = self._waiting.peek(self._partition, committed=True)
        if waiting is not None:
            listed, _ = _page(waiting, asked)
            yield self._contents, [self._content_key(record.number) for record in listed]
            senders = [record.sender for record in listed if record.encrypted and record.sender]
            yield self._senders, [self._sender_key(sender) for sender in senders]
            yield self._identities, [*map(self._identity_key, senders), self._own_identity]

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case Kept():
                state = self._state.current(self._state_key)
                return message.reply({} if state is None else state.kept)
            case Put():
                return message.reply(self._put(message))
            case Acknowledge(numbers=numbers):
                self._remove(numbers)
                return message.reply(None)
            case Keep(types=types, keep=keep, now=now):
                state = self._state.current(self._state_key) or InboxStateRecord(last=now)
                kept = state.kept | dict.fromkeys(types, keep)
                if kept != state.kept:
                    self._put_state(last=state.last, lost=state.lost, kept=kept)
                return message.reply(None)
            case Inbox():
                return message.reply(self._list(message))
            case _:
                assert_never(message)

    def _content_key(self, number: int) -> bytes:
        return self._store.key(Table.INBOX_CONTENTS, str(number))

    def _sender_key(self, sender: UserId) -> bytes:
        return self._store.key(Table.DEVICES, sender)

    def _identity_key(self, sender: UserId) -> bytes:
        return self._store.key(Table.IDENTITIES, sender)

    def _put_state(self, *, last: int, lost: int, kept: dict[str, bool]) -> None:
        self._state.put(self._state_key, InboxStateRecord(last=last, lost=lost, kept=kept))

    def _put(self, put: Put) -> tuple[tuple[int, ...], int]:
        state = self._state.current(self._state_key) or InboxStateRecord(last=put.now)
        waiting = self._waiting.change(self._partition)
        numbers = tuple(range(state.last + 1, state.last + 1 + len(put.events)))
        for number, event in zip(numbers, put.events, strict=True):
            record = InboxRecord(
                number=number,
                type=event.type,
                received=put.now,
                size=len(event.json),
                sender=event.sender,
                encrypted=event.keys is not None,
            )
            waiting.put({number: record})
            sender_key, ed25519 = event.keys or (None, None)
            content = InboxContentRecord(json=event.json, sender_key=sender_key, ed25519=ed25519)
            self._contents.put(self._content_key(number), content)
        over = _over(waiting)
        self._remove(over)
        lost = len(over) + put.too_large
        self._put_state(last=state.last + len(numbers), lost=state.lost + lost, kept=state.kept)
        return numbers, lost

    def _remove(self, numbers: Collection[int]) -> None:
        if not self._waiting.current(self._partition).by_name.keys().isdisjoint(numbers):
            for number in self._waiting.change(self._partition).drop(numbers):
                self._contents.put(self._content_key(number), None)

    # --- listing --------------------------------------------------------------------------------------------

    def _list(self, asked: Inbox) -> InboxPage:
        listed, more = _page(self._waiting.committed(self._partition), asked)
        state = self._state.committed(self._state_key)
        return InboxPage(
            events=tuple(
                InboxEvent(number=record.number, received=record.received, event=self._event(record, content))
                for record in listed
                if (content := self._contents.committed(self._content_key(record.number))) is not None
            ),
            more=more,
            lost=0 if state is None else state.lost,
        )

    def _event(self, record: InboxRecord, stored: InboxContentRecord) -> InboxContent:
        content: JsonObject = json.loads(stored.json)
        if record.sender is None or stored.sender_key is None or stored.ed25519 is None:
            return PlainToDevice(event=content)
        known = self._senders.committed(self._sender_key(record.sender))
        device = known.device(stored.sender_key, stored.ed25519)
        identity = own_identity = None
        if known.any_signed:
            identity = self._identities.committed(self._identity_key(record.sender))
            own_identity = self._identities.committed(self._own_identity)
        return DecryptedToDevice(
            type=record.type,
            content=content,
            sender_state=sender_state(known.keys(stored.sender_key, stored.ed25519), identity, own_identity),
            sender_device=device,
            claimed_sender=record.sender,
            sender_key=stored.sender_key,
        )


def _page(waiting: _Waiting, asked: Inbox) -> tuple[list[InboxRecord], bool]:
    """What is listed, and whether there is more."""
    listed: list[InboxRecord] = []
    size = 0
    for record in waiting.by_name.values():
        if record.number > asked.after and (asked.types is None or record.type in asked.types):
            size += record.size
            if len(listed) == asked.limit or (listed and size > BYTES_A_PAGE):
                return listed, True
            listed.append(record)
    return listed, False


def _over(waiting: _Waiting) -> list[int]:
    """For which there is no room."""
    entries: dict[bool, list[tuple[int, str | None, int]]] = {False: [], True: []}
    for record in waiting.by_name.values():
        entries[record.encrypted].append((record.number, record.sender, record.size))
    number, size = MOST_EVENTS - len(entries[True]), MOST_BYTES - sum(size for *_, size in entries[True])
    return [
        *surplus(entries[False], number=number, size=size, least=SHARE),
        *surplus(entries[True], number=MOST_EVENTS, size=MOST_BYTES, least=SHARE),
    ]
