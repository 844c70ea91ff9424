"""The formulas of a verification, written from the spec alone, straight down. Shares nothing with the library."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from tests.peer.encoding import b64, canonical

PRIME = 2**255 - 19


def x25519(scalar: bytes, point: bytes) -> bytes:
    """RFC 7748, section 5."""
    k = int.from_bytes(scalar, "little")
    k = k & ~7 & ~(1 << 255) | (1 << 254)
    u = int.from_bytes(point, "little") % (1 << 255)
    x1, x2, z2, x3, z3 = u, 1, 0, u, 1
    for bit in range(254, -1, -1):
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        x3, z3 = (da + cb) ** 2 % PRIME, x1 * (da - cb) ** 2 % PRIME
        x2, z2 = aa * bb % PRIME, (aa - bb) * (aa + 121665 * (aa - bb)) % PRIME
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little")


BASE_POINT = (9).to_bytes(32, "little")


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256 and no salt."""
    key = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    block, stream = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.new(key, block + info + bytes([number]), hashlib.sha256).digest()
        stream += block
    return stream[:length]


def commitment(key: str, start_content: Mapping[str, Any]) -> str:
    """Of the accepter's key and the content of the start."""
    return b64(hashlib.sha256((key + canonical(start_content)).encode()).digest())


def sas(secret: bytes, starter: tuple[str, str, str], accepter: tuple[str, str, str], flow_id: str) -> bytes:
    """Six bytes; each side is a user id, a device id and an ephemeral key."""
    info = "MATRIX_KEY_VERIFICATION_SAS|" + "".join(f"{part}|" for part in starter + accepter) + flow_id
    return hkdf(secret, info.encode(), 6)


def decimals(b: bytes) -> tuple[int, int, int]:
    """As the spec writes it."""
    return (
        (b[0] << 5 | b[1] >> 3) + 1000,
        ((b[1] & 0x7) << 10 | b[2] << 2 | b[3] >> 6) + 1000,
        ((b[3] & 0x3F) << 7 | b[4] >> 1) + 1000,
    )


def emoji_numbers(b: bytes) -> list[int]:
    """Seven numbers of six bits."""
    bits = "".join(f"{byte:08b}" for byte in b)
    return [int(bits[start : start + 6], 2) for start in range(0, 42, 6)]


def mac(secret: bytes, ends: tuple[str, str, str, str], flow_id: str, what: str, data: str) -> bytes:
    """Of a key or of the list of keys; ``ends``: user and device of the sender, then of the receiver."""
    key = hkdf(secret, ("MATRIX_KEY_VERIFICATION_MAC" + "".join(ends) + flow_id + what).encode(), 32)
    return hmac.new(key, data.encode(), hashlib.sha256).digest()


def macs(
    secret: bytes, ends: tuple[str, str, str, str], flow_id: str, keys: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """Of each key, and of the list."""
    each = {key_id: b64(mac(secret, ends, flow_id, key_id, key)) for key_id, key in keys.items()}
    return each, b64(mac(secret, ends, flow_id, "KEY_IDS", ",".join(sorted(keys))))
