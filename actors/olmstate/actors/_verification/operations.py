"""What users do in a verification, and what the clock does.

Every step is one commit: the flow's row, the requests that carry its messages, and what it has verified. So whoever is
killed, and wherever, has done all of a step or nothing of it, and any process does the next one.
"""

from __future__ import annotations

import json
import secrets
from typing import Final

from olmstate.actors._account.operations import own_device
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
    RequestKind,
    RequestVerification,
    StartSas,
    UnknownVerification,
    UserId,
    Verification,
    VerificationChanged,
)

from . import begin, events, methods
from .actor import AnyFlowDue, DropFlow, FlowKey, Flows, PutFlow, VerificationsActor
from .effects import Effect, Send, Verified
from .record import Flow, Keys
from .signing import mark_and_sign
from .step import FRESH_BYTES, Step, device_of, step
from .stored import VerificationRecord, WaitingEventRecord
from .view import STAGES, verification

OFFERED: Final = (methods.SAS,)
"""The methods that there are messages for."""
_ID_BYTES: Final = 16


async def own_address(turn: Turn) -> DeviceAddress:
    """This device."""
    own = (await own_device(turn)).identity
    return DeviceAddress(user_id=own.user_id, device_id=own.device_id)


# --- what users do ------------------------------------------------------------------------------------------


async def request_verification(turn: Turn, command: RequestVerification) -> Verification:
    """Ask a user's devices."""
    user_id = command.user_id
    devices = command.devices or tuple((await devices_of(turn, [user_id]))[user_id])
    began = begin.request_devices(
        await own_address(turn),
        user_id,
        devices,
        keys=await known_keys(turn, user_id, None),
        flow_id=secrets.token_hex(_ID_BYTES),
        offered=OFFERED,
        now=turn.now,
    )
    assert began.flow is not None  # noqa: S101 - our own request is a flow, or an error
    await keep(turn, began.flow, began.effects)
    return verification(began.flow)


async def accept_verification(turn: Turn, command: AcceptVerification) -> Verification:
    """Take the peer's request."""
    return await _do(turn, command.user_id, command.flow_id, events.AcceptRequest(methods=OFFERED))


async def start_sas(turn: Turn, command: StartSas) -> Verification:
    """Begin to compare."""
    return await _do(turn, command.user_id, command.flow_id, events.StartSas())


async def confirm_verification(turn: Turn, command: ConfirmVerification) -> Verification:
    """Both devices show the same."""
    return await _do(turn, command.user_id, command.flow_id, events.Confirm())


async def cancel_verification(turn: Turn, command: CancelVerification) -> Verification:
    """Give up, or say that the devices show different things."""
    event = events.Mismatch() if command.mismatch else events.GiveUp()
    return await _do(turn, command.user_id, command.flow_id, event)


async def _do(turn: Turn, user_id: UserId, flow_id: str, event: events.Action) -> Verification:
    record = (await turn[VerificationsActor].ask(Flows())).get((user_id, flow_id))
    if record is None or record.flow is None:
        raise UnknownVerification(user_id=user_id)
    done = await take_step(turn, record.flow, event)
    await keep(turn, done.flow, done.effects, before=record.flow, waiting=record.waiting)
    return verification(done.flow)


# --- what the clock does ------------------------------------------------------------------------------------


async def flows_due(supervisor: BesideTurns) -> bool:
    """Whether a flow's time is over."""
    return await supervisor.ask(AnyFlowDue(now=supervisor.now()))


async def end_flows(turn: Turn) -> None:
    """End the flows whose time is over, and forget those that ended long ago."""
    for key, record in (await turn[VerificationsActor].ask(Flows())).items():
        if record.due_at > turn.now:
            continue
        if record.flow is None or record.flow.ended:
            await turn[VerificationsActor].ask(DropFlow(key=key))
            continue
        done = await take_step(turn, record.flow, events.Tick())
        await keep(turn, done.flow, done.effects, before=record.flow)


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


async def keep(
    turn: Turn,
    flow: Flow,
    effects: tuple[Effect, ...],
    *,
    before: Flow | None = None,
    waiting: tuple[WaitingEventRecord, ...] = (),
) -> None:
    """Store what a step has come to, all of it in this turn's commit."""
    user_id, flow_id = UserId(flow.peer_user_id), flow.flow_id or ""
    record = VerificationRecord(user_id=user_id, flow_id=flow_id, flow=flow, waiting=() if flow.ended else waiting)
    await turn[VerificationsActor].ask(PutFlow(record=record))
    await carry_out(turn, (user_id, flow_id), effects)
    if before is None or STAGES[before.state] is not STAGES[flow.state]:
        turn.events.append(VerificationChanged(user_id=user_id, flow_id=flow_id, stage=STAGES[flow.state]))


async def carry_out(turn: Turn, key: FlowKey, effects: tuple[Effect, ...]) -> None:
    """Store the requests that a step's effects are, and what it has verified."""
    sends = tuple(_request(key, effect) for effect in effects if isinstance(effect, Send) and effect.devices)
    if sends:
        await turn[RequestsActor].ask(PutRequests(requests=sends, now=turn.now))
    for effect in effects:
        if isinstance(effect, Verified):
            await mark_and_sign(turn, effect)


def _request(key: FlowKey, send: Send) -> NewRequest:
    messages = {send.user_id: dict.fromkeys(send.devices, send.content)}
    return NewRequest(
        kind=RequestKind.TO_DEVICE,
        method="PUT",
        path=f"/_matrix/client/v3/sendToDevice/{send.type}/{{transaction_id}}",
        body=json.dumps({"messages": messages}).encode(),
        subjects=(json.dumps(["verification", *key]),),  # so they go out one after another
    )
