"""A device that verifies, written from the spec alone: each message it would send, when it is told to send it.

It has no rules: a test has it send what, and when, it likes. Shares nothing with the library.
"""

from __future__ import annotations

import hashlib
from typing import Any

from tests.peer import formulas
from tests.peer.encoding import b64, unb64
from tests.peer.formulas import BASE_POINT, x25519

Message = tuple[str, dict[str, Any]]


def fake_key(name: str) -> str:
    """32 bytes in base64 that stand for a public key."""
    return b64(hashlib.sha256(name.encode()).digest())


class Verifier:
    """One device, in one flow."""

    def __init__(self, user_id: str, device_id: str, *, room_id: str | None = None, flow_id: str = "flow") -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.room_id = room_id
        self.flow_id = flow_id
        self.ed25519 = fake_key(f"{user_id} {device_id}")
        self.master_key = fake_key(f"{user_id} master")
        self.peer: tuple[str, str] = ("", "")
        """User and device."""
        self.private = hashlib.sha256(f"ephemeral of {user_id} {device_id}".encode()).digest()
        self.public = b64(x25519(self.private, BASE_POINT))
        self.peer_key = ""
        self.start_content: dict[str, Any] = {}
        self.we_started = False

    # --- messages

    def message(self, type: str, **content: Any) -> Message:  # noqa: A002, ANN401 - an event's fields
        """Any message of the flow."""
        if self.room_id is None:
            return type, content | {"transaction_id": self.flow_id}
        return type, content | {"m.relates_to": {"rel_type": "m.reference", "event_id": self.flow_id}}

    def request(self, *methods: str, now: int, to: str = "") -> Message:
        if self.room_id is not None:
            content = {"msgtype": "m.key.verification.request", "body": "?", "from_device": self.device_id, "to": to}
            return "m.room.message", content | {"methods": list(methods)}
        return self.message(
            "m.key.verification.request", from_device=self.device_id, methods=list(methods), timestamp=now
        )

    def ready(self, *methods: str) -> Message:
        return self.message("m.key.verification.ready", from_device=self.device_id, methods=list(methods))

    def start(self, **changed: Any) -> Message:  # noqa: ANN401 - a field's value
        fields: dict[str, Any] = {
            "from_device": self.device_id,
            "method": "m.sas.v1",
            "key_agreement_protocols": ["curve25519-hkdf-sha256", "curve25519"],
            "hashes": ["sha256"],
            "message_authentication_codes": ["hkdf-hmac-sha256.v2", "hkdf-hmac-sha256"],
            "short_authentication_string": ["decimal", "emoji"],
        }
        started = self.message("m.key.verification.start", **(fields | changed))
        self.start_content, self.we_started = started[1], True
        return started

    def reciprocate(self, secret: bytes) -> Message:
        return self.message(
            "m.key.verification.start", from_device=self.device_id, method="m.reciprocate.v1", secret=b64(secret)
        )

    def accept(self, start_content: dict[str, Any], **changed: Any) -> Message:  # noqa: ANN401 - a field's value
        self.start_content, self.we_started = start_content, False
        fields: dict[str, Any] = {
            "key_agreement_protocol": "curve25519-hkdf-sha256",
            "hash": "sha256",
            "message_authentication_code": "hkdf-hmac-sha256.v2",
            "short_authentication_string": ["decimal", "emoji"],
            "commitment": formulas.commitment(self.public, start_content),
        }
        return self.message("m.key.verification.accept", **(fields | changed))

    def key(self) -> Message:
        return self.message("m.key.verification.key", key=self.public)

    def mac(self, keys: dict[str, str] | None = None) -> Message:
        ours = {f"ed25519:{self.device_id}": self.ed25519, f"ed25519:{self.master_key}": self.master_key}
        each, listed = formulas.macs(
            self.secret, (self.user_id, self.device_id, *self.peer), self.flow_id, ours if keys is None else keys
        )
        return self.message("m.key.verification.mac", mac=each, keys=listed)

    def done(self) -> Message:
        return self.message("m.key.verification.done")

    def cancel(self, code: str) -> Message:
        return self.message("m.key.verification.cancel", code=code, reason="because")

    # --- what it works out

    @property
    def secret(self) -> bytes:
        return x25519(self.private, unb64(self.peer_key))

    @property
    def sas(self) -> bytes:
        ours = (self.user_id, self.device_id, self.public)
        theirs = (*self.peer, self.peer_key)
        starter, accepter = (ours, theirs) if self.we_started else (theirs, ours)
        return formulas.sas(self.secret, starter, accepter, self.flow_id)

    def is_right(self, content: dict[str, Any], keys: dict[str, str]) -> bool:
        """Whether the MACs that came are of exactly these keys."""
        ends = (*self.peer, self.user_id, self.device_id)
        return (content["mac"], content["keys"]) == formulas.macs(self.secret, ends, self.flow_id, keys)
