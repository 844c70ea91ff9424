"""The cryptography of a short authentication string (spec: Short Authentication String (SAS) verification).

Owns: key agreement, the commitment, the string that people compare, and the MACs of keys.
Rule: all is computed from values that a row can hold, the ephemeral private key among them, so that any process can
do the next step. What a peer sent is compared in constant time, and a key that would make the secret known to
everybody is refused.
Why: vodozemac's own `Sas` can't be stored. A flow that lives in one process ends with it.

Matrix names two older ways, which stay out of new flows: the key agreement ``curve25519``, which doesn't bind the
string to the ephemeral keys, is never taken; the MAC ``hkdf-hmac-sha256`` is taken from peers that know no better.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from olmstate.actors._wire import base64
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Curve25519Key, MalformedMessage

from .emoji import EMOJI, Emoji

KEY_AGREEMENT: Final = "curve25519-hkdf-sha256"
HASH: Final = "sha256"
MAC_V2: Final = "hkdf-hmac-sha256.v2"
MAC_V2_UNSTABLE: Final = "org.matrix.msc3783.hkdf-hmac-sha256"
"""What `MAC_V2` was called before it was in the spec."""
MAC_LIBOLM: Final = "hkdf-hmac-sha256"
"""The MAC of `MAC_V2`, written as libolm once did by mistake. 48 of its 256 bits count."""
MAC_METHODS: Final = (MAC_V2, MAC_V2_UNSTABLE, MAC_LIBOLM)
"""The best first. The spec: `MAC_LIBOLM` MUST not be used where both sides have `MAC_V2`."""
DECIMAL: Final = "decimal"
EMOJI_METHOD: Final = "emoji"
SAS_METHODS: Final = (EMOJI_METHOD, DECIMAL)

SAS_BYTES: Final = 6
KEY_IDS: Final = "KEY_IDS"
"""What stands in place of a key's id in the MAC of the list of ids."""


class Side(QuietStruct, frozen=True, kw_only=True):
    """One of the two devices, as the string is bound to it."""

    user_id: str
    device_id: str
    key: str
    """Its ephemeral public key, unpadded base64."""


class Macs(QuietStruct, frozen=True, kw_only=True):
    """What ``m.key.verification.mac`` carries."""

    mac: Mapping[str, str]
    """By the key's id, ``ed25519:…``."""
    keys: str
    """Of the sorted ids, joined by commas."""


class MacContext(QuietStruct, frozen=True, kw_only=True):
    """What MACs are made with, in one direction."""

    method: str
    """One of `MAC_METHODS`."""
    secret: bytes
    """`shared_secret`."""
    sender: tuple[str, str]
    """User id and device id of who makes them."""
    receiver: tuple[str, str]
    flow_id: str
    """Transaction id, or the request's event id."""


def public_key(private: bytes) -> Curve25519Key:
    """The public half of an ephemeral key of 32 bytes."""
    return Curve25519Key(base64.encode(X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()))


def commitment(accepter_key: str, start_content: bytes) -> str:
    """What the accepter binds itself to before it knows the other's key: unpadded base64, 43 characters.

    Args:
        accepter_key: The accepter's ephemeral public key, unpadded base64.
        start_content: Canonical JSON of the content of ``m.key.verification.start``, as it came, whole.
    """
    return base64.encode(sha256(accepter_key.encode() + start_content).digest())


def is_committed(commitment_sent: str, accepter_key: str, start_content: bytes) -> bool:
    """Whether the key is the one that was committed to. In constant time."""
    return _same(commitment_sent.rstrip("="), commitment(accepter_key, start_content))


def shared_secret(private: bytes, peer_key: Curve25519Key) -> bytes:
    """The 32 bytes that both sides, and nobody else, can compute.

    Raises:
        MalformedMessage: The peer's key is one for which they are all zero, whatever our key is.
    """
    try:
        theirs = X25519PublicKey.from_public_bytes(base64.decode(peer_key, "the ephemeral key"))
        return X25519PrivateKey.from_private_bytes(private).exchange(theirs)
    except ValueError:
        pass
    raise MalformedMessage(reason="the ephemeral key gives no secret")


def sas_bytes(secret: bytes, *, starter: Side, accepter: Side, flow_id: str) -> bytes:
    """The six bytes that are shown as emoji; the first five are shown as numbers.

    Args:
        secret: `shared_secret`.
        starter: Who sent the ``m.key.verification.start`` that counts.
        accepter: Who sent ``m.key.verification.accept``.
        flow_id: Transaction id, or the request's event id.
    """
    sides = [part for side in (starter, accepter) for part in (side.user_id, side.device_id, side.key)]
    return _hkdf(secret, "|".join(("MATRIX_KEY_VERIFICATION_SAS", *sides, flow_id)), SAS_BYTES)


def decimals(sas: bytes) -> tuple[int, int, int]:
    """Three numbers, 1000 to 9191 (spec: SAS method: decimal)."""
    bits = int.from_bytes(sas[:5], "big")
    return (bits >> 27) + 1000, (bits >> 14 & 0x1FFF) + 1000, (bits >> 1 & 0x1FFF) + 1000


def emoji(sas: bytes) -> tuple[Emoji, ...]:
    """Seven emoji (spec: SAS method: emoji)."""
    bits = int.from_bytes(sas[:SAS_BYTES], "big") >> 6
    return tuple(EMOJI[bits >> shift & 0x3F] for shift in range(36, -1, -6))


def macs_of(context: MacContext, keys: Mapping[str, str]) -> Macs:
    """MACs of the keys that the receiver is to verify.

    Args:
        context: With this device as sender.
        keys: Public keys, unpadded base64, by their ids.
    """
    return Macs(
        mac={key_id: _written(context.method, _mac(context, key_id, key)) for key_id, key in keys.items()},
        keys=_written(context.method, _mac(context, KEY_IDS, _listed(keys))),
    )


def verified_by(context: MacContext, macs: Macs, keys: Mapping[str, str]) -> tuple[str, ...]:
    """The ids of the keys that the MACs vouch for, sorted; none if a single MAC that we can check is wrong.

    The MAC of the list is checked first. Ids that we have no key for are passed over (spec: step 17 of SAS).

    Args:
        context: With the peer as sender.
        macs: What the peer sent.
        keys: The peer's public keys as we knew them when the flow began, unpadded base64, by their ids.
    """
    if not _is_mac(context, KEY_IDS, _listed(macs.mac), macs.keys):
        return ()
    known = sorted(set(keys).intersection(macs.mac))
    # every one is checked, so that the time doesn't tell which was wrong
    right = [_is_mac(context, key_id, keys[key_id], macs.mac[key_id]) for key_id in known]
    return tuple(known) if all(right) else ()


def _listed(key_ids: Mapping[str, str]) -> str:
    return ",".join(sorted(key_ids))


def _mac(context: MacContext, what: str, data: str) -> bytes:
    ends = (*context.sender, *context.receiver)
    key = _hkdf(context.secret, "".join(("MATRIX_KEY_VERIFICATION_MAC", *ends, context.flow_id, what)), 32)
    return hmac.digest(key, data.encode(), "sha256")


def _is_mac(context: MacContext, what: str, data: str, mac: str) -> bool:
    written = _written(context.method, _mac(context, what, data))
    return _same(mac if context.method == MAC_LIBOLM else mac.rstrip("="), written)


def _written(method: str, mac: bytes) -> str:
    return libolm_base64(mac) if method == MAC_LIBOLM else base64.encode(mac)


def libolm_base64(mac: bytes) -> str:
    """``mac`` as libolm wrote it, in place: each group of three bytes went over the beginning of the next ones."""
    length = -(-len(mac) * 4 // 3)
    buffer = bytearray(mac.ljust(length, b"\0"))
    for start in range(0, len(mac), 3):
        end = min(start + 3, len(mac))
        digits = b64encode(buffer[start:end]).rstrip(b"=")
        place = start * 4 // 3
        buffer[place : place + len(digits)] = digits
    return buffer.decode()


def _hkdf(secret: bytes, info: str, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info.encode()).derive(secret)


def _same(theirs: str, ours: str) -> bool:
    # of text, `compare_digest` takes ASCII only, and a peer may send anything
    return hmac.compare_digest(theirs.encode("utf-8", "surrogatepass"), ours.encode())
