"""Taking in to-device events: decrypt each apart, believe what may be believed, keep room keys and notices.

Events are tried in their order. A pre-key message that no session matches needs the account, which is another actor,
so decryption goes in rounds: all that can be decrypted, then new sessions, and again, until none is left. A one-time
key goes to the first message that names it, as if they had been tried one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from olmstate.actors._account.actor import AccountActor, CreateInboundSessions, InboundSession
from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import devices_of
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import AddRoomKeys, AddWithheld, InboundGroupSessionsActor, NewRoomKey
from olmstate.actors._room_keys.copies import RoomKeyCopy, session_from_room_key
from olmstate.actors._to_device.actor import (
    AddSessions,
    Decrypt,
    DecryptOutcome,
    Deferred,
    NeedsSession,
    OlmSessionsActor,
    Remember,
    WereDecrypted,
)
from olmstate.actors._wire.algorithms import MEGOLM, OLM
from olmstate.actors._wire.base64 import decode as decode_base64
from olmstate.actors._wire.curve25519 import curve25519_key
from olmstate.actors._wire.olm_message import NORMAL, PRE_KEY, OlmMessage, parse_olm_message
from olmstate.actors._wire.payload import Payload, check_payload
from olmstate.actors._wire.untrusted_json import as_object, check_depth, integer, json_object, string
from olmstate.messages import (
    Curve25519Key,
    DecryptedToDevice,
    DecryptionError,
    DecryptToDevice,
    DeviceIdentity,
    Json,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    MismatchedRecipient,
    PlainToDevice,
    RejectedRoomKey,
    ReplayedMessage,
    ReplayedToDevice,
    RoomId,
    RoomKeysReceived,
    ToDeviceOutcome,
    UndecryptableToDevice,
    UserId,
)

SECRET_FIELDS = {"m.room_key": "session_key", "m.forwarded_room_key": "session_key"}


@attrs.frozen(kw_only=True)
class Intake:
    """What became of to-device events."""

    outcomes: tuple[ToDeviceOutcome, ...]
    room_keys: tuple[tuple[RoomId, MegolmSessionId], ...]
    """New or better."""


async def take_in(turn: Turn, events: Sequence[Json]) -> Intake:
    """Decrypt ``events`` and store what they bring."""
    own = (await own_device(turn)).identity
    outcomes: dict[int, ToDeviceOutcome] = {}
    encrypted: dict[int, OlmMessage] = {}
    for position, event in enumerate(events):
        opened = _open(event, own)
        if isinstance(opened, OlmMessage):
            encrypted[position] = opened
        else:
            outcomes[position] = opened
    payloads: dict[int, Payload] = {}
    plaintexts = await _decrypt(turn, encrypted)
    devices = await devices_of(turn, [events[position]["sender"] for position in sorted(plaintexts)])
    for position, plaintext in plaintexts.items():
        sender, sender_key = events[position]["sender"], encrypted[position].sender_key
        try:
            if isinstance(plaintext, DecryptionError):
                raise plaintext
            payloads[position] = payload = check_payload(
                plaintext,
                sender=sender,
                sender_key=sender_key,
                own=own,
                device=devices.by_key.get((sender, sender_key)),
                known=devices.by_user[sender],
            )
            outcomes[position] = DecryptedToDevice(
                type=payload.type,
                content=_without_secret(payload),
                sender=payload.sender,
                sender_key=sender_key,
                sender_ed25519=payload.sender_ed25519,
                sender_device=payload.device.device_id if payload.device else None,
            )
        except DecryptionError as error:
            outcomes[position] = UndecryptableToDevice(sender=sender, sender_key=sender_key, error=error)
    believed = {encrypted[position].digest: encrypted[position] for position in payloads}
    for position, outcome in outcomes.items():
        if isinstance(outcome, UndecryptableToDevice) and (
            isinstance(outcome.error, ReplayedMessage)
            or (position in encrypted and encrypted[position].digest in believed)  # came twice in this very batch
        ):
            outcomes[position] = ReplayedToDevice(sender=outcome.sender, sender_key=outcome.sender_key)
    if believed:
        await turn[OlmSessionsActor].ask(Remember(messages=tuple(believed.values())))
    room_keys = await _add_room_keys(turn, [(payloads[at], encrypted[at].sender_key) for at in sorted(payloads)])
    withheld = dict(reversed([*_withheld(events)]))  # of somebody's two notices for a session the first counts
    if withheld:
        await turn[InboundGroupSessionsActor].ask(AddWithheld(codes=withheld))
    return Intake(outcomes=tuple(outcomes[position] for position in range(len(events))), room_keys=room_keys)


async def decrypt_to_device(turn: Turn, command: DecryptToDevice) -> tuple[ToDeviceOutcome, ...]:
    """Decrypt events that came another way than by a sync."""
    return (await take_in(turn, command.events)).outcomes


def _without_secret(payload: Payload) -> JsonObject:
    content = dict(payload.content)
    if payload.type in SECRET_FIELDS:
        content.pop(SECRET_FIELDS[payload.type], None)
    return content


# --- envelopes ----------------------------------------------------------------------------------------------


def _open(event: Json, own: DeviceIdentity) -> OlmMessage | PlainToDevice | UndecryptableToDevice:
    """Check an event's shape."""
    sender_key: str | None = None
    try:
        event = as_object(event, "the event")
        if string(event, "type") != "m.room.encrypted":
            check_depth(event)  # of an encrypted one, nobody gets what is nested in it
            return PlainToDevice(event=event)
        string(event, "sender")
        content = json_object(event, "content")
        if content.get("algorithm") != OLM:
            raise MalformedMessage(reason="not an Olm message")
        sender_key = string(content, "sender_key")
        sender_key = known_as = curve25519_key(sender_key, "sender_key")
        ciphertexts = json_object(content, "ciphertext")
        if own.curve25519 not in ciphertexts:
            raise MismatchedRecipient(reason="there is no ciphertext for this device")
        ciphertext = json_object(ciphertexts, own.curve25519)
        message_type = integer(ciphertext, "type")
        if message_type not in (PRE_KEY, NORMAL):
            raise MalformedMessage(reason="no such type of Olm message")
        body = decode_base64(string(ciphertext, "body"), "body")
        return parse_olm_message(known_as, message_type, body)
    except DecryptionError as error:
        return UndecryptableToDevice(sender=_sender_of(event), sender_key=sender_key, error=error)


def _sender_of(event: Json) -> str | None:
    """The sender, worth naming whatever else is wrong with the event; None if there is none."""
    try:
        return string(as_object(event, "the event"), "sender")
    except MalformedMessage:
        return None


# --- decrypting ---------------------------------------------------------------------------------------------


async def _decrypt(turn: Turn, messages: dict[int, OlmMessage]) -> dict[int, bytes | DecryptionError]:
    """Each message's plaintext, or why there is none."""
    done: dict[int, bytes | DecryptionError] = {}
    left = dict(messages)
    while left:
        tried = await turn[OlmSessionsActor].ask(Decrypt(messages=tuple(left.values())))
        outcomes = await _name_replays(turn, left, dict(zip(left, tried, strict=True)))
        needy: list[int] = []
        first_deferred = max(left) + 1
        for position, outcome in outcomes.items():
            match outcome:
                case NeedsSession():
                    needy.append(position)
                case Deferred():
                    if left[position].pre_key is None:
                        continue  # a normal message uses up no one-time key
                    first_deferred = min(first_deferred, position)
                case _:
                    done[position] = outcome
                    del left[position]
        # those behind a deferred pre-key message wait: it may name the same one-time key, and was sent first
        now = [position for position in needy if position < first_deferred]
        if now:
            created = await _create_sessions(turn, [left[position] for position in now])
            for position, result in zip(now, created, strict=True):
                done[position] = result
                del left[position]
    return done


async def _name_replays(
    turn: Turn, messages: dict[int, OlmMessage], outcomes: dict[int, DecryptOutcome]
) -> dict[int, DecryptOutcome]:
    """``outcomes``, with those of failed messages that were decrypted before named as that."""
    suspects = [
        at
        for at, outcome in outcomes.items()
        if isinstance(outcome, DecryptionError) and not isinstance(outcome, ReplayedMessage)
    ]
    if not suspects:
        return outcomes
    asked = WereDecrypted(messages=tuple(messages[at] for at in suspects))
    known = await turn[OlmSessionsActor].ask(asked)
    return outcomes | {
        at: ReplayedMessage() for at, was_decrypted in zip(suspects, known, strict=True) if was_decrypted
    }


async def _create_sessions(turn: Turn, messages: Sequence[OlmMessage]) -> list[bytes | DecryptionError]:
    created = await turn[AccountActor].ask(CreateInboundSessions(messages=tuple(messages)))
    sessions = tuple(result for result in created if isinstance(result, InboundSession))
    if sessions:
        await turn[OlmSessionsActor].ask(AddSessions(sessions=sessions))
    return [result.plaintext if isinstance(result, InboundSession) else result for result in created]


# --- room keys and notices ----------------------------------------------------------------------------------


async def _add_room_keys(
    turn: Turn, payloads: Iterable[tuple[Payload, Curve25519Key]]
) -> tuple[tuple[RoomId, MegolmSessionId], ...]:
    new = [
        room_key
        for payload, sender_key in payloads
        if payload.type == "m.room_key" and (room_key := _room_key(payload, sender_key)) is not None
    ]
    if not new:
        return ()
    changes = await turn[InboundGroupSessionsActor].ask(AddRoomKeys(room_keys=tuple(new)))
    received = tuple(
        dict.fromkeys(
            (room_key.room_id, room_key.session_id)
            for room_key, change in zip(new, changes, strict=True)
            if change != "known"
        )
    )
    if received:
        turn.events.append(RoomKeysReceived(room_keys=received))
    return received


def _room_key(payload: Payload, sender_key: Curve25519Key) -> NewRoomKey | None:
    """The room key in an ``m.room_key``, or None: it was decrypted, but is no key."""
    try:
        if payload.content.get("algorithm") != MEGOLM:
            return None
        session_id = MegolmSessionId(string(payload.content, "session_id"))
        return NewRoomKey(
            room_id=RoomId(string(payload.content, "room_id")),
            session_id=session_id,
            copy=RoomKeyCopy(
                session=session_from_room_key(string(payload.content, "session_key"), session_id),
                sender_key=sender_key,
                sender_ed25519=payload.sender_ed25519,
                sender=payload.sender,
                sender_device=payload.device.device_id if payload.device else None,
                imported=False,
                signed=True,
            ),
        )
    except (MalformedMessage, RejectedRoomKey):
        return None


def _withheld(events: Sequence[Json]) -> Iterable[tuple[tuple[RoomId, MegolmSessionId, UserId], str]]:
    """The withheld notices among the events (spec: m.room_key.withheld); one without a session says nothing of any."""
    for event in events:
        try:
            if as_object(event, "the event").get("type") == "m.room_key.withheld":
                content = json_object(event, "content")
                room_id, session_id = RoomId(string(content, "room_id")), MegolmSessionId(string(content, "session_id"))
                yield (room_id, session_id, UserId(string(event, "sender"))), string(content, "code")
        except MalformedMessage:
            continue
