"""A key as people write it down (spec: Cryptographic key representation). For secret storage, and for key backup."""

from __future__ import annotations

import textwrap
from functools import reduce
from typing import Final

from olmstate.messages import MalformedRecoveryKey

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Bitcoin's base58: without 0, O, I and l."""
_VALUES: Final = {digit: value for value, digit in enumerate(_ALPHABET)}
_PREFIX: Final = b"\x8b\x01"
KEY_BYTES: Final = 32
_BYTES: Final = len(_PREFIX) + KEY_BYTES + 1
_LONGEST: Final = 60
"""Digits; a right one has 48. Longer text would only take time."""


def recovery_key(key: bytes) -> str:
    """32 bytes as twelve groups of four characters."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    octets = _PREFIX + key
    return " ".join(textwrap.wrap(_base58(octets + bytes([_parity(octets)])), 4))


def read_recovery_key(text: str) -> bytes:
    """The 32 bytes. Whitespace counts nowhere.

    Raises:
        MalformedRecoveryKey: Not base58, not of that length, or mistyped: the parity is wrong.
    """
    digits = "".join(text.split())
    unknown = set(digits).difference(_ALPHABET)
    if unknown:
        raise MalformedRecoveryKey(reason="it has a character that isn't used in one")
    number = reduce(lambda so_far, digit: so_far * 58 + _VALUES[digit], digits[:_LONGEST], 0)
    length = len(digits) - len(digits.lstrip("1")) + (number.bit_length() + 7) // 8
    if length != _BYTES or len(digits) > _LONGEST:
        raise MalformedRecoveryKey(reason="it is too short or too long")
    octets = number.to_bytes(_BYTES, "big")
    if _parity(octets):
        raise MalformedRecoveryKey(reason="something in it is mistyped")
    if not octets.startswith(_PREFIX):
        raise MalformedRecoveryKey(reason="it is another kind of key")
    return octets[len(_PREFIX) : -1]


def _base58(octets: bytes) -> str:
    number, digits = int.from_bytes(octets, "big"), ""
    while number:
        number, value = divmod(number, 58)
        digits = _ALPHABET[value] + digits
    return digits


def _parity(octets: bytes) -> int:
    return reduce(lambda so_far, octet: so_far ^ octet, octets, 0)
