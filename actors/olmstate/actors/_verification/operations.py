"""What users do in a verification, and what the clock does.

Every step is one commit: the flow's row, the requests that carry its messages, and what it has verified. So whoever is
killed, and wherever, has done all of a step or nothing of it, and any process does the next one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from olmstate.actors._account.operations import own_device
from olmstate.actors._device_lists.actor import AskNoMore, DeviceListsActor
from olmstate.actors._devices.operations import devices_of
from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.identity import ids_clash
from olmstate.actors._identities.known import KnownIdentity, own_state
from olmstate.actors._identities.operations import known_identities
from olmstate.actors._identities.trust import OwnState
from olmstate.actors._requests.actor import NewRequest, PutRequests, RequestsActor
from olmstate.messages import (
    AcceptVerification,
    CancelVerification,
    ConfirmVerification,
    DeviceAddress,
    DeviceId,
    Ed25519Key,
    EventId,
    MarkVerificationMessageRefused,
    MarkVerificationMessageSent,
    RequestKind,
    RequestVerification,
    ScanQrCode,
    ShowQrCode,
    StartSas,
    UnknownVerification,
    UserId,
    Verification,
    VerificationChanged,
)

from . import begin, events, methods
from .actor import AnyFlowDue, DropFlow, FlowKey, Flows, PutFlow, VerificationsActor
from .effects import Effect, Send, Verified
from .points import OWN_IDENTITY_VERIFIED
from .record import Flow, Keys
from .signing import mark_and_sign
from .step import FRESH_BYTES, Step, device_of, step
from .stored import RoomMessageRecord, VerificationRecord, WaitingEventRecord
from .view import STAGES, verification

_ID_BYTES: Final = 16


async def own_address(turn: Turn) -> DeviceAddress:
    """This device."""
    own = (await own_device(turn)).identity
    return DeviceAddress(user_id=own.user_id, device_id=own.device_id)


# --- what users do ------------------------------------------------------------------------------------------


async def request_verification(turn: Turn, command: RequestVerification) -> Verification:
    """Ask a user's devices, or whoever of a user's is in a room."""
    user_id, flow_id = command.user_id, secrets.token_hex(_ID_BYTES)
    keys, offered = await known_keys(turn, user_id, None), methods.of_program(command.methods)
    own = await own_address(turn)
    if command.room_id is None:
        devices = command.devices or tuple((await devices_of(turn, [user_id]))[user_id])
        began = begin.request_devices(own, user_id, devices, keys=keys, flow_id=flow_id, offered=offered, now=turn.now)
    else:
        began = begin.request_in_room(
            own, user_id, command.room_id, keys=keys, txn_id=flow_id, offered=offered, now=turn.now
        )
    assert began.flow is not None  # noqa: S101 - our own request is a flow, or an error
    return verification(await keep(turn, VerificationRecord(user_id=user_id, flow_id=flow_id), began))


async def accept_verification(turn: Turn, command: AcceptVerification) -> Verification:
    """Take the peer's request."""
    accepted = events.AcceptRequest(methods=methods.of_program(command.methods))
    return await _do(turn, command.user_id, command.flow_id, accepted)


async def start_sas(turn: Turn, command: StartSas) -> Verification:
    """Begin to compare."""
    return await _do(turn, command.user_id, command.flow_id, events.StartSas())


async def show_qr_code(turn: Turn, command: ShowQrCode) -> Verification:
    """Show a code, or the same again."""
    return await _do(turn, command.user_id, command.flow_id, events.ShowQr())


async def scan_qr_code(turn: Turn, command: ScanQrCode) -> Verification:
    """The peer's code was scanned."""
    return await _do(turn, command.user_id, command.flow_id, events.ScanQr(data=command.data))


async def confirm_verification(turn: Turn, command: ConfirmVerification) -> Verification:
    """Both devices show the same, or the peer's device says that it has scanned."""
    return await _do(turn, command.user_id, command.flow_id, events.Confirm())


async def cancel_verification(turn: Turn, command: CancelVerification) -> Verification:
    """Give up, or say that the devices show different things."""
    event = events.Mismatch() if command.mismatch else events.GiveUp()
    return await _do(turn, command.user_id, command.flow_id, event)


async def _do(turn: Turn, user_id: UserId, flow_id: str, event: events.Action) -> Verification:
    record = (await turn[VerificationsActor].ask(Flows())).get((user_id, flow_id))
    if record is None or record.flow is None:
        raise UnknownVerification(user_id=user_id)
    return verification(await go_on(turn, record, event))


# --- what becomes of messages to rooms ----------------------------------------------------------------------


async def mark_message_sent(turn: Turn, command: MarkVerificationMessageSent) -> None:
    """It is in the room."""
    await message_is_sent(turn, command.transaction_id, command.event_id)


async def message_is_sent(turn: Turn, transaction_id: str, event_id: EventId) -> None:
    """The homeserver has taken a message: it has said so, or the message was seen in the room."""
    record = await _without_message(turn, transaction_id)
    if record is not None and record.flow is not None and record.flow.txn_id == transaction_id:
        await go_on(turn, record, events.Sent(event_id=event_id))


async def mark_message_refused(turn: Turn, command: MarkVerificationMessageRefused) -> None:
    """It never will be in the room."""
    record = await _without_message(turn, command.transaction_id)
    if record is not None and record.flow is not None and record.flow.txn_id == command.transaction_id:
        await go_on(turn, record, events.NotSent())


async def _without_message(turn: Turn, transaction_id: str) -> VerificationRecord | None:
    """The flow that a message was of, which waits no more; None: it didn't."""
    for record in (await turn[VerificationsActor].ask(Flows())).values():
        unsent = tuple(message for message in record.unsent if message.transaction_id != transaction_id)
        if unsent != record.unsent:
            record = replace(record, unsent=unsent)  # noqa: PLW2901 - the same flow
            await turn[VerificationsActor].ask(PutFlow(record=record))
            return record
    return None


# --- what the clock does ------------------------------------------------------------------------------------


async def flows_due(supervisor: BesideTurns) -> bool:
    """Whether a flow's time is over."""
    return await supervisor.ask(AnyFlowDue(now=supervisor.now()))


async def end_flows(turn: Turn) -> None:
    """End the flows whose time is over, and forget those that ended long ago."""
    for record in (await turn[VerificationsActor].ask(Flows())).values():
        if record.due_at > turn.now:
            continue
        if record.flow is None or record.flow.ended:
            await forget(turn, record)
            continue
        await go_on(turn, record, events.Tick())


# --- parts --------------------------------------------------------------------------------------------------


async def known_keys(turn: Turn, user_id: str, device_id: str | None, *, queried: bool = False) -> Keys:
    """The keys as this turn knows them: the own device's, one of the peer's, and both users' master keys."""
    own, peer = (await own_device(turn)).identity, UserId(user_id)
    devices = (await devices_of(turn, [peer]))[peer]
    device = None if device_id is None else devices.get(DeviceId(device_id))
    identities = await known_identities(turn, (own.user_id, peer))
    ours, theirs = identities[own.user_id], identities[peer]
    return Keys(
        own_ed25519=own.ed25519,
        own_master_key=_master_key(ours),
        own_master_trusted=own_state(ours) is OwnState.VERIFIED,
        peer_ed25519=None if device is None else device.ed25519,
        peer_master_key=_master_key(theirs),
        clashing=theirs is not None and theirs.identity is not None and ids_clash(theirs.identity, devices),
        queried=queried,
    )


def _master_key(known: KnownIdentity | None) -> Ed25519Key | None:
    return None if known is None or known.identity is None else known.identity.master.public_key


async def take_step(turn: Turn, flow: Flow, event: events.Event, *, queried: bool = False) -> Step:
    """One step, of which nothing is stored yet."""
    keys = await known_keys(turn, flow.peer_user_id, device_of(flow, event), queried=queried)
    return step(flow, event, now=turn.now, keys=keys, fresh=secrets.token_bytes(FRESH_BYTES))


async def go_on(turn: Turn, record: VerificationRecord, event: events.Event) -> VerificationRecord:
    """A step of a flow that is there, and all that follows."""
    assert record.flow is not None  # noqa: S101 - there is a flow
    return await keep(turn, record, await take_step(turn, record.flow, event))


async def keep(
    turn: Turn,
    before: VerificationRecord,
    done: Step | begin.Beginning,
    *,
    waiting: tuple[WaitingEventRecord, ...] = (),
) -> VerificationRecord:
    """Store what a step has come to, all of it in this turn's commit."""
    flow = done.flow
    assert flow is not None  # noqa: S101 - a flow has begun, or was there
    never_sent = flow.ended and flow.room_id is not None and flow.flow_id is None
    record = replace(
        before,
        flow=flow,
        waiting=() if flow.ended else (*before.waiting, *waiting),
        unsent=() if never_sent else (*before.unsent, *_room_messages(flow, done.effects)),
    )
    await turn[VerificationsActor].ask(PutFlow(record=record))
    await _wait_no_more(turn, before, record)
    await carry_out(turn, (record.user_id, record.flow_id), done.effects)
    stage = STAGES[flow.state]
    if before.flow is None or STAGES[before.flow.state] is not stage:
        turn.events.append(VerificationChanged(user_id=record.user_id, flow_id=record.flow_id, stage=stage))
    return record


async def forget(turn: Turn, record: VerificationRecord) -> None:
    """Forget a flow."""
    await turn[VerificationsActor].ask(DropFlow(key=(record.user_id, record.flow_id)))
    await _wait_no_more(turn, record)


async def _wait_no_more(turn: Turn, before: VerificationRecord, now: VerificationRecord | None = None) -> None:
    """Have the peer's devices be queried no more, if this was the last flow in which something waited for that."""
    if before.waiting and (now is None or not now.waiting):
        flows = await turn[VerificationsActor].ask(Flows())
        if not any(each.waiting for each in flows.values() if each.user_id == before.user_id):
            await turn[DeviceListsActor].ask(AskNoMore(users=(before.user_id,)))


def _room_messages(flow: Flow, effects: tuple[Effect, ...]) -> Iterable[RoomMessageRecord]:
    for effect in effects:
        if isinstance(effect, Send) and effect.room_id is not None:
            is_request = flow.txn_id is not None and effect.number == 0
            yield RoomMessageRecord(
                transaction_id=flow.txn_id if is_request and flow.txn_id else secrets.token_hex(_ID_BYTES),
                type=effect.type,
                content=json.dumps(effect.content).encode(),
            )


async def carry_out(turn: Turn, key: FlowKey, effects: tuple[Effect, ...]) -> None:
    """Store the requests that a step's effects are, what it has verified, and what follows from that."""
    sends = tuple(_request(key, effect) for effect in effects if isinstance(effect, Send) and effect.devices)
    if sends:
        await turn[RequestsActor].ask(PutRequests(requests=sends, now=turn.now))
    for effect in effects:
        if isinstance(effect, Verified) and await mark_and_sign(turn, effect):
            for follow in turn.additions[OWN_IDENTITY_VERIFIED]:
                await follow(turn, _subjects(key))


def _request(key: FlowKey, send: Send) -> NewRequest:
    messages = {send.user_id: dict.fromkeys(send.devices, send.content)}
    return NewRequest(
        kind=RequestKind.TO_DEVICE,
        method="PUT",
        path=f"/_matrix/client/v3/sendToDevice/{send.type}/{{transaction_id}}",
        body=json.dumps({"messages": messages}).encode(),
        subjects=_subjects(key),
        event_type=send.type,
    )


def _subjects(key: FlowKey) -> tuple[str, ...]:
    """Of a flow's requests, so that they go out one after another."""
    return (json.dumps(["verification", *key]),)


def is_about(user_id: UserId, subject: str) -> bool:
    """Whether a subject is of a flow with that user."""
    return subject.startswith(json.dumps(["verification", user_id])[:-1] + ",")
