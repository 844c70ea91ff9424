"""The parked events actor owns room events that wait for their keys.

Its invariants:

- They are bounded, in number and in size. Those of the sender who has the most go first: any member of a room can send
  events whose keys never come.
- Whether one can be read by now is marked in the commit that brought its key.

What is known of them is one partition: a key that comes is looked up among all, and there are few. The events
themselves are rows apart, read when they are listed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from operator import attrgetter
from typing import ClassVar, Final, TypeAlias, assert_never

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.named_records import NamedRecords, NamedRecordsCodec
from olmstate.actors._engine.records import OneRecordCodec
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.shares import surplus
from olmstate.messages import (
    EventId,
    MegolmSessionId,
    Message,
    Query,
    Reply,
    RoomId,
)
from olmstate.storage import Table

from .stored import ParkedContentRecord, ParkedEventRecord

MOST_EVENTS: Final = 1_000
MOST_BYTES: Final = 8 * 1024 * 1024

EventName: TypeAlias = tuple[RoomId, EventId]
_Parked: TypeAlias = NamedRecords[EventName, ParkedEventRecord]
"""Oldest first."""


def _name(record: ParkedEventRecord) -> EventName:
    return record.room_id, record.event_id


# --- what it is asked ---------------------------------------------------------------------------------------


class NewParkedEvent(QuietStruct, kw_only=True, frozen=True):
    """An event to be parked."""

    room_id: RoomId
    event_id: EventId
    session_id: MegolmSessionId
    sender: str | None
    message_index: int
    event: str
    """JSON, in ASCII."""


class Park(QuietStruct, Message[tuple[EventName, ...]], kw_only=True, frozen=True):
    """Keep events that aren't parked yet; those that have to go for them, or for which there is no room."""

    events: tuple[NewParkedEvent, ...]
    now: int


class ParkedOf(QuietStruct, Message[tuple[ParkedEventRecord, ...]], kw_only=True, frozen=True):
    """What waits for the keys of these sessions, as this turn sees it."""

    sessions: frozenset[tuple[RoomId, MegolmSessionId]]


class UpdateParked(QuietStruct, Message[None], kw_only=True, frozen=True):
    """What is known of these is this, from now on."""

    records: tuple[ParkedEventRecord, ...]


class Unpark(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Park these no more."""

    events: tuple[EventName, ...]


class ParkedRecords(QuietStruct, Query[tuple[ParkedEventRecord, ...]], kw_only=True, frozen=True):
    """What is known of those that wait, the oldest first."""

    room_id: RoomId | None
    readable: bool


class ParkedContents(QuietStruct, Query[tuple[ParkedContentRecord | None, ...]], kw_only=True, frozen=True):
    """The events themselves, as far as they are still there."""

    events: tuple[EventName, ...]


Asked: TypeAlias = Park | ParkedOf | UpdateParked | Unpark | ParkedRecords | ParkedContents


class ParkedEventsActor(Actor[Asked]):
    """Owns room events that wait for their keys."""

    name: ClassVar[str] = "parked_events"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity(Table.PARKED_EVENTS)
        codec = NamedRecordsCodec(store, ParkedEventRecord, _name, attrgetter("number"))
        self._parked = Cache[_Parked](Table.PARKED_EVENTS, codec, capacity)
        self._contents = Cache[ParkedContentRecord | None](
            Table.PARKED_CONTENTS, OneRecordCodec(ParkedContentRecord), 0
        )
        self._partition = store.key(Table.PARKED_EVENTS, "events")
        super().__init__(environment, [self._parked, self._contents])

    def wanted(self, message: Asked) -> Wanted:
        """All that is known of them, or some of the events themselves."""
        if isinstance(message, ParkedContents):
            return ((self._contents, [self._content_key(name) for name in message.events]),)
        return ((self._parked, [self._partition]),)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case Park(events=events, now=now):
                return message.reply(self._park(events, now))
            case ParkedOf(sessions=sessions):
                records = self._parked.current(self._partition).by_name.values()
                return message.reply(tuple(each for each in records if (each.room_id, each.session_id) in sessions))
            case UpdateParked(records=records):
                parked = self._parked.change(self._partition)
                parked.put({_name(record): record for record in records if _name(record) in parked.by_name})
                return message.reply(None)
            case Unpark(events=events):
                self._unpark(events)
                return message.reply(None)
            case ParkedRecords():
                return message.reply(tuple(_asked_for(self._parked.committed(self._partition), message)))
            case ParkedContents(events=events):
                return message.reply(tuple(self._contents.committed(self._content_key(name)) for name in events))
            case _:
                assert_never(message)

    def _content_key(self, name: EventName) -> bytes:
        return self._store.key(Table.PARKED_CONTENTS, *name)

    def _park(self, events: Iterable[NewParkedEvent], now: int) -> tuple[EventName, ...]:
        parked = self._parked.current(self._partition)
        new = {(each.room_id, each.event_id): each for each in events}
        new = {name: each for name, each in new.items() if name not in parked.by_name}
        if not new:
            return ()
        parked = self._parked.change(self._partition)
        first = 1 + max((record.number for record in parked.by_name.values()), default=0)
        for number, (name, each) in enumerate(new.items(), first):
            record = ParkedEventRecord(
                room_id=each.room_id,
                event_id=each.event_id,
                session_id=each.session_id,
                sender=each.sender,
                message_index=each.message_index,
                parked=now,
                number=number,
                size=len(each.event),
            )
            parked.put({name: record})
            self._contents.put(self._content_key(name), ParkedContentRecord(event=each.event))
        over = tuple(_over(parked.by_name.values()))
        self._unpark(over)
        return over

    def _unpark(self, events: Collection[EventName]) -> None:
        if not self._parked.current(self._partition).by_name.keys().isdisjoint(events):
            for name in self._parked.change(self._partition).drop(events):
                self._contents.put(self._content_key(name), None)


def _asked_for(parked: _Parked, asked: ParkedRecords) -> list[ParkedEventRecord]:
    return [
        record
        for record in parked.by_name.values()
        if asked.room_id in (None, record.room_id) and (record.readable or not asked.readable)
    ]


def _over(records: Iterable[ParkedEventRecord]) -> Iterable[EventName]:
    """For which there is no room."""
    entries = [((record.room_id, record.event_id), record.sender, record.size) for record in records]
    return surplus(entries, number=MOST_EVENTS, size=MOST_BYTES, least=MOST_BYTES // MOST_EVENTS)
