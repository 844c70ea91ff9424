"""Curve25519 public keys of others, each in its one spelling.

Rule: one key, one text. Sessions and devices are found by a key's text, and what was decrypted is remembered with it.
Why: the curve ignores the 256th bit, and anything counts modulo 2**255 - 19, so that several texts are one key to
vodozemac. A homeserver that spells the sender's key anew would have a message on a fallback key decrypted again.

And a public key has relatives: add a point of low order to it, and each secret agreed with it stays the same, because
private keys are multiples of 8. Nobody's device has such a key: it is a multiple of the base point, of prime order.
`is_of_prime_order` tells them apart.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from olmstate.messages import Curve25519Key, MalformedMessage

from .base64 import decode, encode

_KEY_BYTES: Final = 32
_LONGEST_REMEMBERED: Final = 44
_PRIME: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""Of the base point (RFC 7748, section 4.1)."""


def curve25519_key(text: str, what: str) -> Curve25519Key:
    """The key in unpadded base64; padding is allowed.

    Raises:
        MalformedMessage: Not a key, or not as Curve25519 writes it; the reason calls it ``what``.
    """
    # padding may be of any length, and what is remembered is kept
    return _remembered(text, what) if len(text) <= _LONGEST_REMEMBERED else _key(text, what)


def is_canonical(octets: bytes) -> bool:
    """Whether these are 32 bytes that Curve25519 itself would write."""
    return len(octets) == _KEY_BYTES and int.from_bytes(octets, "little") < _PRIME


@lru_cache(1024)
def is_of_prime_order(octets: bytes) -> bool:
    """Whether ``octets``, which are canonical, are a public key that a device may have, and not a relative of one.

    Two multiplications, each by a multiple of 8, that undo each other: what is of low order gets lost on the way.
    """
    try:
        point = X25519PublicKey.from_public_bytes(octets)
        there = X25519PublicKey.from_public_bytes(_THERE.exchange(point))
        return _BACK.exchange(there) == octets
    except ValueError:  # of low order: the product is zero
        return False


def _inverse_scalars() -> tuple[int, int]:
    """Two numbers that X25519 takes as they are, and whose product is 1 modulo the order of the base point."""
    smallest, step = 2**254, 8
    for there in range(smallest, 2 * smallest, step):
        back = pow(there, -1, _ORDER)
        # all that is congruent: the one that is a multiple of 8 and large enough
        back += _ORDER * ((-back * pow(_ORDER, -1, step)) % step)
        if smallest <= back < 2 * smallest:
            return there, back
    raise AssertionError


def _private_key(scalar: int) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(scalar.to_bytes(_KEY_BYTES, "little"))


_THERE, _BACK = map(_private_key, _inverse_scalars())


def _key(text: str, what: str) -> Curve25519Key:
    octets = decode(text, what)
    if not is_canonical(octets):
        raise MalformedMessage(reason=f"{what} is no Curve25519 key")
    return Curve25519Key(encode(octets))


_remembered = lru_cache(1024)(_key)
"""The same devices write again and again."""
