"""Taking in to-device events of verifications, and those that had to wait until their sender's devices were known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from olmstate.actors._device_lists.actor import DeviceListsActor, Invalidated, Invalidations
from olmstate.actors._device_lists.operations import track_users
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import AnsweredRequest
from olmstate.actors._to_device.handlers import DecryptedEvent, PlainEvent
from olmstate.actors._wire.untrusted_json import json_object, string
from olmstate.messages import JsonObject, MalformedMessage, TrackUsers, UserId

from . import begin, events
from .actor import DropFlow, FlowKey, Flows, PutFlow, VerificationsActor
from .effects import AskForKeys, Effect
from .operations import carry_out, keep, known_keys, own_address, take_step
from .record import Flow
from .stored import VerificationRecord, WaitingEventRecord

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
"""At a time. What others begin beyond that is passed over, so that nobody fills the store."""
MOST_WAITING: Final = 16
"""Events of one flow; more than one has in all."""


async def receive_plain(turn: Turn, came: Sequence[PlainEvent]) -> None:
    """Take in events that came in clear."""
    for each in came:
        try:
            sender, content = string(each.event, "sender"), json_object(each.event, "content")
        except MalformedMessage:
            continue
        await _receive(turn, _waiting(turn, each.type, content, None), UserId(sender))


async def receive_decrypted(turn: Turn, came: Sequence[DecryptedEvent]) -> None:
    """Take in events that came encrypted."""
    for each in came:
        device = each.payload.device
        event = _waiting(turn, each.payload.type, each.payload.content, None if device is None else device.device_id)
        await _receive(turn, event, each.payload.sender)


def _waiting(turn: Turn, type: str, content: JsonObject, device: str | None) -> WaitingEventRecord:  # noqa: A002 - the event's field
    return WaitingEventRecord(type=type, content=json.dumps(content).encode(), sender_device=device, came=turn.now)


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


async def _receive(turn: Turn, came: WaitingEventRecord, sender: UserId, *, queried: bool = False) -> None:
    envelope = events.Envelope(sender=sender, sender_device=came.sender_device)
    try:
        event = events.parse(came.type, json.loads(came.content), envelope)
    except MalformedMessage:
        return  # there is nothing to answer
    key = (sender, event.flow_id)
    flows = await turn[VerificationsActor].ask(Flows())
    record = flows.get(key)
    if record is not None and record.waiting:
        await _wait(turn, record, came)
    elif record is not None and record.flow is not None:
        await _go_on(turn, record.flow, event, came, queried=queried)
    elif isinstance(event, events.Request | events.Start):
        if len(flows) < MOST_FLOWS:
            known = [each.flow for each in flows.values() if each.flow is not None]
            await _begin(turn, known, event, came, queried=queried)
    else:
        await carry_out(turn, key, begin.receive_unknown(event))


async def _go_on(turn: Turn, flow: Flow, event: events.Incoming, came: WaitingEventRecord, *, queried: bool) -> None:
    done = await take_step(turn, flow, event, queried=queried)
    waiting = await _awaited(turn, done.effects, came)
    if done.flow is not flow or done.effects:
        await keep(turn, done.flow, done.effects, before=flow, waiting=waiting)


async def _begin(
    turn: Turn,
    known: Iterable[Flow],
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
    waiting = await _awaited(turn, began.effects, came)
    if began.flow is not None:
        await keep(turn, began.flow, began.effects)
        others = begin.other_attempts(known, event)
        for flow in (*others, began.flow) if others else ():
            done = await take_step(turn, flow, events.SecondAttempt())
            await keep(turn, done.flow, done.effects, before=flow)
    elif waiting:
        record = VerificationRecord(user_id=sender, flow_id=event.flow_id, waiting=waiting)
        await turn[VerificationsActor].ask(PutFlow(record=record))


async def _awaited(turn: Turn, effects: tuple[Effect, ...], came: WaitingEventRecord) -> tuple[WaitingEventRecord, ...]:
    """Have the sender's devices queried, if a step wants that; the event waits for it."""
    users = tuple(UserId(effect.user_id) for effect in effects if isinstance(effect, AskForKeys))
    if not users:
        return ()
    await track_users(turn, TrackUsers(users=users))
    await turn[DeviceListsActor].ask(Invalidated(users=users))
    return (came,)


async def _wait(turn: Turn, record: VerificationRecord, came: WaitingEventRecord) -> None:
    if len(record.waiting) < MOST_WAITING:
        await turn[VerificationsActor].ask(PutFlow(record=replace(record, waiting=(*record.waiting, came))))
