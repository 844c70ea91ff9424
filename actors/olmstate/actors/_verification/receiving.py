"""Taking in events of verifications, of devices and of rooms, some of which wait until their sender is known.

Rule: where there is a flow, an event goes to it, whoever sent it: what that means is for the flow to say. From device
to device, a flow is one with the sender. In a room it is the one that the event names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from olmstate.actors._device_lists.actor import AskOnce, DeviceListsActor, Invalidations
from olmstate.actors._device_lists.operations import track_users
from olmstate.actors._engine.capability import Asking
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import AnsweredRequest, PendingRequests, RequestsActor
from olmstate.actors._to_device.handlers import DecryptedEvent, PlainEvent
from olmstate.actors._wire.algorithms import ENCRYPTED
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.shares import surplus
from olmstate.actors._wire.untrusted_json import as_object, dumps, if_sound, integer, json_object, string
from olmstate.messages import (
    Command,
    DecryptRoomEvent,
    EventId,
    JsonObject,
    MalformedMessage,
    ReceiveVerificationEvent,
    RequestKind,
    RoomId,
    TrackUsers,
    UserId,
    Verification,
    VerificationChanged,
    VerificationStage,
)

from . import begin, events
from .actor import DropFlow, FlowKey, Flows, PutFlow, VerificationsActor
from .effects import AskForKeys, Effect, Send
from .flow import State
from .operations import carry_out, forget, go_on, is_about, keep, known_keys, message_is_sent, own_address, take_step
from .stored import VerificationRecord, WaitingEventRecord
from .view import verification

TYPES: Final = (
    events.REQUEST,
    events.READY,
    events.START,
    events.ACCEPT,
    events.KEY,
    events.MAC,
    events.DONE,
    events.CANCEL,
)
MOST_FLOWS: Final = 256
"""At a time, so that nobody fills the store. What others begin beyond that goes in the place of what the user has begun
who has the most; what our user has done something about, never goes."""
MOST_ANSWERS: Final = 16
"""To a user that wait to be sent. Whoever has more coming is answered no more before our user has done something: each
event would have us send one or two, and what else we send would wait for those. What needs no answer is taken in all
the same: the user's other devices can't help it."""
MOST_WAITING: Final = 16
"""Events of one flow; more than one has in all."""
MOST_BYTES: Final = 32 * 1024
"""Of an event's content, and of all that wait in one flow: they are stored. An honest one has a few hundred."""


async def receive_plain(turn: Turn, came: Sequence[PlainEvent]) -> None:
    """Take in events that came in clear."""
    for each in came:
        try:
            sender, content = string(each.event, "sender"), json_object(each.event, "content")
            event = _waiting(turn, each.type, content, None)
        except MalformedMessage:
            continue
        await _receive(turn, event, UserId(sender))


async def receive_decrypted(turn: Turn, came: Sequence[DecryptedEvent]) -> None:
    """Take in events that came encrypted."""
    for each in came:
        device = each.payload.device
        event = _waiting(turn, each.payload.type, each.payload.content, None if device is None else device.device_id)
        await _receive(turn, event, each.payload.sender)


def _waiting(turn: Turn, type: str, content: JsonObject, device: str | None) -> WaitingEventRecord:  # noqa: A002 - the event's field
    return WaitingEventRecord(type=type, content=dumps(content).encode(), sender_device=device, came=turn.now)


class TakeRoomEvent(QuietStruct, Command[Verification | None], kw_only=True, frozen=True):
    """Take in an event of a room, in clear."""

    room_id: RoomId
    event_id: str
    sender: UserId
    timestamp: int
    type: str
    content: JsonObject
    sender_device: str | None
    """Of an encrypted event, if it is known."""
    transaction_id: str | None
    """Of an event that this device has sent."""


async def receive_verification_event(supervisor: Asking, procedure: ReceiveVerificationEvent) -> Verification | None:
    """Decrypt it, if it is encrypted, and take it in."""
    event, room_id = as_object(procedure.event, "the event"), procedure.room_id
    type_, content, device = string(event, "type"), json_object(event, "content"), None
    if type_ == ENCRYPTED:
        clear = await supervisor.ask(DecryptRoomEvent(room_id=room_id, event=event))
        type_, content, sender = clear.type, clear.content, clear.encryption_info.sender_device
        device = None if sender is None else sender.device_id
    if not events.is_verification(type_, content):
        return None
    unsigned = if_sound(json_object, event, "unsigned") or {}
    taken = TakeRoomEvent(
        room_id=room_id,
        event_id=string(event, "event_id"),
        sender=UserId(string(event, "sender")),
        timestamp=integer(event, "origin_server_ts"),
        type=type_,
        content=content,
        sender_device=device,
        transaction_id=if_sound(string, unsigned, "transaction_id"),
    )
    return await supervisor.ask(taken)


async def take_room_event(turn: Turn, command: TakeRoomEvent) -> Verification | None:
    """Find out whether it is our own message that comes back, and take it in."""
    came = WaitingEventRecord(
        type=command.type,
        content=dumps(command.content).encode(),
        sender_device=command.sender_device,
        came=turn.now,
        room_id=command.room_id,
        event_id=command.event_id,
        timestamp=command.timestamp,
    )
    if command.transaction_id is not None and command.sender == (await own_address(turn)).user_id:
        await message_is_sent(turn, command.transaction_id, EventId(command.event_id))
    event = _parsed(came, command.sender)
    await _receive(turn, came, command.sender)
    record = _of(await turn[VerificationsActor].ask(Flows()), event)
    return None if record is None or record.flow is None else verification(record)


async def devices_learned(turn: Turn, answered: AnsweredRequest, response: JsonObject) -> None:  # noqa: ARG001 - an answer's function
    """Users' devices were queried: take in what has waited for that."""
    flows = await turn[VerificationsActor].ask(Flows())
    if not any(record.waiting for record in flows.values()):
        return
    outdated = await turn[DeviceListsActor].ask(Invalidations())
    asked_for = set(answered.subjects)
    for key, record in flows.items():
        if record.waiting and record.user_id in asked_for and record.user_id not in outdated:
            await _retry(turn, key, record)


async def _retry(turn: Turn, key: FlowKey, record: VerificationRecord) -> None:
    if record.flow is None:
        await turn[VerificationsActor].ask(DropFlow(key=key))
    else:
        await turn[VerificationsActor].ask(PutFlow(record=replace(record, waiting=())))
    for event in record.waiting:
        await _receive(turn, event, record.user_id, queried=True)


# --- one event ----------------------------------------------------------------------------------------------


def _parsed(came: WaitingEventRecord, sender: UserId) -> events.Incoming:
    envelope = events.Envelope(
        sender=sender,
        room_id=came.room_id,
        sender_device=came.sender_device,
        event_id=came.event_id,
        timestamp=came.timestamp,
    )
    return events.parse(came.type, json.loads(came.content), envelope)


def _of(flows: Mapping[FlowKey, VerificationRecord], event: events.Incoming) -> VerificationRecord | None:
    """What is known of an event's flow."""
    sender, room_id = UserId(event.envelope.sender), event.envelope.room_id
    if room_id is not None:
        for each in flows.values():
            if each.flow and (each.flow.room_id, each.flow.flow_id) == (room_id, event.flow_id):
                return each
    record = flows.get((sender, event.flow_id))
    # nobody else may use the id of another's flow, of a device or in a room
    rooms = set[str | None]() if record is None else {each.room_id for each in record.waiting}
    if record is not None and record.flow is not None:
        rooms.add(record.flow.room_id)
    return record if room_id in rooms else None


async def _receive(turn: Turn, came: WaitingEventRecord, sender: UserId, *, queried: bool = False) -> None:
    if len(came.content) > MOST_BYTES:
        return
    try:
        event = _parsed(came, sender)
    except MalformedMessage:
        return  # there is nothing to answer
    flows = await turn[VerificationsActor].ask(Flows())
    record = _of(flows, event)
    if record is not None and record.waiting and record.user_id == sender:
        await _wait(turn, record, came)  # what waits is the peer's: in a room, others name the flow, too
    elif record is not None and record.flow is not None:
        await _take(turn, record, event, came, queried=queried)
    elif isinstance(event, events.Request | events.Start):
        if (sender, event.flow_id) not in flows and await _has_room(turn, flows):
            await _begin(turn, flows.values(), event, came, queried=queried)
    else:
        answers = begin.receive_unknown(event)
        if await _may_answer(turn, sender, answers):
            await carry_out(turn, (sender, event.flow_id), answers)


async def _may_answer(turn: Turn, user_id: UserId, effects: Iterable[Effect]) -> bool:
    """Whether nothing would be sent, or not too much waits to be sent to that user."""
    return not any(isinstance(effect, Send) for effect in effects) or await _has_answers_left(turn, user_id)


async def _has_answers_left(turn: Turn, user_id: UserId) -> bool:
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.TO_DEVICE))
    return sum(is_about(user_id, subject) for each in pending for subject in each.subjects) < MOST_ANSWERS


async def _has_room(turn: Turn, flows: dict[FlowKey, VerificationRecord]) -> bool:
    """Whether one more may begin; others go for it, if need be."""
    idle = sorted(filter(_is_idle, flows.values()), key=lambda record: (_is_live(record), record.due_at))
    room = MOST_FLOWS - 1 - (len(flows) - len(idle))
    for record in surplus(((each, each.user_id, 0) for each in idle), number=room):
        key = record.user_id, record.flow_id
        del flows[key]
        await forget(turn, record)
        if _is_live(record):
            stage = VerificationStage.DISMISSED
            turn.events.append(VerificationChanged(user_id=record.user_id, flow_id=record.flow_id, stage=stage))
    return len(flows) < MOST_FLOWS


def _is_live(record: VerificationRecord) -> bool:
    return record.flow is not None and not record.flow.ended


def _is_idle(record: VerificationRecord) -> bool:
    """Whether it is over, or our user has done nothing about it yet."""
    return record.flow is None or record.flow.ended or record.flow.state in (State.REQUESTED, State.START_RECEIVED)


async def _take(
    turn: Turn, record: VerificationRecord, event: events.Incoming, came: WaitingEventRecord, *, queried: bool
) -> None:
    assert record.flow is not None  # noqa: S101 - there is a flow
    done = await take_step(turn, record.flow, event, queried=queried)
    if _is_idle(record) and not await _may_answer(turn, record.user_id, done.effects):
        return
    waiting = await _awaited(turn, done.effects, came)
    if done.flow is not record.flow or done.effects:
        await keep(turn, record, done, waiting=waiting)


async def _begin(
    turn: Turn,
    known: Iterable[VerificationRecord],
    event: events.Request | events.Start,
    came: WaitingEventRecord,
    *,
    queried: bool,
) -> None:
    sender = UserId(event.envelope.sender)
    own = await own_address(turn)
    keys = await known_keys(turn, sender, event.from_device, queried=queried)
    began = (
        begin.receive_request(own, event, now=came.came, keys=keys)
        if isinstance(event, events.Request)
        else begin.receive_start(own, event, now=came.came, keys=keys)
    )
    if not await _may_answer(turn, sender, began.effects):
        return
    waiting = await _awaited(turn, began.effects, came)
    record = VerificationRecord(user_id=sender, flow_id=event.flow_id, waiting=waiting)
    if began.flow is not None:
        begun = await keep(turn, record, began)
        begun_before = (each.flow for each in known if each.flow is not None)
        attempts = begin.other_attempts(begun_before, event, now=turn.now)
        others = [each for each in known if each.flow in attempts]
        if others and await _has_answers_left(turn, sender):
            for each in (*others, begun):
                await go_on(turn, each, events.SecondAttempt())
    elif waiting:
        await turn[VerificationsActor].ask(PutFlow(record=record))


async def _awaited(turn: Turn, effects: tuple[Effect, ...], came: WaitingEventRecord) -> tuple[WaitingEventRecord, ...]:
    """Have the sender's devices queried, if a step wants that; the event waits for it.

    The sender isn't tracked for that: anybody can ask, and would be queried for ever. Our own user is, as always.
    """
    users = tuple(UserId(effect.user_id) for effect in effects if isinstance(effect, AskForKeys))
    if not users:
        return ()
    await track_users(turn, TrackUsers(users=()))
    await turn[DeviceListsActor].ask(AskOnce(users=users))
    return (came,)


async def _wait(turn: Turn, record: VerificationRecord, came: WaitingEventRecord) -> None:
    waiting = sum(len(each.content) for each in record.waiting)
    if len(record.waiting) < MOST_WAITING and waiting + len(came.content) <= MOST_BYTES:
        await turn[VerificationsActor].ask(PutFlow(record=replace(record, waiting=(*record.waiting, came))))
