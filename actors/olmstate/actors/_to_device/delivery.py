"""Sending an app's event to devices: stored, encrypted, in the commit that steps the sessions, and then delivered.

Rule: nothing of the event is stored before it can be encrypted to all devices that can be reached now. After that it
goes out, by the same transaction id each time, whatever becomes of the asker and of its process.
"""

from __future__ import annotations

from collections.abc import Sequence

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import distinct, look_up
from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import PutRequests, RequestsActor
from olmstate.actors._requests.courier import Courier
from olmstate.actors._wire.algorithms import OLM
from olmstate.actors._wire.payload import encode_payload
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import (
    Command,
    DeviceAddress,
    DeviceKeys,
    DeviceTrust,
    JsonObject,
    NoTransport,
    RequestDelayed,
    RequestId,
    RequestKind,
    SendToDevice,
    SentToDevice,
    UpdateDevices,
)

from .claims import PreparedClaims, claim_keys, subject_of, without_session
from .sending import DEVICES_A_REQUEST, encrypt_to, to_device_request


class ClaimForDevices(QuietStruct, Command[PreparedClaims], kw_only=True, frozen=True):
    """Claim a key of each of these devices that has no Olm session, unless somebody does."""

    devices: tuple[DeviceAddress, ...]


class PreparedToDevice(QuietStruct, kw_only=True, frozen=True):
    """An event on its way."""

    request_ids: tuple[RequestId, ...]
    missing: tuple[DeviceAddress, ...]


class PrepareToDevice(QuietStruct, Command[PreparedToDevice], kw_only=True, frozen=True):
    """Encrypt an event to these devices, and store the requests that send it."""

    devices: tuple[DeviceAddress, ...]
    type: str
    content: JsonObject


async def send_to_device(supervisor: BesideTurns, procedure: SendToDevice) -> SentToDevice:
    """Learn the devices, have a session with each, and send the event."""
    courier, patience = supervisor.services[Courier], procedure.patience
    encode_payload({"type": procedure.type, "content": procedure.content})  # what can't be sent costs nobody a key
    users = tuple(dict.fromkeys(device.user_id for device in procedure.devices))
    await supervisor.ask(UpdateDevices(users=users, patience=patience))
    claims = await supervisor.ask(ClaimForDevices(devices=procedure.devices))
    try:
        await courier.deliver(RequestKind.KEYS_CLAIM, claims.request_ids, patience=patience)
    except RequestDelayed:
        pass  # the others can be reached
    else:
        kind = RequestKind.KEYS_CLAIM
        await courier.wait_until_free(kind, claims.asked_for.__contains__, patience=patience)
    prepared = await supervisor.ask(
        PrepareToDevice(devices=procedure.devices, type=procedure.type, content=procedure.content)
    )
    try:
        await courier.deliver(RequestKind.TO_DEVICE, prepared.request_ids, patience=patience)
    except (NoTransport, RequestDelayed):
        return SentToDevice(delivered=False, missing=prepared.missing)
    return SentToDevice(delivered=True, missing=prepared.missing)


async def claim_for_devices(turn: Turn, command: ClaimForDevices) -> PreparedClaims:
    """Nobody's keys are used up who isn't written to."""
    able = await _able(turn, command.devices)
    return await claim_keys(turn, await without_session(turn, able.values()))


async def prepare_to_device(turn: Turn, command: PrepareToDevice) -> PreparedToDevice:
    """Step the sessions, and store what leaves, in one commit."""
    able = await _able(turn, command.devices)
    encrypted = await encrypt_to(turn, able, command.type, command.content, able)
    requests = [
        # one after another to each device, as they were sent
        await to_device_request(
            some, subjects=tuple(f"sent {subject_of(device)}" for device, _ in some), inner_type=command.type
        )
        async for some in SlicesOf(encrypted.contents.items(), DEVICES_A_REQUEST)
    ]
    request_ids = await turn[RequestsActor].ask(PutRequests(requests=tuple(requests), now=turn.now))
    devices = await distinct(command.devices)
    missing = tuple(device for device in devices if device not in encrypted.contents)
    return PreparedToDevice(request_ids=request_ids, missing=missing)


async def _able(turn: Turn, devices: Sequence[DeviceAddress]) -> dict[DeviceAddress, DeviceKeys]:
    """The keys of those devices that may be written to."""
    own = (await own_device(turn)).identity
    known = await look_up(turn, await distinct(devices))
    return {
        address: device
        for address, device in known.items()
        if device.trust is not DeviceTrust.BLOCKED
        and OLM in device.algorithms
        and (device.user_id, device.device_id) != (own.user_id, own.device_id)
    }
