"""What another device signed: canonical JSON, Ed25519 signatures over it, and the two kinds of signed key.

Owns: the check between a key that a server hands out and a key that we use.
Rule: a key leaves this file only if its owner signed it. A shape that isn't right is `MalformedMessage`, a
signature that isn't is `InvalidSignature`, and nothing else comes out, whatever the input.
Why: whoever can put a key past this file reads what is encrypted to it. And vodozemac must not be handed just
any text: it raises UnicodeEncodeError for a lone surrogate, and panics, past ``except Exception``, for an
Ed25519 key of 33 bytes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec
from canonicaljson import encode_canonical_json
from vodozemac import Ed25519PublicKey, Ed25519Signature

from olmstate.messages import Curve25519Key, DeviceKeys, Ed25519Key, InvalidSignature, MalformedMessage

from .curve25519 import curve25519_key
from .untrusted_json import (
    MAX_INTEGER,
    as_object,
    check_depth,
    is_array,
    is_object,
    is_plain,
    json_object,
    string,
    strings,
)

if TYPE_CHECKING:
    from olmstate.messages import DeviceId, Json, JsonObject, UserId

_KEY_LENGTH: Final = 43  # 32 bytes in unpadded base64
_UNSIGNED: Final = frozenset({"signatures", "unsigned"})

_quick: Final = msgspec.json.Encoder(order="sorted")
"""What is plain, it writes as canonicaljson does, at a tenth of the price."""


def canonical_json(value: JsonObject) -> bytes:
    """Encode ``value`` as the spec's appendix "Canonical JSON" says.

    Floats are refused even where they are whole. The appendix has an example with ``1e10``; but no canonical
    JSON is written like that, so a signature over it was made from other text.

    Raises:
        MalformedMessage: A float, an integer beyond ±(2**53 - 1), a lone surrogate, a key that is no string,
            a type that JSON doesn't have, or nesting that is too deep.
    """
    try:
        if is_plain(value, canonical=True):
            return _quick.encode(value)
        check_depth(value)
        _check_canonical(value)
        return encode_canonical_json(value)
    except UnicodeEncodeError:
        pass
    raise MalformedMessage(reason="a lone surrogate has no canonical JSON")


def signing_bytes(obj: JsonObject) -> bytes:
    """The bytes that a signature on ``obj`` is over (spec: Signing Details).

    Raises:
        MalformedMessage: The object has no canonical JSON.
    """
    return canonical_json({key: value for key, value in obj.items() if key not in _UNSIGNED})


def verify_signed(
    obj: JsonObject, user_id: UserId, key_name: str, ed25519_key: Ed25519Key, *, by: str = "the device"
) -> None:
    """Check that a device, or a cross-signing key, signed ``obj`` (spec: Checking for a Signature).

    Args:
        obj: With ``signatures``.
        user_id: Whose device or key it is.
        key_name: The device's id; of a cross-signing key, the public key itself.
        ed25519_key: The public key.
        by: What the reason calls it.

    Raises:
        InvalidSignature: The signature is missing, unreadable or wrong, or the key is no Ed25519 key.
        MalformedMessage: The object has no canonical JSON.
    """
    signatures = obj.get("signatures")
    by_user = signatures.get(user_id) if is_object(signatures) else None
    signature = by_user.get(f"ed25519:{key_name}") if is_object(by_user) else None
    if not isinstance(signature, str):
        raise InvalidSignature(reason=f"{by}'s signature is missing")
    message = signing_bytes(obj)
    key = _ed25519(ed25519_key)
    if key is None:
        raise InvalidSignature(reason=f"{by}'s key is no Ed25519 key")
    try:
        key.verify_signature(message, Ed25519Signature.from_base64(signature))
    except ValueError:  # vodozemac's own, and UnicodeEncodeError
        pass
    else:
        return
    raise InvalidSignature(reason=f"{by}'s signature is wrong")


def ed25519_key(text: str, what: str) -> Ed25519Key:
    """The key in unpadded base64; padding is allowed.

    Raises:
        MalformedMessage: Not an Ed25519 key; the reason calls it ``what``.
    """
    key = _ed25519(text)
    if key is None:
        raise MalformedMessage(reason=f"{what} is no Ed25519 key")
    return Ed25519Key(key.to_base64())


def check_device_keys(user_id: UserId, device_id: DeviceId, device_keys: Json) -> DeviceKeys:
    """Check one device of a ``/keys/query`` response, or ``sender_device_keys``, and take out its keys.

    That the device's Ed25519 key is the one that we knew before is for the caller to check.

    Args:
        user_id: Whose device it is said to be.
        device_id: Which one.
        device_keys: What the server or the sender gave.

    Raises:
        MalformedMessage: The wrong shape, another user's or device's keys, or a key that is none.
        InvalidSignature: The device didn't sign them.
    """
    device_keys = as_object(device_keys, "the device's keys")
    if string(device_keys, "user_id") != user_id or string(device_keys, "device_id") != device_id:
        raise MalformedMessage(reason="the keys are of another device")
    algorithms = strings(device_keys, "algorithms")
    keys = json_object(device_keys, "keys")
    curve25519 = curve25519_key(string(keys, f"curve25519:{device_id}"), "the identity key")
    fingerprint = ed25519_key(string(keys, f"ed25519:{device_id}"), "the fingerprint key")
    verify_signed(device_keys, user_id, device_id, fingerprint)
    return DeviceKeys(
        user_id=user_id,
        device_id=device_id,
        curve25519=curve25519,
        ed25519=fingerprint,
        algorithms=algorithms,
    )


def check_one_time_key(key: Json, user_id: UserId, device_id: DeviceId, ed25519: Ed25519Key) -> Curve25519Key:
    """Check a claimed ``signed_curve25519`` key, one-time or fallback, and take out the Curve25519 key.

    Args:
        key: What ``/keys/claim`` gave under the key's id.
        user_id: Whose device was asked for.
        device_id: Which one.
        ed25519: That device's key, from its checked device keys.

    Raises:
        MalformedMessage: The wrong shape, or a key that is none.
        InvalidSignature: The device didn't sign it.
    """
    key = as_object(key, "the one-time key")
    curve25519 = curve25519_key(string(key, "key"), "the one-time key")
    verify_signed(key, user_id, device_id, ed25519)
    return curve25519


def _check_canonical(value: JsonObject) -> None:
    # canonicaljson writes floats, integers of any size, and ``true`` for the key True.
    todo: list[Json] = [value]
    for item in todo:
        if isinstance(item, str) or item is None:
            continue
        if isinstance(item, int):
            if not -MAX_INTEGER <= item <= MAX_INTEGER:
                raise MalformedMessage(reason="an integer is too large for canonical JSON")
        elif is_object(item):
            keys: list[object] = list(item)
            if not all(isinstance(key, str) for key in keys):
                raise MalformedMessage(reason="a key is no string")
            todo.extend(item.values())
        elif is_array(item):
            todo.extend(item)
        else:
            raise MalformedMessage(reason="a float, or another type that canonical JSON doesn't have")


def _ed25519(text: str) -> Ed25519PublicKey | None:
    # Shorter and longer text is kept from vodozemac 0.10, which panics if 31 or 33 bytes come out.
    digits = text.rstrip("=")
    if len(digits) != _KEY_LENGTH or len(text) > _KEY_LENGTH + 1:
        return None
    return _remembered(digits)


@lru_cache(1024)
def _remembered(digits: str) -> Ed25519PublicKey | None:
    """The key: whoever has signed one thing has signed others, and to find its point takes 5 µs."""
    try:
        return Ed25519PublicKey.from_base64(digits)
    except ValueError:
        return None
