"""A device, made of vodozemac alone: what the one under test has to get along with.

Owns: `PeerDevice`, which speaks the wire formats (spec: End-to-end encryption) as honestly, or not, as a test wants.
Rule: nothing of the code under test is used, so that the two can't be wrong in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol, Self, TypeAlias, cast

import attrs
from vodozemac import (
    Account,
    AnyOlmMessage,
    Curve25519PublicKey,
    GroupSession,
    InboundGroupSession,
    MegolmMessage,
    Session,
)

from tests.peer.encoding import b64, canonical, unb64
from tests.peer.names import Curve25519Key, DeviceId, Ed25519Key, Json, JsonObject, RoomId, UserId

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"
SNAPSHOT_KEY = bytes(32)


class Identity(Protocol):
    """Whose keys are known."""

    @property
    def user_id(self) -> str: ...
    @property
    def curve25519(self) -> str: ...
    @property
    def ed25519(self) -> str: ...


Recipient: TypeAlias = "Identity | PeerDevice"
"""Whom something is encrypted to. (To pyright, what has converters is no protocol's.)"""


@attrs.define(eq=False)
class PeerDevice:
    """A device of vodozemac's, and the Olm sessions that it has with the device under test."""

    user_id: UserId = attrs.field(default=UserId("@bob:example.org"), converter=UserId)
    device_id: DeviceId = attrs.field(default=DeviceId("BOBDEV"), converter=DeviceId)
    account: Account = attrs.field(factory=Account)
    sessions: list[Session] = attrs.field(factory=list[Session])
    """Most recently used last."""

    @property
    def curve25519(self) -> Curve25519Key:
        """Its identity key."""
        return Curve25519Key(self.account.curve25519_key.to_base64())

    @property
    def ed25519(self) -> Ed25519Key:
        """Its fingerprint key."""
        return Ed25519Key(self.account.ed25519_key.to_base64())

    def snapshot(self) -> JsonObject:
        """All of it, as JSON."""
        return {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "account": self.account.pickle(SNAPSHOT_KEY),
            "sessions": [session.pickle(SNAPSHOT_KEY) for session in self.sessions],
        }

    @classmethod
    def of(cls, snapshot: JsonObject) -> Self:
        """As it was then."""
        sessions = [Session.from_pickle(pickle, SNAPSHOT_KEY) for pickle in snapshot["sessions"]]
        account = Account.from_pickle(snapshot["account"], SNAPSHOT_KEY)
        return cls(snapshot["user_id"], snapshot["device_id"], account, sessions)

    # --- what it publishes ----------------------------------------------------------------------------------

    def signed(self, obj: JsonObject) -> JsonObject:
        """``obj`` with its signature (spec: Signing JSON)."""
        signature = self.account.sign(canonical(obj).encode()).to_base64()
        return {**obj, "signatures": {self.user_id: {f"ed25519:{self.device_id}": signature}}}

    def device_keys(self, **changes: Json) -> JsonObject:
        """``device_keys`` as it uploads them, but for ``changes``, which it signs too."""
        keys: JsonObject = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": [OLM, MEGOLM],
            "keys": {f"curve25519:{self.device_id}": self.curve25519, f"ed25519:{self.device_id}": self.ed25519},
        }
        return self.signed({**keys, **changes})

    def one_time_key(self, *, fallback: bool = False) -> JsonObject:
        """A new signed key, as ``/keys/claim`` gives it: ``{key id: key}``."""
        if fallback:
            cast("Any", self.account).generate_fallback_key()
            made = cast("Any", self.account).fallback_key
        else:
            self.account.generate_one_time_keys(1)
            made = self.account.one_time_keys
        ((key_id, key),) = made.items()
        self.account.mark_keys_as_published()
        fields = {"key": key.to_base64()} | ({"fallback": True} if fallback else {})
        return {f"signed_curve25519:{key_id}": self.signed(fields)}

    # --- Olm ------------------------------------------------------------------------------------------------

    def start_session(self, device: Recipient, one_time_key: JsonObject) -> Session:
        """A new session with ``device``, from a key of its that was claimed."""
        session = self.account.create_outbound_session(
            Curve25519PublicKey.from_base64(device.curve25519), Curve25519PublicKey.from_base64(one_time_key["key"])
        )
        self.sessions.append(session)
        return session

    def payload(self, device: Recipient, event_type: str, content: Json, **changes: Json) -> JsonObject:
        """What it encrypts to ``device``, but for ``changes``; a change to None leaves the field out.

        Its device keys are sent along, as most devices do (spec: ``sender_device_keys``).
        """
        fields: JsonObject = {
            "type": event_type,
            "content": content,
            "sender": self.user_id,
            "recipient": device.user_id,
            "recipient_keys": {"ed25519": device.ed25519},
            "keys": {"ed25519": self.ed25519},
            "sender_device_keys": self.device_keys(),
            **changes,
        }
        return {field: value for field, value in fields.items() if value is not None}

    def olm_event(self, device: Recipient, plaintext: bytes, session: Session | None = None) -> JsonObject:
        """A to-device event with ``plaintext`` in it; on the last session if none is given."""
        return self.envelope(device, *(session or self.sessions[-1]).encrypt(plaintext).to_parts())

    def envelope(self, device: Recipient, message_type: int, body: bytes) -> JsonObject:
        """A to-device event with an Olm message in it."""
        return {
            "type": "m.room.encrypted",
            "sender": self.user_id,
            "content": {
                "algorithm": OLM,
                "sender_key": self.curve25519,
                "ciphertext": {device.curve25519: {"type": message_type, "body": b64(body)}},
            },
        }

    def event(
        self,
        device: Recipient,
        event_type: str = "m.dummy",
        content: Json = None,
        *,
        session: Session | None = None,
        **changes: Json,
    ) -> JsonObject:
        """A to-device event, encrypted to ``device``; ``changes`` are of its payload."""
        payload = self.payload(device, event_type, {} if content is None else content, **changes)
        return self.olm_event(device, json.dumps(payload).encode(), session)

    def read(self, content: JsonObject) -> JsonObject:
        """The payload of what it was sent."""
        assert content["algorithm"] == OLM
        ciphertext = content["ciphertext"][self.curve25519]
        plaintext = self.decrypt(content["sender_key"], ciphertext["type"], unb64(ciphertext["body"]))
        return cast("JsonObject", json.loads(plaintext))

    def decrypt(self, sender_key: str, message_type: int, body: bytes) -> bytes:
        """The plaintext of an Olm message; a pre-key message that matches no session makes one."""
        message = AnyOlmMessage.from_parts(message_type, body)
        pre_key = message.to_pre_key()
        for session in reversed(self.sessions):
            if pre_key is not None and not session.session_matches(pre_key):
                continue
            try:
                plaintext = session.decrypt(message)
            except ValueError:
                continue
            self.sessions.remove(session)
            self.sessions.append(session)
            return plaintext
        assert pre_key is not None, "no session decrypts it"
        session, plaintext = self.account.create_inbound_session(Curve25519PublicKey.from_base64(sender_key), pre_key)
        self.sessions.append(session)
        return plaintext

    # --- Megolm ---------------------------------------------------------------------------------------------

    def room_key(self, room_id: RoomId, group: GroupSession) -> JsonObject:
        """``content`` of an ``m.room_key`` for ``group`` from its present index on."""
        return {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": group.session_id,
            "session_key": group.session_key.to_base64(),
        }

    def room_event(
        self,
        room_id: RoomId,
        group: GroupSession,
        content: Json = None,
        *,
        event_id: str = "$event",
        event_type: str = "m.room.message",
        **changes: Json,
    ) -> JsonObject:
        """A room event, encrypted with ``group``; ``changes`` are of its payload."""
        payload = {"type": event_type, "content": content or {"body": event_id}, "room_id": room_id, **changes}
        return self.megolm_event(group, json.dumps(payload).encode(), event_id=event_id)

    def megolm_event(self, group: GroupSession, plaintext: bytes, *, event_id: str = "$event") -> JsonObject:
        """A room event with ``plaintext`` in it."""
        return {
            "type": "m.room.encrypted",
            "event_id": event_id,
            "sender": self.user_id,
            "content": {
                "algorithm": MEGOLM,
                "ciphertext": group.encrypt(plaintext).to_base64(),
                "session_id": group.session_id,
                "sender_key": self.curve25519,
                "device_id": self.device_id,
            },
        }


def exported(peer: PeerDevice, room_id: RoomId, session: InboundGroupSession, index: int | None = None) -> JsonObject:
    """A room key as a key file has it (spec: Key export format), from ``index`` on."""
    key = session.export_at(session.first_known_index if index is None else index)
    assert key is not None
    return {
        "algorithm": MEGOLM,
        "room_id": room_id,
        "session_id": session.session_id,
        "session_key": key.to_base64(),
        "sender_key": peer.curve25519,
        "sender_claimed_keys": {"ed25519": peer.ed25519},
        "forwarding_curve25519_key_chain": [],
    }


def keys_query(*devices: PeerDevice | JsonObject) -> JsonObject:
    """A /keys/query response with these devices: as they publish themselves, or as given."""
    by_user: dict[str, JsonObject] = {}
    for device in devices:
        keys = device.device_keys() if isinstance(device, PeerDevice) else device
        by_user.setdefault(keys["user_id"], {})[keys["device_id"]] = keys
    return {"device_keys": by_user, "failures": {}}


def claimed(peers: Iterable[PeerDevice]) -> JsonObject:
    """``one_time_keys`` of a /keys/claim response: a new key of each."""
    by_user: dict[str, JsonObject] = {}
    for peer in peers:
        by_user.setdefault(peer.user_id, {})[peer.device_id] = peer.one_time_key()
    return by_user


def read_room_event(session: InboundGroupSession, content: JsonObject) -> tuple[int, JsonObject]:
    """Index and payload of an encrypted room event, with vodozemac alone."""
    assert content["algorithm"] == MEGOLM
    assert session.session_id == content["session_id"]
    decrypted = session.decrypt(MegolmMessage.from_base64(content["ciphertext"]))
    return decrypted.message_index, cast("JsonObject", json.loads(decrypted.plaintext))
