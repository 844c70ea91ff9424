"""Asking for room keys, and taking in what is forwarded (spec: m.room_key_request, m.forwarded_room_key)."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from olmstate.actors._account.operations import own_identity
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import InboundGroupSessionsActor, LookUpSessions, NewRoomKey
from olmstate.actors._room_keys.notices import UNAVAILABLE, Notice
from olmstate.actors._room_keys.operations import room_key_from_export
from olmstate.actors._room_keys.points import tell_of_room_keys
from olmstate.actors._room_keys.receiving import keep_notices, keep_room_keys, notices_of
from olmstate.actors._to_device.handlers import DecryptedEvent, PlainEvent
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.untrusted_json import string, strings
from olmstate.messages import (
    CancelRoomKeyRequests,
    Curve25519Key,
    DeviceId,
    DeviceIdentity,
    MalformedMessage,
    RejectedRoomKey,
    RequestRoomKeys,
    RoomKeyRequestRefused,
    RoomKeysRequested,
)

from .actor import ChangeRequests, KeyRequestsActor, OpenRequests, Session, session_of
from .asks import Ask, ask_own_devices
from .own_devices import other_own_devices, sent_by, verified_own_devices
from .stored import KeyRequestRecord

SESSIONS_AT_ONCE: Final = 12
"""Looked up, or their keys checked, without giving other tasks a chance."""
REQUEST: Final = "m.room_key_request"
_ID_BYTES: Final = 16


async def request_room_keys(turn: Turn, command: RequestRoomKeys) -> RoomKeysRequested:
    """Ask, or ask again under the same id."""
    devices = tuple(sorted(await verified_own_devices(turn)))
    if not devices:
        return RoomKeysRequested(devices=())
    open_requests = await turn[KeyRequestsActor].ask(OpenRequests())
    number = max((record.number for record in open_requests.values()), default=0)
    records: list[KeyRequestRecord] = []
    async for some in SlicesOf(dict.fromkeys(command.sessions), SESSIONS_AT_ONCE):
        for session, first_known_index in (await _first_known_indices(turn, some)).items():
            before = open_requests.get(session)
            number += 1
            records.append(
                KeyRequestRecord(
                    request_id=secrets.token_hex(_ID_BYTES) if before is None else before.request_id,
                    room_id=session[0],
                    session_id=session[1],
                    made=turn.now,
                    number=number,
                    devices=list(devices),
                    first_known_index=first_known_index,
                )
            )
    await ask_own_devices(turn, REQUEST, map(_request, records))
    await turn[KeyRequestsActor].ask(ChangeRequests(records=tuple(records)))
    return RoomKeysRequested(devices=devices)


async def cancel_room_key_requests(turn: Turn, command: CancelRoomKeyRequests) -> None:
    """Ask no longer."""
    await _cancel(turn, command.sessions)


async def sessions_learnt(turn: Turn, sessions: Collection[Session]) -> None:
    """Keys have come, from wherever: ask no longer for those that are better than what was there."""
    open_requests = await turn[KeyRequestsActor].ask(OpenRequests())
    asked_for = [session for session in sessions if session in open_requests]
    over: list[Session] = []
    async for some in SlicesOf(asked_for, SESSIONS_AT_ONCE):
        for session, now in (await _first_known_indices(turn, some)).items():
            before = open_requests[session].first_known_index
            if now is not None and (before is None or now < before):
                over.append(session)
    if over:
        await _cancel(turn, over)


async def _first_known_indices(turn: Turn, sessions: Sequence[Session]) -> dict[Session, int | None]:
    asked = LookUpSessions(sessions=tuple((*session, None) for session in sessions))
    known = await turn[InboundGroupSessionsActor].ask(asked)
    return {session: each.first_known_index for session, each in zip(sessions, known, strict=True)}


async def _cancel(turn: Turn, sessions: Iterable[Session]) -> None:
    open_requests = await turn[KeyRequestsActor].ask(OpenRequests())
    records = [open_requests[session] for session in dict.fromkeys(sessions) if session in open_requests]
    if records:
        over = [Ask(request_id=record.request_id, devices=record.devices, wanted=None) for record in records]
        await ask_own_devices(turn, REQUEST, over)
        await turn[KeyRequestsActor].ask(ChangeRequests(over=tuple(map(session_of, records))))


def _request(record: KeyRequestRecord) -> Ask:
    body = {"algorithm": MEGOLM, "room_id": record.room_id, "session_id": record.session_id}
    return Ask(request_id=record.request_id, devices=record.devices, wanted={"body": body})


# --- what comes ---------------------------------------------------------------------------------------------


async def receive_forwarded_keys(turn: Turn, events: Sequence[DecryptedEvent]) -> None:
    """Keep the keys that were asked for, from our own verified devices."""
    verified = await verified_own_devices(turn)
    open_requests = await turn[KeyRequestsActor].ask(OpenRequests())
    own = await own_identity(turn)
    received: dict[Session, None] = {}
    async for some in SlicesOf(events, SESSIONS_AT_ONCE):
        new: list[NewRoomKey] = []
        for event in some:
            room_key = None if sent_by(verified, event) is None else _forwarded(event, own)
            if room_key is not None and (room_key.room_id, room_key.session_id) in open_requests:
                new.append(room_key)
        received |= dict.fromkeys(await keep_room_keys(turn, new))
    await tell_of_room_keys(turn, received)


def _forwarded(event: DecryptedEvent, own: DeviceIdentity | None) -> NewRoomKey | None:
    """The room key in an ``m.forwarded_room_key``, as from an export: who has made it is its sender's word."""
    content = event.payload.content
    try:
        chain = strings(content, "forwarding_curve25519_key_chain")
        exported = {
            **{name: content.get(name) for name in ("algorithm", "room_id", "session_id", "session_key", "sender_key")},
            "sender_claimed_keys": {"ed25519": string(content, "sender_claimed_ed25519_key")},
            "forwarding_curve25519_key_chain": [*chain, event.olm.sender_key],
        }
        return room_key_from_export(exported, own)
    except (MalformedMessage, RejectedRoomKey):
        return None


async def receive_refusals(turn: Turn, events: Sequence[PlainEvent]) -> None:
    """Our own devices say that they won't send what was asked for; or else, that they withhold what they have made."""
    own = await own_identity(turn)
    if own is None:
        return
    of_own = [each for each in await notices_of(events) if each.sender == own.user_id]
    if not of_own:
        return
    devices = {device.curve25519: device_id for device_id, device in (await other_own_devices(turn)).items()}
    others: list[Notice] = []
    for notice in of_own:
        record = (await turn[KeyRequestsActor].ask(OpenRequests())).get((notice.room_id, notice.session_id))
        device_id = None if notice.sender_key is None else devices.get(Curve25519Key(notice.sender_key))
        if record is None or device_id is None or device_id not in record.devices:
            others.append(notice)
        elif device_id not in record.refused:
            await _refused(turn, record, device_id, notice.withheld.code)
    # whoever doesn't have a key hasn't made it
    await keep_notices(turn, [notice for notice in others if notice.withheld.code != UNAVAILABLE])


async def _refused(turn: Turn, record: KeyRequestRecord, device_id: DeviceId, code: str) -> None:
    refused = msgspec.structs.replace(record, refused={**record.refused, device_id: code})
    await turn[KeyRequestsActor].ask(ChangeRequests(records=(refused,)))
    turn.events.append(
        RoomKeyRequestRefused(room_id=record.room_id, session_id=record.session_id, device_id=device_id, code=code)
    )
