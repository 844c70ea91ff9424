"""Taking in to-device events: decrypt each apart, believe what may be believed, and offer it to the handlers."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import msgspec

from olmstate.actors._account.operations import own_device
from olmstate.actors._devices.operations import fingerprints_of_others, known_senders
from olmstate.actors._devices.senders import sender_state
from olmstate.actors._engine.slices import SlicesOf
from olmstate.actors._engine.turn import Turn
from olmstate.actors._identities.operations import known_identities
from olmstate.actors._to_device.decrypting import open_messages
from olmstate.actors._to_device.handlers import (
    OLM_TROUBLE,
    DecryptedEvent,
    PlainEvent,
    offer,
    secret_fields,
    told_content,
)
from olmstate.actors._wire.algorithms import ENCRYPTED, OLM
from olmstate.actors._wire.base64 import decode as decode_base64
from olmstate.actors._wire.curve25519 import curve25519_key
from olmstate.actors._wire.olm_message import NORMAL, PRE_KEY, OlmMessage, parse_olm_message
from olmstate.actors._wire.payload import Payload, check_payload
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import as_object, check_depth, integer, is_object, json_object, string
from olmstate.actors._wire.weight import weight
from olmstate.messages import (
    DecryptedToDevice,
    DecryptionError,
    DeviceIdentity,
    Ed25519Key,
    Json,
    MalformedMessage,
    MismatchedRecipient,
    MismatchedSender,
    PlainToDevice,
    ReplayedMessage,
    ReplayedToDevice,
    SenderState,
    ToDeviceOutcome,
    UndecryptableToDevice,
    UnknownOlmSession,
    UserId,
)

EVENTS_AT_ONCE = 48
"""Looked at without giving other tasks a chance: a millisecond."""
PLAIN_EVENT = 2
"""As much work as so many is one that isn't encrypted: somebody gets it, so that all of it is looked at."""
PAYLOADS_AT_ONCE = 60
"""Checked without giving other tasks a chance: a millisecond."""
SIGNED_PAYLOAD = 5
"""As much work as so many payloads is one with the sender's device, whose signature is checked."""
CHARACTERS_AS_ONE = 2048
"""To parse so many is as much work, too."""


class _Received(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """An event, and what is known of it by now."""

    event: Json
    olm: OlmMessage | None = None
    """If it has the shape of one for this device."""
    payload: Payload | None = None
    """If it was decrypted and is believed."""
    outcome: ToDeviceOutcome | None = None
    """None: not yet known, or it waits."""

    def __repr__(self) -> str:
        """The class alone: what it says is secret."""
        return "_Received(...)"

    @property
    def decrypted(self) -> DecryptedEvent | None:
        """What the handlers get, if it was decrypted and is believed."""
        if self.payload is None or self.olm is None:
            return None
        return DecryptedEvent(payload=self.payload, olm=self.olm)


async def receive_to_device(turn: Turn, events: Sequence[Json]) -> tuple[ToDeviceOutcome | None, ...]:
    """Decrypt ``events`` and have what they bring taken in; None for one that waits, since it is over a budget."""
    own = (await own_device(turn)).identity
    received: list[_Received] = []
    async for some in SlicesOf(events, EVENTS_AT_ONCE, _work_to_open):
        received += [_open(event, own) for event in some]
    messages = {at: each.olm for at, each in enumerate(received) if each.olm is not None}
    believed: set[bytes] = set()
    began: frozenset[int] = frozenset()
    if messages:
        secrets = secret_fields(turn.additions)
        judge = _Judge(turn=turn, own=own, messages=messages)
        opened = await open_messages(turn, messages, judge)
        began = opened.began
        for at, said in opened.said.items():
            state = judge.states.get(at, SenderState.UNKNOWN_DEVICE)
            received[at].outcome = _outcome(messages[at], said, state, secrets)
            if isinstance(said, Payload):
                received[at].payload = said
                believed.add(messages[at].digest)
    await offer(turn, _decrypted(received), _plain(received))
    outcomes = tuple(_named(each, believed) for each in received)
    await _tell_of_trouble(turn, [received[at] for at in sorted(began)], zip(received, outcomes, strict=True))
    return outcomes


async def _tell_of_trouble(
    turn: Turn, began: Iterable[_Received], named: Iterable[tuple[_Received, ToDeviceOutcome | None]]
) -> None:
    renewed = list(_decrypted(began))
    failed = [
        each.olm
        for each, outcome in named
        if each.olm is not None
        and isinstance(outcome, UndecryptableToDevice)
        and isinstance(outcome.error, UnknownOlmSession)
    ]
    for trouble in turn.additions[OLM_TROUBLE]:
        if renewed:
            await trouble.renewed(turn, renewed)
        if failed:
            await trouble.undecryptable(turn, failed)


def _outcome(
    olm: OlmMessage, said: Payload | DecryptionError, state: SenderState, secrets: Mapping[str, str]
) -> ToDeviceOutcome:
    if isinstance(said, DecryptionError):
        return UndecryptableToDevice(claimed_sender=olm.sender, claimed_sender_key=olm.sender_key, error=said)
    return DecryptedToDevice(
        type=said.type,
        content=told_content(said, secrets),
        sender_state=state,
        sender_device=said.device,
        claimed_sender=said.sender,
        sender_key=olm.sender_key,
    )


def _named(each: _Received, believed: Container[bytes]) -> ToDeviceOutcome | None:
    """What became of an event: if it failed and was decrypted before, or twice in this batch, it is a replay."""
    outcome = each.outcome
    if isinstance(outcome, UndecryptableToDevice) and (
        isinstance(outcome.error, ReplayedMessage) or (each.olm is not None and each.olm.digest in believed)
    ):
        return ReplayedToDevice(claimed_sender=outcome.claimed_sender, claimed_sender_key=outcome.claimed_sender_key)
    return outcome


def _decrypted(received: Iterable[_Received]) -> Iterator[DecryptedEvent]:
    return (event for each in received if (event := each.decrypted) is not None)


def _plain(received: Iterable[_Received]) -> Iterator[PlainEvent]:
    for each in received:
        if isinstance(each.outcome, PlainToDevice):
            event = each.outcome.event
            yield PlainEvent(type=string(event, "type"), event=event)


class _Judge(QuietStruct, kw_only=True, frozen=True):
    """Decides what is believed of decrypted messages."""

    turn: Turn
    own: DeviceIdentity
    messages: Mapping[int, OlmMessage]
    states: dict[int, SenderState] = msgspec.field(default_factory=dict[int, SenderState])
    """How well founded it is who sent what is believed, if it is a known device."""

    async def __call__(self, plaintexts: Mapping[int, bytes]) -> dict[int, Payload | DecryptionError]:
        """What each says, or why it isn't believed."""
        senders = await known_senders(self.turn, [self.messages[position].sender for position in plaintexts])
        signed = [user_id for user_id, known in senders.items() if known.any_signed]
        identities = await known_identities(self.turn, {*signed, self.own.user_id}) if signed else {}
        said: dict[int, Payload | DecryptionError] = {}
        unknown: dict[int, Ed25519Key] = {}
        async for some in SlicesOf(plaintexts.items(), PAYLOADS_AT_ONCE, _work_to_check):
            for position, plaintext in some:
                olm = self.messages[position]
                known = senders[olm.sender]
                try:
                    said[position] = payload = check_payload(
                        plaintext, sender=olm.sender, sender_key=olm.sender_key, own=self.own, known=known
                    )
                except DecryptionError as error:
                    said[position] = error
                    continue
                if payload.device is None and not known.had(olm.sender_key, payload.ed25519):
                    unknown[position] = payload.ed25519
                if payload.device is not None:
                    keys = known.keys(payload.device.curve25519, payload.device.ed25519)
                    identity, own_identity = identities.get(olm.sender), identities.get(self.own.user_id)
                    self.states[position] = sender_state(keys, identity, own_identity)
        of_others = await fingerprints_of_others(self.turn, unknown.values())
        for position, ed25519 in unknown.items():
            if ed25519 in of_others:
                said[position] = MismatchedSender(reason="the payload names another device's Ed25519 key")
        return said


def _work_to_check(decrypted: tuple[int, bytes]) -> int:
    """How much it is to check a payload, before it is parsed: a name in it may be written with escapes."""
    _, plaintext = decrypted
    signed = b"sender_device_keys" in plaintext or b"\\" in plaintext
    return (SIGNED_PAYLOAD if signed else 1) + len(plaintext) // CHARACTERS_AS_ONE


# --- envelopes ----------------------------------------------------------------------------------------------


def _work_to_open(event: Json) -> int:
    return 1 if is_object(event) and event.get("type") == ENCRYPTED else PLAIN_EVENT * weight(event)


def _open(event: Json, own: DeviceIdentity) -> _Received:
    """Check an event's shape."""
    sender_key: str | None = None
    try:
        event = as_object(event, "the event")
        if string(event, "type") != ENCRYPTED:
            check_depth(event)  # of an encrypted one, nobody gets what is nested in it
            return _Received(event=event, outcome=PlainToDevice(event=event))
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
        return _Received(event=event, olm=parse_olm_message(sender, known_as, message_type, body))
    except DecryptionError as error:
        outcome = UndecryptableToDevice(claimed_sender=_sender_of(event), claimed_sender_key=sender_key, error=error)
        return _Received(event=event, outcome=outcome)


def _sender_of(event: Json) -> str | None:
    """The sender, worth naming whatever else is wrong with the event; None if there is none."""
    try:
        return string(as_object(event, "the event"), "sender")
    except MalformedMessage:
        return None
