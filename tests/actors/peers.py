"""The other side: devices of other people, with a vodozemac account of their own, that answer as a homeserver would."""

from __future__ import annotations

import json

from vodozemac import Account, AnyOlmMessage, Curve25519PublicKey, GroupSession, Session

from olmstate.actors._room_keys.actor import NewRoomKey
from olmstate.actors._room_keys.claims import Claim
from olmstate.actors._room_keys.copies import RoomKeyCopy, session_from_room_key
from olmstate.actors._wire.base64 import decode, encode
from olmstate.actors._wire.signatures import signing_bytes
from olmstate.messages import (
    AddDevices,
    AddRoomKey,
    Curve25519Key,
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    DeviceKeys,
    Ed25519Key,
    JsonObject,
    MegolmSessionId,
    RoomId,
    UserId,
)

MEGOLM = "m.megolm.v1.aes-sha2"
OLM = "m.olm.v1.curve25519-aes-sha2"

ROOM = RoomId("!room:example.org")


class Peer:
    """Somebody else's device."""

    def __init__(self, user_id: str = "@bob:example.org", device_id: str = "BOB") -> None:
        self.user_id = UserId(user_id)
        self.device_id = DeviceId(device_id)
        self.account = Account()
        self.sessions: dict[Curve25519Key, Session] = {}

    @property
    def curve25519(self) -> Curve25519Key:
        return Curve25519Key(self.account.curve25519_key.to_base64())

    @property
    def ed25519(self) -> Ed25519Key:
        return Ed25519Key(self.account.ed25519_key.to_base64())

    @property
    def address(self) -> DeviceAddress:
        return DeviceAddress(user_id=self.user_id, device_id=self.device_id)

    @property
    def keys(self) -> DeviceKeys:
        """The device as the library knows it once its keys were taken in."""
        return DeviceKeys(
            user_id=self.user_id,
            device_id=self.device_id,
            curve25519=self.curve25519,
            ed25519=self.ed25519,
            algorithms=(OLM, MEGOLM),
        )

    def _signed(self, obj: JsonObject) -> JsonObject:
        signature = self.account.sign(signing_bytes(obj)).to_base64()
        return {**obj, "signatures": {self.user_id: {f"ed25519:{self.device_id}": signature}}}

    @property
    def device_keys(self) -> JsonObject:
        """Signed ``device_keys``."""
        return self._signed(
            {
                "user_id": self.user_id,
                "device_id": self.device_id,
                "algorithms": [OLM, MEGOLM],
                "keys": {f"curve25519:{self.device_id}": self.curve25519, f"ed25519:{self.device_id}": self.ed25519},
            }
        )

    def one_time_key(self) -> Curve25519Key:
        """A new one-time key."""
        self.account.generate_one_time_keys(1)
        ((_, key),) = self.account.one_time_keys.items()
        self.account.mark_keys_as_published()
        return Curve25519Key(key.to_base64())

    def claimed(self) -> JsonObject:
        """``one_time_keys`` of a /keys/claim response with a new key of this device."""
        key = self._signed({"key": self.one_time_key()})
        return {self.user_id: {self.device_id: {"signed_curve25519:AAAAAQ": key}}}

    # --- Olm ------------------------------------------------------------------------------------------------

    def start_session(self, recipient: Curve25519Key, one_time_key: str) -> Session:
        """A new session with the device that has ``one_time_key``."""
        session = self.account.create_outbound_session(
            Curve25519PublicKey.from_base64(recipient), Curve25519PublicKey.from_base64(one_time_key)
        )
        self.sessions[recipient] = session
        return session

    def encrypt(self, own: DeviceIdentity, content: JsonObject, event_type: str = "m.dummy") -> JsonObject:
        """An Olm to-device event for our device, on the session that was started with it."""
        payload = {
            "type": event_type,
            "content": content,
            "sender": self.user_id,
            "recipient": own.user_id,
            "recipient_keys": {"ed25519": own.ed25519},
            "keys": {"ed25519": self.ed25519},
            "sender_device_keys": self.device_keys,
        }
        message_type, body = self.sessions[own.curve25519].encrypt(json.dumps(payload).encode()).to_parts()
        return {
            "type": "m.room.encrypted",
            "sender": self.user_id,
            "content": {
                "algorithm": OLM,
                "sender_key": self.curve25519,
                "ciphertext": {own.curve25519: {"type": message_type, "body": encode(body)}},
            },
        }

    def decrypt(self, sender: Curve25519Key, content: JsonObject) -> JsonObject:
        """The payload of an Olm ``content`` for this device; a pre-key message starts a session."""
        ciphertext = content["ciphertext"][self.curve25519]
        message = AnyOlmMessage.from_parts(ciphertext["type"], decode(ciphertext["body"], "body"))
        session = self.sessions.get(sender)
        pre_key = message.to_pre_key()
        if session is None or (pre_key is not None and not session.session_matches(pre_key)):
            assert pre_key is not None
            key = Curve25519PublicKey.from_base64(sender)
            self.sessions[sender], plaintext = self.account.create_inbound_session(key, pre_key)
        else:
            plaintext = session.decrypt(message)
        payload: JsonObject = json.loads(plaintext)
        return payload


class Room:
    """A room that a peer sends in, with one outbound session."""

    def __init__(self, sender: Peer, room_id: RoomId = ROOM) -> None:
        self.sender = sender
        self.room_id = room_id
        self.session = GroupSession()
        self.session_id = MegolmSessionId(self.session.session_id)
        self.sent = 0

    def room_key(self) -> AddRoomKey:
        """The session's key from its present index on."""
        return AddRoomKey(
            room_id=self.room_id,
            session_id=self.session_id,
            session_key=self.session.session_key.to_base64(),
            sender_key=self.sender.curve25519,
            sender_ed25519=self.sender.ed25519,
            sender=self.sender.user_id,
        )

    def new_room_key(self) -> NewRoomKey:
        """The same, as its actor gets it."""
        session = session_from_room_key(self.session.session_key.to_base64(), self.session_id)
        return NewRoomKey(
            room_id=self.room_id,
            session_id=self.session_id,
            copy=RoomKeyCopy(session=session, signed=True),
            claim=Claim(sender_key=self.sender.curve25519, ed25519=self.sender.ed25519, sender=self.sender.user_id),
        )

    def exported_room_key(self) -> NewRoomKey:
        """The same, as an export has it."""
        new = self.new_room_key()
        claim = Claim(sender_key=self.sender.curve25519, ed25519=self.sender.ed25519, sender=None)
        copy = RoomKeyCopy(session=new.copy.session, signed=False, exported=(claim,))
        return NewRoomKey(room_id=self.room_id, session_id=self.session_id, copy=copy, claim=None)

    def room_key_content(self) -> JsonObject:
        """``content`` of the ``m.room_key``."""
        return {
            "algorithm": MEGOLM,
            "room_id": self.room_id,
            "session_id": self.session_id,
            "session_key": self.session.session_key.to_base64(),
        }

    def send(self, body: str = "hello", *, event_id: str | None = None) -> JsonObject:
        """The next message, as an event of the room."""
        self.sent += 1
        payload = {"type": "m.room.message", "content": {"body": body}, "room_id": self.room_id}
        return {
            "type": "m.room.encrypted",
            "event_id": event_id or f"${self.session_id}-{self.sent}",
            "sender": self.sender.user_id,
            "content": {
                "algorithm": MEGOLM,
                "session_id": self.session_id,
                "ciphertext": self.session.encrypt(json.dumps(payload).encode()).to_base64(),
            },
        }


def keys_query(*peers: Peer) -> AddDevices:
    """A /keys/query response with these devices."""
    users: JsonObject = {}
    for peer in peers:
        users.setdefault(peer.user_id, {})[peer.device_id] = peer.device_keys
    return AddDevices(response={"device_keys": users})
