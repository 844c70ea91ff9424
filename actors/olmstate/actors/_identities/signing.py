"""Private cross-signing keys: made from seeds, compared with what is published, and used.

Owns: seeds as text and bytes, signatures, and the bodies of the requests that carry them.
Rule: pure; the randomness of a new seed comes in. A seed is used only for the key that it is of: `compare` says
whether that is the published one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from olmstate.actors._wire import base64
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.signatures import signing_bytes
from olmstate.actors._wire.untrusted_json import as_object, is_object, json_object, optional, string
from olmstate.messages import Ed25519Key, Json, JsonObject, MalformedMessage, MalformedSecret, UserId

from .identity import CrossSigningKey, Identity, Usage, check_identity, parse_key

SEED_BYTES: Final = 32


class Seeds(QuietStruct, frozen=True, kw_only=True):
    """The private keys that are there, 32 bytes each."""

    master: bytes | None = None
    self_signing: bytes | None = None
    user_signing: bytes | None = None

    def of(self, usage: Usage) -> bytes | None:
        """The seed of one key."""
        return {
            Usage.MASTER: self.master,
            Usage.SELF_SIGNING: self.self_signing,
            Usage.USER_SIGNING: self.user_signing,
        }[usage]

    @property
    def complete(self) -> bool:
        """Whether all three are there."""
        return None not in {self.master, self.self_signing, self.user_signing}


class Refusal(QuietStruct, frozen=True, kw_only=True):
    """A signature that the homeserver didn't take."""

    user_id: str
    signed_id: str
    """Device id, or public key."""
    errcode: str


# --- seeds --------------------------------------------------------------------------------------------------------


def seed_from_base64(text: str, usage: Usage) -> bytes:
    """A seed as it is shared and stored; whitespace around it and padding are allowed.

    Raises:
        MalformedSecret: Not 32 bytes in base64.
    """
    try:
        seed = base64.decode(text.strip(), "the seed")
    except MalformedMessage:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise MalformedSecret(name=usage.secret_name, reason="not 32 bytes in base64")
    return seed


def seed_to_base64(seed: bytes) -> str:
    """A seed as it is shared and stored."""
    return base64.encode(seed)


def public_key(seed: bytes) -> Ed25519Key:
    """The public half."""
    return Ed25519Key(base64.encode(_private(seed).public_key().public_bytes_raw()))


def compare(seeds: Seeds, identity: Identity) -> Mapping[Usage, bool]:
    """For each seed that is there, whether it is that of the published key."""
    published = {
        Usage.MASTER: identity.master,
        Usage.SELF_SIGNING: identity.self_signing,
        Usage.USER_SIGNING: identity.user_signing,
    }
    matches: dict[Usage, bool] = {}
    for usage, key in published.items():
        seed = seeds.of(usage)
        if seed is not None:
            matches[usage] = key is not None and public_key(seed) == key.public_key
    return matches


# --- keys ---------------------------------------------------------------------------------------------------------


def make_cross_signing_keys(user_id: UserId, *, master: bytes, self_signing: bytes, user_signing: bytes) -> Identity:
    """An identity from three seeds of 32 random bytes; the same from the same seeds.

    The device's signature on the master key, by which old devices can trust it, is put on with `with_signature`.
    """
    root = _unsigned(user_id, Usage.MASTER, master)
    subkeys = [
        with_signature(key.json, user_id, f"ed25519:{root.public_key}", signature(master, key.json))
        for key in (
            _unsigned(user_id, Usage.SELF_SIGNING, self_signing),
            _unsigned(user_id, Usage.USER_SIGNING, user_signing),
        )
    ]
    return check_identity(user_id, root.json, *subkeys)


def _unsigned(user_id: UserId, usage: Usage, seed: bytes) -> CrossSigningKey:
    key = public_key(seed)
    obj: JsonObject = {"user_id": user_id, "usage": [usage.value], "keys": {f"ed25519:{key}": key}}
    return parse_key(obj, user_id, usage)


# --- signatures ---------------------------------------------------------------------------------------------------


def signature(seed: bytes, obj: JsonObject) -> str:
    """The signature of a cross-signing key on ``obj``, unpadded base64 (spec: Signing JSON).

    Raises:
        MalformedMessage: The object has no canonical JSON.
    """
    return base64.encode(_private(seed).sign(signing_bytes(obj)))


def with_signature(obj: JsonObject, user_id: str, key_id: str, signed: str) -> JsonObject:
    """``obj`` with one signature more."""
    signatures = obj.get("signatures")
    by_user = signatures.get(user_id) if is_object(signatures) else None
    mine: JsonObject = {**(by_user if is_object(by_user) else {}), key_id: signed}
    return {**obj, "signatures": {**(signatures if is_object(signatures) else {}), user_id: mine}}


def with_only_signature(obj: JsonObject, user_id: str, key_id: str, signed: str) -> JsonObject:
    """``obj`` as ``/keys/signatures/upload`` wants it: as the server has it, and of signatures the new one only."""
    bare = {name: value for name, value in obj.items() if name not in {"signatures", "unsigned"}}
    return with_signature(bare, user_id, key_id, signed)


def sign_device(user_id: UserId, self_signing: bytes, device_keys: JsonObject) -> JsonObject:
    """An own device, cross-signed: with the new signature only.

    Args:
        user_id: Our own.
        self_signing: The seed.
        device_keys: The device's whole signed JSON.

    Raises:
        MalformedMessage: The object has no canonical JSON.
    """
    return _signed_by(user_id, self_signing, device_keys)


def sign_identity(user_id: UserId, user_signing: bytes, identity: Identity) -> JsonObject:
    """Another user's master key, verified: with the new signature only.

    Args:
        user_id: Our own.
        user_signing: The seed.
        identity: The other's, which our user has verified.
    """
    return _signed_by(user_id, user_signing, identity.master.json)


def _signed_by(user_id: UserId, seed: bytes, obj: JsonObject) -> JsonObject:
    return with_only_signature(obj, user_id, f"ed25519:{public_key(seed)}", signature(seed, obj))


# --- requests -----------------------------------------------------------------------------------------------------


def device_signing_upload(identity: Identity) -> JsonObject:
    """The body of ``POST /keys/device_signing/upload``, without ``auth``.

    Raises:
        ValueError: It isn't our own: the user-signing key is missing.
    """
    if identity.user_signing is None:
        raise ValueError("only one's own identity has a user-signing key")
    keys = (identity.master, identity.self_signing, identity.user_signing)
    return {key.usage.field: key.json for key in keys}


def signatures_upload(signed: Iterable[tuple[str, str, JsonObject]]) -> JsonObject:
    """The body of ``POST /keys/signatures/upload``.

    Args:
        signed: User id, device id or public key, and the object with its new signature only.
    """
    body: JsonObject = {}
    for user_id, signed_id, obj in signed:
        body.setdefault(user_id, {})[signed_id] = obj
    return body


def refusals(response: Json) -> tuple[Refusal, ...]:
    """What the homeserver didn't take, of the answer to that request, which is 200 all the same.

    Raises:
        MalformedMessage: Not such an answer.
    """
    failures = optional(json_object, as_object(response, "the answer"), "failures") or {}
    return tuple(
        Refusal(user_id=user_id, signed_id=signed_id, errcode=string(json_object(of_user, signed_id), "errcode"))
        for user_id in failures
        for of_user in (json_object(failures, user_id),)
        for signed_id in of_user
    )


def _private(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)
