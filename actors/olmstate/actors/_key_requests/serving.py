"""Answering our own verified devices' requests for room keys.

Who isn't one is refused, with the reason: anybody could say that they are our user's device, and the homeserver could
make one. A request is anybody's word until the answer is encrypted to a device that is verified.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from olmstate.actors._account.operations import own_device
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import NewRequest, PendingRequests, PutRequests, RequestsActor
from olmstate.actors._room_keys.actor import InboundGroupSessionsActor, LookUpRoomKeys
from olmstate.actors._room_keys.operations import exported_key
from olmstate.actors._to_device.claims import claim_keys
from olmstate.actors._to_device.handlers import DecryptedEvent, PlainEvent
from olmstate.actors._to_device.sending import encrypt_to, to_device_request
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.untrusted_json import json_object, string
from olmstate.messages import (
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    DeviceKeys,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    RequestKind,
    RoomId,
)

from .actor import ChangeForwards, ForwardName, KeyRequestsActor, WaitingForwards, forward_name
from .own_devices import other_own_devices, verified_own_devices
from .stored import WaitingForwardRecord

REQUESTS_AT_ONCE: Final = 12
"""Looked at without giving other tasks a chance."""
MOST_ANSWERS: Final = 100
"""That wait to be sent to a device: a request is sent again if it matters, and anybody can send some."""


async def receive_key_requests(turn: Turn, events: Sequence[PlainEvent]) -> None:
    """Serve requests, and forget those that are cancelled."""
    own = (await own_device(turn)).identity
    asked: dict[ForwardName, WaitingForwardRecord] = {}
    cancelled: list[ForwardName] = []
    async for some in SlicesOf(events, REQUESTS_AT_ONCE):
        for plain in some:
            request = _request(plain.event, own)
            if isinstance(request, WaitingForwardRecord):
                asked[forward_name(request)] = request
            elif request is not None:
                asked.pop(request, None)
                cancelled.append(request)
    if cancelled:
        await turn[KeyRequestsActor].ask(ChangeForwards(over=tuple(cancelled)))
    await _serve(turn, own, asked)


def _request(event: JsonObject, own: DeviceIdentity) -> WaitingForwardRecord | ForwardName | None:
    """What another device of our user's asks for, or the name of what it asks for no longer; None: it's neither."""
    try:
        if string(event, "sender") != own.user_id:
            return None
        content = json_object(event, "content")
        device_id = DeviceId(string(content, "requesting_device_id"))
        request_id, action = string(content, "request_id"), string(content, "action")
        if device_id == own.device_id:
            return None
        if action == "request_cancellation":
            return device_id, request_id
        body = json_object(content, "body")
        if action != "request" or body.get("algorithm") != MEGOLM:
            return None
        return WaitingForwardRecord(
            device_id=device_id,
            request_id=request_id,
            room_id=RoomId(string(body, "room_id")),
            session_id=MegolmSessionId(string(body, "session_id")),
        )
    except MalformedMessage:
        return None


async def sessions_started(turn: Turn, devices: Sequence[DeviceAddress]) -> None:
    """There are Olm sessions now with these devices: send what waited for one."""
    waiting = await turn[KeyRequestsActor].ask(WaitingForwards())
    if not waiting:
        return
    own = (await own_device(turn)).identity
    reached = {address.device_id for address in devices if address.user_id == own.user_id}
    due = {name: record for name, record in waiting.items() if record.device_id in reached}
    if due:
        await turn[KeyRequestsActor].ask(ChangeForwards(over=tuple(due)))
        await _serve(turn, own, due)


async def sessions_renewed(turn: Turn, events: Sequence[DecryptedEvent]) -> None:
    """The other side has begun the session: as good."""
    devices = [event.payload.device for event in events]
    addresses = [
        DeviceAddress(user_id=device.user_id, device_id=device.device_id) for device in devices if device is not None
    ]
    await sessions_started(turn, addresses)


async def _serve(turn: Turn, own: DeviceIdentity, asked: Mapping[ForwardName, WaitingForwardRecord]) -> None:
    """Send each key that may be sent, or say why not; what needs an Olm session waits for one."""
    if not asked:
        return
    verified, known = await verified_own_devices(turn), await other_own_devices(turn)
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.TO_DEVICE))
    subjects = [subject for each in pending for subject in each.subjects]
    answers: list[NewRequest] = []
    waiting: list[WaitingForwardRecord] = []
    async for some in SlicesOf(asked.values(), REQUESTS_AT_ONCE):
        for record in some:
            device = known.get(record.device_id)
            about = f"key answer {record.device_id} "
            if device is None or sum(subject.startswith(about) for subject in subjects) >= MOST_ANSWERS:
                continue
            answer = await _answer(turn, own, record, device, about, is_verified=record.device_id in verified)
            if answer is None:
                waiting.append(record)
            else:
                answers.append(answer)
                subjects += answer.subjects
    await turn[RequestsActor].ask(PutRequests(requests=tuple(answers), now=turn.now))
    if waiting:
        await turn[KeyRequestsActor].ask(ChangeForwards(records=tuple(waiting)))
        await claim_keys(turn, {known[record.device_id].address for record in waiting})


async def _answer(
    turn: Turn, own: DeviceIdentity, record: WaitingForwardRecord, device: DeviceKeys, about: str, *, is_verified: bool
) -> NewRequest | None:
    """None: there is no Olm session to send it on."""
    subjects = (about + secrets.token_hex(4),)
    entry = None
    if is_verified:
        asked = LookUpRoomKeys(sessions=((record.room_id, record.session_id),))
        (entry,) = await turn[InboundGroupSessionsActor].ask(asked)
    if entry is None:
        code = "m.unavailable" if is_verified else "m.unverified"
        refusal = _refusal(own, record, code)
        return await to_device_request([(device.address, refusal)], event_type="m.room_key.withheld", subjects=subjects)
    content = _forward(exported_key(entry))
    encrypted = await encrypt_to(turn, [device.address], "m.forwarded_room_key", content, {device.address: device})
    if encrypted.missing:
        return None
    return await to_device_request(encrypted.contents.items(), subjects=subjects)


def _refusal(own: DeviceIdentity, record: WaitingForwardRecord, code: str) -> JsonObject:
    return {
        "algorithm": MEGOLM,
        "room_id": record.room_id,
        "session_id": record.session_id,
        "sender_key": own.curve25519,
        "code": code,
    }


def _forward(exported: JsonObject) -> JsonObject:
    """``content`` of an ``m.forwarded_room_key``, from an entry of an export."""
    content = {**exported, "sender_claimed_ed25519_key": exported["sender_claimed_keys"]["ed25519"]}
    del content["sender_claimed_keys"]
    return content
