"""Asking for room keys, and taking in what is forwarded (spec: m.room_key_request, m.forwarded_room_key).

Rule: what ends a request can't be somebody else's doing (decision 0079). The sender's own key ends it, and our user's
program. What is forwarded is kept beside what is there, and the next one is taken, too.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain, starmap
from operator import attrgetter
from typing import Final

import msgspec

from olmstate.actors._account.operations import own_identity
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import InboundGroupSessionsActor, KnownOfSession, LookUpSessions, NewRoomKey
from olmstate.actors._room_keys.message_indices import index_of
from olmstate.actors._room_keys.notices import UNAVAILABLE, Notice
from olmstate.actors._room_keys.operations import room_key_from_export
from olmstate.actors._room_keys.points import tell_of_room_keys
from olmstate.actors._room_keys.receiving import keep_notices, keep_room_keys, notices_of
from olmstate.actors._to_device.handlers import DecryptedEvent, PlainEvent
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.untrusted_json import as_object, json_object, string, strings
from olmstate.messages import (
    CancelRoomKeyRequests,
    Curve25519Key,
    DeviceId,
    DeviceIdentity,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    RejectedRoomKey,
    RequestRoomKeys,
    RoomId,
    RoomKeyRequestRefused,
    RoomKeysRequested,
    UserId,
)

from .actor import ChangeRequests, KeyRequestsActor, OpenRequests, Session, session_of
from .asks import Ask, ask_own_devices
from .own_devices import other_own_devices, sent_by, verified_own_devices
from .stored import KeyRequestRecord

SESSIONS_AT_ONCE: Final = 12
"""Looked up, or their keys checked, without giving other tasks a chance."""
STORED_AT_ONCE: Final = 48
"""The same, where each time the oldest of a thousand may have to go."""
REQUEST: Final = "m.room_key_request"
_ID_BYTES: Final = 16
_first_known_index: Final[Callable[[KnownOfSession], int | None]] = attrgetter("first_known_index")
_senders_first_index: Final[Callable[[KnownOfSession], int | None]] = attrgetter("senders_first_index")


async def request_room_keys(turn: Turn, command: RequestRoomKeys) -> RoomKeysRequested:
    """Ask, or ask again under the same id."""
    devices = tuple(sorted(await verified_own_devices(turn)))
    if not devices:
        return RoomKeysRequested(devices=())
    wanted = chain(((session, None, 0) for session in command.sessions), starmap(_wanted, command.events))
    open_requests = await turn[KeyRequestsActor].ask(OpenRequests())
    number = max((record.number for record in open_requests.values()), default=0)
    records: dict[Session, KeyRequestRecord] = {}
    async for some in SlicesOf(wanted, SESSIONS_AT_ONCE):
        for session, sender, index in some:
            before = records.get(session) or open_requests.get(session)
            number += 1
            records[session] = KeyRequestRecord(
                request_id=secrets.token_hex(_ID_BYTES) if before is None else before.request_id,
                room_id=session[0],
                session_id=session[1],
                made=turn.now,
                number=number,
                devices=list(devices),
                sender=sender if before is None or before.sender == sender else None,
                message_index=index if before is None else min(index, before.message_index),
            )
    # a key may have come since its event was looked at, to another process even, and nothing would end the request
    there = [session_of(record) for record in await _early_enough(turn, records.values(), _senders_first_index)]
    for session in there:
        del records[session]
    await _cancel(turn, there)
    await ask_own_devices(turn, REQUEST, map(_request, records.values()))
    async for new in SlicesOf(records.values(), STORED_AT_ONCE):
        await turn[KeyRequestsActor].ask(ChangeRequests(records=new))
    return RoomKeysRequested(devices=devices if records else ())


def _wanted(room_id: RoomId, event: JsonObject) -> tuple[Session, UserId, int]:
    """The session that an event is of, its sender, and its message index."""
    event = as_object(event, "the event")
    content = json_object(event, "content")
    session = room_id, MegolmSessionId(string(content, "session_id"))
    return session, UserId(string(event, "sender")), index_of(string(content, "ciphertext")) or 0


async def cancel_room_key_requests(turn: Turn, command: CancelRoomKeyRequests) -> None:
    """Ask no longer."""
    await _cancel(turn, command.sessions)


async def sessions_learnt(turn: Turn, sessions: Collection[Session]) -> None:
    """Keys have come, from wherever: ask no longer for those that their senders have sent, early enough."""
    open_requests = await turn[KeyRequestsActor].ask(OpenRequests())
    asked_for = [open_requests[each] for each in sessions if each in open_requests]
    over = await _early_enough(turn, asked_for, _senders_first_index)
    if over:
        await _cancel(turn, map(session_of, over))


async def _early_enough(
    turn: Turn, records: Iterable[KeyRequestRecord], first_index: Callable[[KnownOfSession], int | None]
) -> list[KeyRequestRecord]:
    """Those of some requests that ask for keys which, as far as they count, begin early enough."""
    found: list[KeyRequestRecord] = []
    async for some in SlicesOf(records, SESSIONS_AT_ONCE):
        asked = LookUpSessions(sessions=tuple((*session_of(record), record.sender) for record in some))
        for record, known in zip(some, await turn[InboundGroupSessionsActor].ask(asked), strict=True):
            first = first_index(known)
            if first is not None and first <= record.message_index:
                found.append(record)
    return found


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
    answering: dict[Session, set[DeviceId]] = {}
    async for some in SlicesOf(events, SESSIONS_AT_ONCE):
        new: list[NewRoomKey] = []
        for event in some:
            device_id = sent_by(verified, event)
            room_key = None if device_id is None else _forwarded(event, own)
            if device_id is None or room_key is None:
                continue
            session = room_key.room_id, room_key.session_id
            if session in open_requests:
                new.append(room_key)
                answering.setdefault(session, set()).add(device_id)
        received |= dict.fromkeys(await keep_room_keys(turn, new))
    await _note_answers(turn, [(open_requests[session], devices) for session, devices in answering.items()])
    await tell_of_room_keys(turn, received)


async def _note_answers(turn: Turn, answers: Sequence[tuple[KeyRequestRecord, Collection[DeviceId]]]) -> None:
    """Devices have forwarded what was asked for: whoever said in their name that they wouldn't, didn't know."""
    early_enough = await _early_enough(turn, [record for record, _ in answers], _first_known_index)
    answered = set(map(session_of, early_enough))
    changed = [
        msgspec.structs.replace(
            record,
            answered=record.answered or session_of(record) in answered,
            refused={device_id: code for device_id, code in record.refused.items() if device_id not in devices},
        )
        for record, devices in answers
    ]
    await turn[KeyRequestsActor].ask(ChangeRequests(records=tuple(changed)))


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
        elif record.refused.get(device_id) != notice.withheld.code:  # the one before may have been another's word
            await _refused(turn, record, device_id, notice.withheld.code)
    # whoever doesn't have a key hasn't made it
    await keep_notices(turn, [notice for notice in others if notice.withheld.code != UNAVAILABLE])


async def _refused(turn: Turn, record: KeyRequestRecord, device_id: DeviceId, code: str) -> None:
    refused = msgspec.structs.replace(record, refused={**record.refused, device_id: code})
    await turn[KeyRequestsActor].ask(ChangeRequests(records=(refused,)))
    turn.events.append(
        RoomKeyRequestRefused(room_id=record.room_id, session_id=record.session_id, device_id=device_id, code=code)
    )
