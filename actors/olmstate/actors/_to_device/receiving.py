"""Taking in to-device events: decrypt each apart, believe what may be believed, keep room keys and notices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import devices_of
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import AddRoomKeys, AddWithheld, InboundGroupSessionsActor, NewRoomKey
from olmstate.actors._room_keys.copies import RoomKeyCopy, session_from_room_key
from olmstate.actors._to_device.decrypting import open_messages
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


async def receive_to_device(turn: Turn, events: Sequence[Json]) -> Intake:
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
    for position, said in (
        await open_messages(turn, encrypted, _Judge(turn=turn, own=own, messages=encrypted))
    ).items():
        sender, sender_key = encrypted[position].sender, encrypted[position].sender_key
        if isinstance(said, DecryptionError):
            outcomes[position] = UndecryptableToDevice(sender=sender, sender_key=sender_key, error=said)
            continue
        payloads[position] = said
        outcomes[position] = DecryptedToDevice(
            type=said.type,
            content=_without_secret(said),
            sender=said.sender,
            sender_key=sender_key,
            sender_ed25519=said.sender_ed25519,
            sender_device=said.device.device_id if said.device else None,
        )
    believed = {encrypted[position].digest for position in payloads}
    for position, outcome in outcomes.items():
        if isinstance(outcome, UndecryptableToDevice) and (
            isinstance(outcome.error, ReplayedMessage)
            or (position in encrypted and encrypted[position].digest in believed)  # came twice in this very batch
        ):
            outcomes[position] = ReplayedToDevice(sender=outcome.sender, sender_key=outcome.sender_key)
    room_keys = await _add_room_keys(turn, [(payloads[at], encrypted[at].sender_key) for at in sorted(payloads)])
    withheld = dict(reversed([*_withheld(events)]))  # of somebody's two notices for a session the first counts
    if withheld:
        await turn[InboundGroupSessionsActor].ask(AddWithheld(codes=withheld))
    return Intake(outcomes=tuple(outcomes[position] for position in range(len(events))), room_keys=room_keys)


async def decrypt_to_device(turn: Turn, command: DecryptToDevice) -> tuple[ToDeviceOutcome, ...]:
    """Decrypt events that came another way than by a sync."""
    return (await receive_to_device(turn, command.events)).outcomes


@attrs.frozen(kw_only=True)
class _Judge:
    """Decides what is believed of decrypted messages."""

    turn: Turn
    own: DeviceIdentity
    messages: Mapping[int, OlmMessage]

    async def __call__(self, plaintexts: Mapping[int, bytes]) -> dict[int, Payload | DecryptionError]:
        """What each says, or why it isn't believed."""
        devices = await devices_of(self.turn, [self.messages[position].sender for position in plaintexts])
        said: dict[int, Payload | DecryptionError] = {}
        for position, plaintext in plaintexts.items():
            olm = self.messages[position]
            try:
                said[position] = check_payload(
                    plaintext,
                    sender=olm.sender,
                    sender_key=olm.sender_key,
                    own=self.own,
                    device=devices.by_key.get((olm.sender, olm.sender_key)),
                    known=devices.by_user[olm.sender],
                )
            except DecryptionError as error:
                said[position] = error
        return said


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
        sender = UserId(string(event, "sender"))
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
        return parse_olm_message(sender, known_as, message_type, body)
    except DecryptionError as error:
        return UndecryptableToDevice(sender=_sender_of(event), sender_key=sender_key, error=error)


def _sender_of(event: Json) -> str | None:
    """The sender, worth naming whatever else is wrong with the event; None if there is none."""
    try:
        return string(as_object(event, "the event"), "sender")
    except MalformedMessage:
        return None


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
