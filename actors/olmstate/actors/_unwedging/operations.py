"""Repairing Olm sessions that are of no use (spec: Recovering from undecryptable messages).

If a known device's message can't be decrypted, or it says that it couldn't make a session, a key of its is claimed.
With the new session goes an ``m.dummy``, so that the device has it, too. If it is the other side that begins a new
session, it may have lost what came on the old ones: it is sent again the room keys that it was sent, from the same
index on.

Anybody can claim that a message comes from a device. So each is done for a device at most so often.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import devices_of, look_up
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import NewRequest, PendingRequests, PutRequests, RequestsActor
from olmstate.actors._rooms.actor import Offered, OutboundGroupSessionsActor
from olmstate.actors._to_device.actor import OlmSessionsActor, SentRoomKeys
from olmstate.actors._to_device.claims import claim_keys
from olmstate.actors._to_device.handlers import DecryptedEvent, PlainEvent
from olmstate.actors._to_device.sending import DEVICES_A_REQUEST, encrypt_to, to_device_request
from olmstate.actors._wire.algorithms import OLM
from olmstate.actors._wire.curve25519 import curve25519_key
from olmstate.actors._wire.olm_message import OlmMessage
from olmstate.actors._wire.untrusted_json import json_object, string
from olmstate.messages import (
    Curve25519Key,
    DeviceAddress,
    DeviceKeys,
    DeviceTrust,
    MalformedMessage,
    MegolmSessionId,
    OutboundRoomKey,
    RequestKind,
    RoomId,
    UserId,
)

from .actor import HOUR, PutRepairs, Repair, Repairs, UnwedgingActor

DEVICES_AT_ONCE: Final = 64
"""Looked up without giving other tasks a chance."""
TIMES_AN_HOUR: Final = 4
"""That a device's room keys are sent again: a hostile one could begin one session after another."""
_NONE: Final = Repair()
MOST_WAITING: Final = 64
"""Room keys that wait to be sent again to a device: nobody may be sending any."""


async def mend(turn: Turn, messages: Sequence[OlmMessage]) -> None:
    """Messages can't be decrypted: have new sessions with their devices."""
    await _have_sessions(turn, {(UserId(olm.sender), olm.sender_key) for olm in messages})


async def receive_no_olm(turn: Turn, events: Sequence[PlainEvent]) -> None:
    """Devices say that they have no session with this one (spec: Reporting that decryption keys are withheld)."""
    named: set[tuple[UserId, Curve25519Key]] = set()
    for plain in events:
        try:
            content = json_object(plain.event, "content")
            if content.get("code") == "m.no_olm":
                sender_key = curve25519_key(string(content, "sender_key"), "sender_key")
                named.add((UserId(string(plain.event, "sender")), sender_key))
        except MalformedMessage:
            continue
    if named:
        await _have_sessions(turn, named)


async def _have_sessions(turn: Turn, named: Collection[tuple[UserId, Curve25519Key]]) -> None:
    """Begin a new session with each of these that is a known device, unless that was done lately."""
    itself = (await own_device(turn)).identity
    known = await devices_of(turn, {user_id for user_id, _ in named})
    devices = tuple(
        device.address
        for by_id in known.values()
        for device in by_id.values()
        if (device.user_id, device.curve25519) in named
        and OLM in device.algorithms
        and (device.user_id, device.device_id) != (itself.user_id, itself.device_id)
    )
    repairs = await turn[UnwedgingActor].ask(Repairs())
    due = {device: repair for device in devices if (repair := repairs.get(device, _NONE)).may_begin(turn.now)}
    if due:
        async for some in SlicesOf(due.items(), DEVICES_AT_ONCE):
            wanted = {device: msgspec.structs.replace(repair, wanted=turn.now) for device, repair in some}
            await turn[UnwedgingActor].ask(PutRepairs(repairs=wanted, now=turn.now))
        await claim_keys(turn, due)


async def greet(turn: Turn, devices: Sequence[DeviceAddress]) -> None:
    """There are new sessions with these devices: where that was wanted, let them have it."""
    repairs = await turn[UnwedgingActor].ask(Repairs())
    wanted = [device for device, repair in repairs.items() if repair.wanted is not None]
    if not wanted:
        return  # as nearly always, however many sessions there are
    begun = frozenset(devices)
    wanting = {device: repairs[device] for device in wanted if device in begun}
    encrypted = await encrypt_to(turn, wanting, "m.dummy", {})
    requests = [
        await to_device_request(some, inner_type="m.dummy")
        async for some in SlicesOf(encrypted.contents.items(), DEVICES_A_REQUEST)
    ]
    await turn[RequestsActor].ask(PutRequests(requests=tuple(requests), now=turn.now))
    done = {device: msgspec.structs.replace(repair, wanted=None, begun=turn.now) for device, repair in wanting.items()}
    await turn[UnwedgingActor].ask(PutRepairs(repairs=done, now=turn.now))


async def share_again(turn: Turn, events: Sequence[DecryptedEvent]) -> None:
    """Devices have begun new sessions: send them again the room keys that they may have lost with the old ones."""
    devices = {
        DeviceAddress(user_id=device.user_id, device_id=device.device_id): device.curve25519
        for event in events
        if (device := event.payload.device) is not None
    }
    sent: dict[DeviceAddress, Mapping[RoomId, MegolmSessionId]] = {}
    async for some in SlicesOf(devices, DEVICES_AT_ONCE):
        asked = SentRoomKeys(sender_keys=tuple(devices[device] for device in some))
        sent.update(zip(some, await turn[OlmSessionsActor].ask(asked), strict=True))
    known = await look_up(turn, [address for address, room_keys in sent.items() if room_keys])
    for address, keys in known.items():
        if keys.trust is DeviceTrust.BLOCKED:
            continue
        repair = (await turn[UnwedgingActor].ask(Repairs())).get(address, _NONE)
        lately = tuple(at for at in repair.shared_again if 0 <= turn.now - at < HOUR)
        if len(lately) < TIMES_AN_HOUR and await _share_again(turn, keys, sent[address]):
            done = msgspec.structs.replace(repair, shared_again=(*lately, turn.now))
            await turn[UnwedgingActor].ask(PutRepairs(repairs={address: done}, now=turn.now))


async def _share_again(turn: Turn, device: DeviceKeys, sent: Mapping[RoomId, MegolmSessionId]) -> bool:
    """Whether there was anything to send."""
    # a device's id is whatever its owner has chosen, and is not to pass for the beginning of another's
    subject = json.dumps(["again", device.user_id, device.device_id])
    pending = await turn[RequestsActor].ask(PendingRequests(kind=RequestKind.TO_DEVICE))
    waiting = sum(each.startswith(subject) for request in pending for each in request.subjects)
    requests: list[NewRequest] = []
    for room_key in await _still_current(turn, device, list(sent.items())[: max(0, MOST_WAITING - waiting)]):
        named = room_key.room_id, room_key.session_id
        encrypted = await encrypt_to(
            turn, [device.address], "m.room_key", room_key.content, {device.address: device}, room_key=named
        )
        # of its own, so that none waits for another
        subjects = (subject + secrets.token_hex(4),)
        requests.append(await to_device_request(encrypted.contents.items(), subjects=subjects, inner_type="m.room_key"))
    await turn[RequestsActor].ask(PutRequests(requests=tuple(requests), now=turn.now))
    return bool(requests)


async def _still_current(
    turn: Turn, device: DeviceKeys, sent: Iterable[tuple[RoomId, MegolmSessionId]]
) -> list[OutboundRoomKey]:
    """Those room keys that are still in use, each as the device was first sent it."""
    current: list[OutboundRoomKey] = []
    for room_id, session_id in sent:
        asked = Offered(room_id=room_id, session_id=session_id, device=device.address, curve25519=device.curve25519)
        room_key = await turn[OutboundGroupSessionsActor].ask(asked)
        if room_key is not None:
            current.append(room_key)
    return current
