"""Parking events, and learning that their keys have come."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec
import trio
from vodozemac import MegolmMessage

from olmstate.actors._engine.capability import Asking
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import InboundGroupSessionsActor, KnownOfSession, LookUpSessions
from olmstate.actors._wire.algorithms import ENCRYPTED, MEGOLM
from olmstate.actors._wire.untrusted_json import as_object, dumps, if_sound, json_object, string
from olmstate.messages import (
    DecryptionError,
    EventId,
    EventsParked,
    EventsReadable,
    ForgetParkedEvents,
    Json,
    MalformedMessage,
    MegolmSessionId,
    MissingRoomKey,
    ParkedEvent,
    ParkedEvents,
    ParkEvents,
    RoomId,
    RoomKeyWithheld,
    UnknownMessageIndex,
)

from .actor import (
    EventName,
    NewParkedEvent,
    Park,
    ParkedContents,
    ParkedEventsActor,
    ParkedOf,
    ParkedRecords,
    Unpark,
    UpdateParked,
)
from .stored import ParkedContentRecord, ParkedEventRecord

MOST_CHARACTERS: Final = 256 * 1024
"""Of an event. The spec lets one have 64 KiB."""
EVENTS_AT_ONCE: Final = 12
"""Looked at, or looked up, without giving other tasks a chance."""
CHARACTERS_AT_ONCE: Final = 64 * 1024
"""Of events that are listed: half a millisecond. Small ones count as larger, so that there are no more than
`EVENTS_AT_ONCE`."""


async def park_events(turn: Turn, command: ParkEvents) -> EventsParked:
    """Keep those whose keys aren't there."""
    new: list[NewParkedEvent] = []
    readable: list[EventName] = []
    rejected: list[MalformedMessage] = []
    async for some in SlicesOf(command.events, EVENTS_AT_ONCE):
        for room_id, event in some:
            try:
                new.append(_checked(room_id, event))
            except MalformedMessage as error:
                rejected.append(error)
    dropped: list[EventName] = []
    async for few in SlicesOf(new, EVENTS_AT_ONCE):
        dropped += await turn[ParkedEventsActor].ask(Park(events=few, now=turn.now))
    await look_again(turn, {(each.room_id, each.session_id) for each in new}, tell=False)
    parked = await turn[ParkedEventsActor].ask(
        ParkedOf(sessions=frozenset((each.room_id, each.session_id) for each in new))
    )
    named = {(each.room_id, each.event_id): None for each in new}
    can_be_read = {(record.room_id, record.event_id) for record in parked if record.readable}
    readable = [name for name in named if name in can_be_read]
    await _unpark(turn, readable)
    gone = {*readable, *dropped}
    return EventsParked(
        parked=tuple(name for name in named if name not in gone),
        readable=tuple(readable),
        rejected=tuple(rejected),
        dropped=tuple(dropped),
    )


def _checked(room_id: RoomId, event: Json) -> NewParkedEvent:
    event = as_object(event, "the event")
    content = json_object(event, "content")
    if string(event, "type") != ENCRYPTED or content.get("algorithm") != MEGOLM:
        raise MalformedMessage(reason="not a Megolm message")
    try:
        message = MegolmMessage.from_base64(string(content, "ciphertext"))
    except ValueError as error:
        raise MalformedMessage(reason=type(error).__name__) from None  # its text may quote the event
    text = dumps(event)
    if len(text) > MOST_CHARACTERS:
        raise MalformedMessage(reason="the event is too large to be parked")
    return NewParkedEvent(
        room_id=room_id,
        event_id=EventId(string(event, "event_id")),
        session_id=MegolmSessionId(string(content, "session_id")),
        sender=if_sound(string, event, "sender"),
        message_index=message.message_index(),
        event=text,
    )


async def list_parked_events(supervisor: Asking, procedure: ParkedEvents) -> tuple[ParkedEvent, ...]:
    """What waits, and why; what is forgotten meanwhile isn't there."""
    records = await supervisor.ask(ParkedRecords(room_id=procedure.room_id, readable=procedure.readable))
    listed: list[ParkedEvent] = []
    async for some in SlicesOf(records, CHARACTERS_AT_ONCE, _work_to_list):
        contents = await supervisor.ask(ParkedContents(events=tuple((each.room_id, each.event_id) for each in some)))
        await trio.lowlevel.checkpoint()
        listed += [_listed(record, each) for record, each in zip(some, contents, strict=True) if each is not None]
    return tuple(listed)


def _work_to_list(record: ParkedEventRecord) -> int:
    return record.size + CHARACTERS_AT_ONCE // EVENTS_AT_ONCE


def _listed(record: ParkedEventRecord, content: ParkedContentRecord) -> ParkedEvent:
    return ParkedEvent(
        room_id=record.room_id,
        event_id=record.event_id,
        session_id=record.session_id,
        message_index=record.message_index,
        parked=record.parked,
        cause=_cause(record),
        event=json.loads(content.event),
    )


def _cause(record: ParkedEventRecord) -> DecryptionError | None:
    if record.readable:
        return None
    first = record.first_known_index
    if record.withheld is not None:
        return RoomKeyWithheld(code=record.withheld, reason=record.withheld_reason, first_known_index=first)
    if first is not None:
        return UnknownMessageIndex(message_index=record.message_index, first_known_index=first)
    return MissingRoomKey(room_id=record.room_id, session_id=record.session_id)


async def forget_parked_events(turn: Turn, command: ForgetParkedEvents) -> None:
    """Park them no more."""
    await _unpark(turn, command.events)


async def _unpark(turn: Turn, events: Iterable[EventName]) -> None:
    async for some in SlicesOf(events, EVENTS_AT_ONCE):
        await turn[ParkedEventsActor].ask(Unpark(events=some))


async def sessions_learnt(turn: Turn, sessions: Collection[tuple[RoomId, MegolmSessionId]]) -> None:
    """Keys, or withheld notices, have come."""
    await look_again(turn, sessions)


async def look_again(turn: Turn, sessions: Collection[tuple[RoomId, MegolmSessionId]], *, tell: bool = True) -> None:
    """Learn which events of these sessions can be read by now, and why the others can't."""
    waiting = await turn[ParkedEventsActor].ask(ParkedOf(sessions=frozenset(sessions)))
    changed: list[ParkedEventRecord] = []
    async for some in SlicesOf([record for record in waiting if not record.readable], EVENTS_AT_ONCE):
        asked = LookUpSessions(sessions=tuple((each.room_id, each.session_id, each.sender) for each in some))
        known = await turn[InboundGroupSessionsActor].ask(asked)
        changed += _changed(some, known)
    if changed:
        await turn[ParkedEventsActor].ask(UpdateParked(records=tuple(changed)))
    readable = tuple((record.room_id, record.event_id) for record in changed if record.readable)
    if readable and tell:
        turn.events.append(EventsReadable(events=readable))


def _changed(records: Sequence[ParkedEventRecord], known: Sequence[KnownOfSession]) -> list[ParkedEventRecord]:
    """Those that are other than before."""
    now = [_as_known(*each) for each in zip(records, known, strict=True)]
    return [new for new, before in zip(now, records, strict=True) if new != before]


def _as_known(record: ParkedEventRecord, known: KnownOfSession) -> ParkedEventRecord:
    first = known.first_known_index
    return msgspec.structs.replace(
        record,
        readable=first is not None and first <= record.message_index,
        first_known_index=first,
        withheld=None if known.withheld is None else known.withheld.code,
        withheld_reason=None if known.withheld is None else known.withheld.reason,
    )
