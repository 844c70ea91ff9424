"""Curve25519 public keys of others, each in its one spelling.

Rule: one key, one text. Sessions and devices are found by a key's text, and what was decrypted is remembered with it.
Why: the curve ignores the 256th bit, and anything counts modulo 2**255 - 19, so that several texts are one key to
vodozemac. A homeserver that spells the sender's key anew would have a message on a fallback key decrypted again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from olmstate.messages import Curve25519Key, MalformedMessage

from .base64 import decode, encode

_KEY_BYTES: Final = 32
_LONGEST_REMEMBERED: Final = 44
_PRIME: Final = 2**255 - 19


def curve25519_key(text: str, what: str) -> Curve25519Key:
    """The key in unpadded base64; padding is allowed.

    Raises:
        MalformedMessage: Not a key, or not as Curve25519 writes it; the reason calls it ``what``.
    """
    # padding may be of any length, and what is remembered is kept
    return _remembered(text, what) if len(text) <= _LONGEST_REMEMBERED else _key(text, what)


def _key(text: str, what: str) -> Curve25519Key:
    octets = decode(text, what)
    if len(octets) != _KEY_BYTES or int.from_bytes(octets, "little") >= _PRIME:
        raise MalformedMessage(reason=f"{what} is no Curve25519 key")
    return Curve25519Key(encode(octets))


_remembered = lru_cache(1024)(_key)
"""The same devices write again and again."""
