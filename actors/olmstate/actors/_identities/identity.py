"""A user's public cross-signing keys, and what their signatures vouch for (spec: Cross-signing).

Owns: the check between keys that a server hands out and an identity that we know.
Rule: an `Identity` exists only if its master key signed its other keys. Keys are compared by their values; their ids
share one space of names with device ids, and stand for nothing.
Why: whoever can put a key past this file is taken for that user.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.signatures import canonical_json, ed25519_key, verify_signed
from olmstate.actors._wire.untrusted_json import as_object, json_object, loads, string, strings
from olmstate.messages import Ed25519Key, InvalidSignature, Json, JsonObject, MalformedMessage, UserId


class Usage(enum.Enum):
    """What a key is for. The values are those of the wire."""

    MASTER = "master"
    """The identity. Signs the other two."""
    SELF_SIGNING = "self_signing"
    """Signs the user's own devices."""
    USER_SIGNING = "user_signing"
    """Signs other users' master keys. Its user alone sees it."""

    @property
    def secret_name(self) -> str:
        """Under which the private half is shared and stored (spec: Cross-signing)."""
        return f"m.cross_signing.{self.value}"

    @property
    def field(self) -> str:
        """In ``/keys/device_signing/upload``."""
        return f"{self.value}_key"


class CrossSigningKey(QuietStruct, frozen=True, kw_only=True):
    """One public key."""

    user_id: UserId
    usage: Usage
    public_key: Ed25519Key
    signed: bytes
    """Canonical JSON of the whole object, signatures and unknown fields too."""

    @property
    def key_id(self) -> str:
        """``ed25519:…``."""
        return f"ed25519:{self.public_key}"

    @property
    def json(self) -> JsonObject:
        """The object."""
        value: JsonObject = loads(self.signed)
        return value


class Identity(QuietStruct, frozen=True, kw_only=True):
    """A user's keys; the master key has signed the others."""

    user_id: UserId
    master: CrossSigningKey
    self_signing: CrossSigningKey
    user_signing: CrossSigningKey | None
    """None: another user's."""


def parse_key(value: Json, user_id: UserId, usage: Usage) -> CrossSigningKey:
    """Read a key. Its signatures are not looked at.

    Args:
        value: As ``/keys/query`` has it.
        user_id: Whose it is said to be.
        usage: What it is said to be for.

    Raises:
        MalformedMessage: Another user's or of another usage, more or less than one key, or none that we know.
    """
    what = f"the {usage.value} key"
    obj = as_object(value, what)
    if string(obj, "user_id") != user_id:
        raise MalformedMessage(reason=f"{what} is another user's")
    if strings(obj, "usage") != (usage.value,):
        raise MalformedMessage(reason=f"{what} is for something else")
    keys = json_object(obj, "keys")
    if len(keys) != 1:
        raise MalformedMessage(reason=f"{what} isn't one key")
    [key_id] = keys
    public_key = ed25519_key(string(keys, key_id), what)
    # a signature is found by the key's id, so that it has to be the one spelling of the key
    if key_id != f"ed25519:{public_key}":
        raise MalformedMessage(reason=f"{what} isn't named after itself")
    return CrossSigningKey(user_id=user_id, usage=usage, public_key=public_key, signed=canonical_json(obj))


def check_identity(user_id: UserId, master: Json, self_signing: Json, user_signing: Json | None = None) -> Identity:
    """Check a user's keys, of ``/keys/query``, and what the master key has to have signed.

    That it is the identity that we knew before is for the caller to check (`trust`).

    Args:
        user_id: Whose they are said to be.
        master: Of ``master_keys``.
        self_signing: Of ``self_signing_keys``.
        user_signing: Of ``user_signing_keys``; only one's own is there.

    Raises:
        MalformedMessage: See `parse_key`.
        InvalidSignature: The master key didn't sign one of the others.
    """
    root = parse_key(master, user_id, Usage.MASTER)
    keys = [parse_key(self_signing, user_id, Usage.SELF_SIGNING)]
    if user_signing is not None:
        keys.append(parse_key(user_signing, user_id, Usage.USER_SIGNING))
    for key in keys:
        verify_signed(key.json, user_id, root.public_key, root.public_key, by="the master key")
    return Identity(user_id=user_id, master=root, self_signing=keys[0], user_signing=keys[1] if len(keys) > 1 else None)


# --- who vouches for what -----------------------------------------------------------------------------------------


def has_signed_device(identity: Identity, device_keys: JsonObject) -> bool:
    """Whether the device is cross-signed: its owner's self-signing key has signed it.

    Args:
        identity: The owner's.
        device_keys: The whole signed JSON; that the device signed it itself is `check_device_keys`' business.
    """
    return device_keys.get("user_id") == identity.user_id and _signed(device_keys, identity.self_signing)


def is_signed_by_key(key: CrossSigningKey, user_id: UserId, public_key: Ed25519Key) -> bool:
    """Whether another cross-signing key, of a user, has signed this one."""
    try:
        verify_signed(key.json, user_id, public_key, public_key)
    except (InvalidSignature, MalformedMessage):
        return False
    return True


def ids_clash(identity: Identity, device_ids: Iterable[str]) -> bool:
    """Whether the user has a device with the id of a cross-signing key: such a user must not be verified.

    Args:
        identity: The user's.
        device_ids: All that ``/keys/query`` names, also those whose keys we refuse.
    """
    keys = {identity.master.public_key, identity.self_signing.public_key}
    if identity.user_signing is not None:
        keys.add(identity.user_signing.public_key)
    # a device id may be spelled with padding, and mean the same key
    return any(device_id.rstrip("=") in keys for device_id in device_ids)


def _signed(obj: JsonObject, key: CrossSigningKey) -> bool:
    try:
        verify_signed(obj, key.user_id, key.public_key, key.public_key)
    except (InvalidSignature, MalformedMessage):
        return False
    return True
