"""Olm messages that nobody has sent: of the right shape, and decrypted by no session."""

from __future__ import annotations

import hashlib

FAR = 1900
"""Steps ahead that a message may say that it is; vodozemac goes along for 2,000."""


def forged_message(number: int, chain_index: int = FAR) -> bytes:
    """A normal message as if of another ratchet, and far along its chain: another one for each number."""
    ratchet_key = hashlib.sha256(b"%d" % number).digest()[:31] + b"\0"
    ciphertext = bytes(16)
    return (
        b"\x03\x0a\x20"
        + ratchet_key
        + b"\x10"
        + _varint(chain_index)
        + b"\x22"
        + bytes([len(ciphertext)])
        + ciphertext
        + number.to_bytes(8, "big")  # the MAC
    )


def _varint(value: int) -> bytes:
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])
