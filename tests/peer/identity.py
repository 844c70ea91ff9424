"""A user's cross-signing keys, made without the code under test (spec: Cross-signing)."""

from __future__ import annotations

import os
from typing import Any

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tests.peer.encoding import b64, canonical, unb64
from tests.peer.names import Ed25519Key, JsonObject, UserId

USAGES = ("master", "self_signing", "user_signing")


def public_key_of(seed: bytes) -> Ed25519Key:
    """Its public half."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return Ed25519Key(b64(public))


def sign(obj: JsonObject, user_id: str, seed: bytes) -> None:
    """Put a signature by the key of a seed into an object."""
    signature = b64(Ed25519PrivateKey.from_private_bytes(seed).sign(_signed_bytes(obj)))
    obj.setdefault("signatures", {}).setdefault(user_id, {})[f"ed25519:{public_key_of(seed)}"] = signature


def is_signed(obj: JsonObject, user_id: str, key: str, key_id: str | None = None) -> bool:
    """Whether a key, under its own name if it has no other, has signed an object in a user's name."""
    signature = obj.get("signatures", {}).get(user_id, {}).get(f"ed25519:{key_id or key}")
    if signature is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(unb64(key)).verify(unb64(signature), _signed_bytes(obj))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed_bytes(obj: JsonObject) -> bytes:
    return canonical({name: value for name, value in obj.items() if name not in {"signatures", "unsigned"}}).encode()


@attrs.define
class PeerIdentity:
    """Somebody's identity, with its private keys."""

    user_id: UserId
    seeds: dict[str, bytes] = attrs.field(factory=lambda: {usage: os.urandom(32) for usage in USAGES}, repr=False)
    objects: dict[str, Any] = attrs.field(factory=dict[str, Any])

    def __attrs_post_init__(self) -> None:
        for usage in USAGES:
            key = self.public_key(usage)
            self.objects[usage] = {"user_id": self.user_id, "usage": [usage], "keys": {f"ed25519:{key}": key}}
        for usage in USAGES[1:]:
            sign(self.objects[usage], self.user_id, self.seeds["master"])

    def public_key(self, usage: str) -> Ed25519Key:
        """Of one of the three."""
        return public_key_of(self.seeds[usage])

    def sign_device(self, device_keys: JsonObject) -> JsonObject:
        """Cross-sign a device of this user's."""
        sign(device_keys, self.user_id, self.seeds["self_signing"])
        return device_keys

    def verify(self, other: PeerIdentity) -> None:
        """Sign another user's master key."""
        sign(other.objects["master"], self.user_id, self.seeds["user_signing"])

    def upload(self) -> JsonObject:
        """The body of ``POST /keys/device_signing/upload``."""
        return {f"{usage}_key": self.objects[usage] for usage in USAGES}

    def answer(self, *, own: bool = False) -> JsonObject:
        """What ``POST /keys/query`` has of it."""
        shown = USAGES if own else USAGES[:2]
        return {f"{usage}_keys": {self.user_id: self.objects[usage]} for usage in shown}


def merged(*answers: JsonObject) -> JsonObject:
    """One answer of several users'."""
    whole: JsonObject = {}
    for answer in answers:
        for field, users in answer.items():
            whole.setdefault(field, {}).update(users)
    return whole


def unpadded_seeds(identity: PeerIdentity) -> dict[str, str]:
    """Its private keys as they are shared and stored."""
    return {usage: b64(seed) for usage, seed in identity.seeds.items()}
