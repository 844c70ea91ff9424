"""Whom the measured device talks to: devices made with vodozemac, with what a homeserver would tell of them."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator, Sequence

import attrs
from canonicaljson import encode_canonical_json
from vodozemac import Account, AnyOlmMessage, Curve25519PublicKey, GroupSession, Session

from olmstate.messages import DeviceAddress, DeviceId, DeviceIdentity, JsonObject, RoomId, UserId

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"

PHONE = DeviceId("PHONE")


@attrs.define
class Person:
    """A device of somebody else's."""

    user_id: UserId
    device_id: DeviceId = PHONE
    account: Account = attrs.field(factory=Account)

    @property
    def address(self) -> DeviceAddress:
        """Where to send to."""
        return DeviceAddress(user_id=self.user_id, device_id=self.device_id)

    @property
    def curve25519(self) -> str:
        """Its identity key."""
        return self.account.curve25519_key.to_base64()

    @property
    def ed25519(self) -> str:
        """Its fingerprint key."""
        return self.account.ed25519_key.to_base64()

    def sign(self, obj: JsonObject) -> JsonObject:
        """``obj`` with the device's signature."""
        signature = self.account.sign(encode_canonical_json(obj)).to_base64()
        return {**obj, "signatures": {self.user_id: {f"ed25519:{self.device_id}": signature}}}

    def device_keys(self) -> JsonObject:
        """Its part of a /keys/query response."""
        return self.sign(
            {
                "user_id": self.user_id,
                "device_id": self.device_id,
                "algorithms": [OLM, MEGOLM],
                "keys": {
                    f"curve25519:{self.device_id}": self.curve25519,
                    f"ed25519:{self.device_id}": self.ed25519,
                },
            }
        )

    def claimed_key(self) -> JsonObject:
        """Its part of a /keys/claim response."""
        self.account.generate_one_time_keys(1)
        ((key_id, key),) = self.account.one_time_keys.items()
        self.account.mark_keys_as_published()
        return {f"signed_curve25519:{key_id}": self.sign({"key": key.to_base64()})}

    def session_with(self, to: DeviceIdentity, one_time_key: str) -> Session:
        """A new Olm session with the measured device."""
        return self.account.create_outbound_session(
            Curve25519PublicKey.from_base64(to.curve25519), Curve25519PublicKey.from_base64(one_time_key)
        )

    def joined(self, to: DeviceIdentity, message_type: int, body: bytes) -> Session:
        """The Olm session that the measured device has started with a message."""
        message = AnyOlmMessage.from_parts(message_type, body).to_pre_key()
        assert message is not None
        session, _ = self.account.create_inbound_session(Curve25519PublicKey.from_base64(to.curve25519), message)
        return session

    def room_key(self, room_id: RoomId) -> JsonObject:
        """``content`` of an m.room_key for a new session."""
        room_key, _ = self.conversation(room_id, b"", 0)
        return room_key

    def conversation(self, room_id: RoomId, plaintext: bytes, messages: int) -> tuple[JsonObject, list[JsonObject]]:
        """``content`` of an m.room_key for a new session, and room events on it."""
        group = GroupSession()
        room_key: JsonObject = {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": group.session_id,
            "session_key": group.session_key.to_base64(),
        }
        events: list[JsonObject] = [
            {
                "type": "m.room.encrypted",
                "event_id": f"$event{number}",
                "sender": self.user_id,
                "room_id": room_id,
                "origin_server_ts": number,
                "content": {
                    "algorithm": MEGOLM,
                    "ciphertext": group.encrypt(plaintext).to_base64(),
                    "session_id": group.session_id,
                    "sender_key": self.curve25519,
                    "device_id": self.device_id,
                },
            }
            for number in range(messages)
        ]
        return room_key, events

    def payload(self, to: DeviceIdentity, event_type: str, content: JsonObject) -> bytes:
        """The payload of an Olm message."""
        return json.dumps(
            {
                "type": event_type,
                "content": content,
                "sender": self.user_id,
                "keys": {"ed25519": self.ed25519},
                "recipient": to.user_id,
                "recipient_keys": {"ed25519": to.ed25519},
            }
        ).encode()

    def event(self, to: DeviceIdentity, message_type: int, body: bytes) -> JsonObject:
        """An m.room.encrypted to-device event."""
        ciphertext = base64.b64encode(body).decode().rstrip("=")
        return {
            "type": "m.room.encrypted",
            "sender": self.user_id,
            "content": {
                "algorithm": OLM,
                "sender_key": self.curve25519,
                "ciphertext": {to.curve25519: {"type": message_type, "body": ciphertext}},
            },
        }


@attrs.define
class Senders:
    """People who send room keys to one device, on an Olm session each that they `start` or that the device has."""

    known: list[Person]
    to: DeviceIdentity
    _sessions: list[Session] = attrs.field(factory=list[Session], init=False)

    def start(self, one_time_keys: Sequence[str]) -> None:
        """Start a new session each, with a key of the device's each."""
        self._sessions = [
            person.session_with(self.to, key) for person, key in zip(self.known, one_time_keys, strict=True)
        ]

    def join(self, greetings: Sequence[tuple[int, bytes]]) -> None:
        """Use the sessions that the device has started, with a message to each of them: its type and body."""
        self._sessions = [
            person.joined(self.to, *greeting) for person, greeting in zip(self.known, greetings, strict=True)
        ]

    def room_keys(self, room_id: RoomId, count: int) -> list[JsonObject]:
        """To-device events with so many new room keys, from all in turn."""
        events: list[JsonObject] = []
        for number in range(count):
            person = self.known[number % len(self.known)]
            payload = person.payload(self.to, "m.room_key", person.room_key(room_id))
            message_type, body = self._sessions[number % len(self.known)].encrypt(payload).to_parts()
            events.append(person.event(self.to, message_type, body))
        return events


def olm_message(content: JsonObject, curve25519: str) -> tuple[int, bytes]:
    """Type and body of the Olm message to a device in the content of an m.room.encrypted event."""
    ciphertext = content["ciphertext"][curve25519]
    body: str = ciphertext["body"]
    return ciphertext["type"], base64.b64decode(body + "=" * (-len(body) % 4))


def people(count: int, first: int = 0) -> list[Person]:
    """So many users with a device each, with numbers from ``first`` on."""
    return [Person(UserId(f"@person{number}:example.org")) for number in range(first, first + count)]


def newcomers(count: int, to: DeviceIdentity) -> Iterator[Senders]:
    """So many people whom nobody knows yet, and others each time, without end."""
    return (Senders(people(count, first), to) for first in itertools.count(count, count))


def keys_query(known: list[Person]) -> JsonObject:
    """A /keys/query response."""
    return {"device_keys": {person.user_id: {person.device_id: person.device_keys()} for person in known}}


def keys_claim(known: list[Person]) -> JsonObject:
    """``one_time_keys`` of a /keys/claim response."""
    return {person.user_id: {person.device_id: person.claimed_key()} for person in known}
