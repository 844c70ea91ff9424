"""The payload of an Olm message: writing one, and deciding whether to believe one (spec: m.olm.v1.curve25519-aes-sha2).

Pure: what is known of the sender's device is handed in.
"""

from __future__ import annotations

import json
from typing import Protocol

import msgspec

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.signatures import check_device_keys, ed25519_key
from olmstate.actors._wire.untrusted_json import (
    as_object,
    check_text_keys,
    is_object,
    is_plain,
    json_object,
    loads,
    string,
)
from olmstate.messages import (
    Curve25519Key,
    DeviceId,
    DeviceIdentity,
    DeviceKeys,
    Ed25519Key,
    InvalidSignature,
    JsonObject,
    MalformedContent,
    MalformedMessage,
    MismatchedRecipient,
    MismatchedSender,
    UnknownSender,
    UserId,
)


class Payload(QuietStruct, kw_only=True, frozen=True, gc=False):
    """A payload that agrees with its envelope, and with what is known."""

    type: str
    content: JsonObject
    sender: UserId
    ed25519: Ed25519Key
    """As the sender says."""
    device: DeviceIdentity | None
    """The known device that has both keys."""


def encode_payload(payload: JsonObject) -> bytes:
    """JSON for encryption.

    Raises:
        MalformedContent: ``type`` is no text or ``content`` no object; not JSON, a NaN, text that UTF-8 can't hold, or
            nested too deep.
    """
    if not isinstance(payload.get("type", ""), str):
        raise MalformedContent(reason="the event's type is no text")
    if not is_object(payload.get("content", {})):
        raise MalformedContent(reason="not an object")
    try:
        if is_plain(payload):
            return encode_plain(payload)
        check_text_keys(payload)
        return _thorough.encode(payload).encode()
    except MalformedMessage as error:
        raise MalformedContent(reason=error.reason) from None
    except (TypeError, ValueError) as error:
        # the error's text may quote the content
        raise MalformedContent(reason=f"not JSON ({type(error).__name__})") from None


def encode_plain(value: JsonObject) -> bytes:
    """JSON of what `is_plain`: anything else, msgspec would write as something."""
    return _quick.encode(value)


_quick = msgspec.json.Encoder()
_thorough = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def check_payload(
    plaintext: bytes, *, sender: str, sender_key: Curve25519Key, own: DeviceIdentity, known: KnownKeys
) -> Payload:
    """Decide whether a decrypted payload may be believed (spec: Validation of incoming decrypted events).

    Keys that a sender sends along show that it has them, and nothing of who it is: nobody is named for them.

    Args:
        plaintext: What Olm gave.
        sender: The envelope's sender.
        sender_key: The envelope's sender key, under which the message was decrypted.
        own: This device.
        known: What is known of the sender's devices.

    Raises:
        MalformedMessage: Not an event, or its sender's Ed25519 key is none.
        MismatchedSender: Another sender, other keys than the device's, or this device's own.
        MismatchedRecipient: For another user or device.
        UnknownSender: The sender's device isn't known, and what it sends is no room key.
    """
    payload = as_object(loads(plaintext), "the payload")
    event_type, content = string(payload, "type"), json_object(payload, "content")
    if payload.get("sender") != sender:
        raise MismatchedSender(reason="the payload names another sender")
    if payload.get("recipient") != own.user_id:
        raise MismatchedRecipient(reason="the payload names another recipient")
    if string(json_object(payload, "recipient_keys"), "ed25519") != own.ed25519:
        raise MismatchedRecipient(reason="the payload is for another key")
    ed25519 = Ed25519Key(string(json_object(payload, "keys"), "ed25519"))
    device = known.device(sender_key, ed25519)
    if device is None:  # a key has many spellings in base64, and only one of them is compared with those that are known
        ed25519 = ed25519_key(ed25519, "the sender's Ed25519 key")
        device = known.device(sender_key, ed25519)
    if sender_key == own.curve25519 or ed25519 == own.ed25519:
        raise MismatchedSender(reason="the payload names this device's own keys")
    sent_along = payload.get("sender_device_keys") is not None
    if sent_along:
        sent = _sender_device_keys(payload["sender_device_keys"], UserId(sender))
        _check_sender_device_keys(sent, sender_key, ed25519, own, known)
    if device is None:
        if known.contradicts(sender_key, ed25519):
            raise MismatchedSender(reason="the payload names another Ed25519 key than the device has")
        if event_type != "m.room_key" and not sent_along:
            raise UnknownSender(user_id=UserId(sender))
    return Payload(type=event_type, content=content, sender=UserId(sender), ed25519=ed25519, device=device)


class KnownKeys(Protocol):
    """What is known of a user's devices; see `KnownSender`."""

    def device(self, curve25519: Curve25519Key, ed25519: Ed25519Key) -> DeviceIdentity | None:
        """The device that has both keys."""
        ...

    def contradicts(self, curve25519: Curve25519Key, ed25519: Ed25519Key) -> bool:
        """Whether a device has one of the keys, and none has both."""
        ...

    def fingerprint(self, device_id: DeviceId) -> Ed25519Key | None:
        """The Ed25519 key of the device that has this id, or had it."""
        ...


def _sender_device_keys(sent: object, sender: UserId) -> DeviceKeys:
    device_id = DeviceId(string(as_object(sent, "sender_device_keys"), "device_id"))
    try:
        return check_device_keys(sender, device_id, sent)
    except InvalidSignature as error:
        raise MismatchedSender(reason=f"sender_device_keys: {error.reason}") from None


def _check_sender_device_keys(
    sent: DeviceKeys, sender_key: Curve25519Key, ed25519: Ed25519Key, own: DeviceIdentity, known: KnownKeys
) -> None:
    if (sent.curve25519, sent.ed25519) != (sender_key, ed25519):
        raise MismatchedSender(reason="sender_device_keys are another device's")
    if (sent.user_id, sent.device_id) == (own.user_id, own.device_id):
        raise MismatchedSender(reason="sender_device_keys name this very device")
    if known.fingerprint(sent.device_id) not in {None, ed25519}:
        # its self-signature shows nothing of who has the device: anybody can make keys and name them after it
        raise MismatchedSender(reason="sender_device_keys name a device that is known with another Ed25519 key")
