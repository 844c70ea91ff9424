"""A device of somebody else: it reads what the shared device sends, and writes to it.

Rule: it is vodozemac and this file, nothing of olmstate. What it can't read, nobody could.
"""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import attrs
from canonicaljson import encode_canonical_json
from vodozemac import (
    Account,
    AnyOlmMessage,
    Curve25519PublicKey,
    Ed25519PublicKey,
    Ed25519Signature,
    InboundGroupSession,
    MegolmMessage,
    Session,
    SessionKey,
)

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"


class Unreadable(Exception):
    """A message that should have been readable is not."""


@attrs.frozen(kw_only=True)
class Device:
    """A device's public face."""

    user_id: str
    device_id: str
    curve25519: str
    ed25519: str


class Reader:
    """One device on bare vodozemac."""

    def __init__(self, user_id: str, device_id: str, shared: Device) -> None:
        """A new device that talks to ``shared``."""
        self._account = Account()
        self._shared = shared
        self.device = Device(
            user_id=user_id,
            device_id=device_id,
            curve25519=self._account.curve25519_key.to_base64(),
            ed25519=self._account.ed25519_key.to_base64(),
        )
        self._sessions: list[Session] = []
        """Most recently used last."""
        self._room_keys: dict[tuple[str, str], InboundGroupSession] = {}

    # --- keys -----------------------------------------------------------------------------------------------

    def device_keys(self) -> dict[str, Any]:
        """Signed, for /keys/query."""
        device = self.device
        return self._signed(
            {
                "user_id": device.user_id,
                "device_id": device.device_id,
                "algorithms": [OLM, MEGOLM],
                "keys": {
                    f"curve25519:{device.device_id}": device.curve25519,
                    f"ed25519:{device.device_id}": device.ed25519,
                },
            }
        )

    def one_time_key(self) -> dict[str, Any]:
        """A new signed one-time key under its id, for one /keys/claim."""
        self._account.generate_one_time_keys(1)
        [(key_id, key)] = self._account.one_time_keys.items()
        self._account.mark_keys_as_published()
        return {f"signed_curve25519:{key_id}": self._signed({"key": key.to_base64()})}

    def _signed(self, content: dict[str, Any]) -> dict[str, Any]:
        signature = self._account.sign(encode_canonical_json(content)).to_base64()
        signatures = {self.device.user_id: {f"ed25519:{self.device.device_id}": signature}}
        return {**content, "signatures": signatures}

    # --- writing to the shared device -----------------------------------------------------------------------

    @property
    def has_session(self) -> bool:
        """Whether it can write without a claimed key."""
        return bool(self._sessions)

    def start_session(self, signed_key: dict[str, Any]) -> None:
        """Start an Olm session with a key that was claimed for the shared device.

        Raises:
            Unreadable: The key isn't signed by the shared device.
        """
        shared = self._shared
        unsigned = {field: value for field, value in signed_key.items() if field not in ("signatures", "unsigned")}
        try:
            signature = signed_key["signatures"][shared.user_id][f"ed25519:{shared.device_id}"]
            Ed25519PublicKey.from_base64(shared.ed25519).verify_signature(
                encode_canonical_json(unsigned), Ed25519Signature.from_base64(signature)
            )
            session = self._account.create_outbound_session(
                Curve25519PublicKey.from_base64(shared.curve25519), Curve25519PublicKey.from_base64(signed_key["key"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"a one-time key that can't be used: {error}") from error
        self._sessions.append(session)

    def write(self, event_type: str, content: dict[str, Any]) -> dict[str, Any]:
        """A to-device event for the shared device, on the session used last."""
        shared, own = self._shared, self.device
        payload = {
            "type": event_type,
            "content": content,
            "sender": own.user_id,
            "recipient": shared.user_id,
            "recipient_keys": {"ed25519": shared.ed25519},
            "keys": {"ed25519": own.ed25519},
        }
        message_type, body = self._sessions[-1].encrypt(json.dumps(payload).encode()).to_parts()
        text = base64.b64encode(body).decode().rstrip("=")
        return {
            "type": "m.room.encrypted",
            "sender": own.user_id,
            "content": {
                "algorithm": OLM,
                "sender_key": own.curve25519,
                "ciphertext": {shared.curve25519: {"type": message_type, "body": text}},
            },
        }

    # --- reading what the shared device sends ---------------------------------------------------------------

    def receive(self, content: dict[str, Any]) -> dict[str, Any]:
        """Decrypt the ``content`` of an encrypted to-device event, keep the room key if it is one.

        Returns:
            The payload.

        Raises:
            Unreadable: It can't be decrypted or isn't what it should be.
        """
        shared, own = self._shared, self.device
        try:
            ciphertext = content["ciphertext"][own.curve25519]
            body = base64.b64decode(ciphertext["body"] + "===")
            message = AnyOlmMessage.from_parts(ciphertext["type"], body)
            payload = cast("dict[str, Any]", json.loads(self._decrypt(message)))
            wanted = (shared.user_id, own.user_id, own.ed25519, shared.ed25519)
            named = (
                payload["sender"],
                payload["recipient"],
                payload["recipient_keys"]["ed25519"],
                payload["keys"]["ed25519"],
            )
            if content["sender_key"] != shared.curve25519 or named != wanted:
                raise Unreadable("the payload names other people")
            if payload["type"] == "m.room_key":
                self._keep(payload["content"])
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"a to-device message: {error}") from error
        return payload

    def _decrypt(self, message: AnyOlmMessage) -> bytes:
        pre_key = message.to_pre_key()
        reason: Exception | None = None
        for session in reversed(self._sessions):
            if pre_key is not None and not session.session_matches(pre_key):
                continue
            try:
                plaintext = session.decrypt(message)
            except ValueError as error:
                reason = error
                continue
            self._sessions.remove(session)
            self._sessions.append(session)
            return plaintext
        if pre_key is None or reason is not None:
            raise Unreadable(f"no Olm session decrypts it: {reason}")
        session, plaintext = self._account.create_inbound_session(
            Curve25519PublicKey.from_base64(self._shared.curve25519), pre_key
        )
        self._sessions.append(session)
        return plaintext

    def _keep(self, room_key: dict[str, Any]) -> None:
        session = InboundGroupSession(SessionKey(room_key["session_key"]))
        if room_key["algorithm"] != MEGOLM or session.session_id != room_key["session_id"]:
            raise Unreadable("a room key that says what it isn't")
        known = self._room_keys.get((room_key["room_id"], session.session_id))
        if known is None or session.first_known_index < known.first_known_index:
            self._room_keys[room_key["room_id"], session.session_id] = session

    def read(self, room_id: str, content: dict[str, Any]) -> dict[str, Any]:
        """Decrypt the ``content`` of an encrypted room event.

        Returns:
            The payload.

        Raises:
            Unreadable: It can't be decrypted or isn't what it should be.
        """
        try:
            session = self._room_keys.get((room_id, content["session_id"]))
            if session is None:
                raise Unreadable("the room key never came")
            message = MegolmMessage.from_base64(content["ciphertext"])
            payload = cast("dict[str, Any]", json.loads(session.decrypt(message).plaintext))
            if payload["room_id"] != room_id:
                raise Unreadable("it was encrypted for another room")
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"a room event: {error}") from error
        return payload
