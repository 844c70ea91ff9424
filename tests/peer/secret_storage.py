"""Secret storage and recovery keys, written from the spec alone, straight down. Shares nothing with the library."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from tests.peer.encoding import b64, unb64

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def keys(key: bytes, name: str) -> tuple[bytes, bytes]:
    """HKDF-SHA-256 with 32 zero bytes as salt; 64 bytes."""
    prk = hmac.new(bytes(32), key, hashlib.sha256).digest()
    first = hmac.new(prk, name.encode() + b"\x01", hashlib.sha256).digest()
    second = hmac.new(prk, first + name.encode() + b"\x02", hashlib.sha256).digest()
    return first, second


def aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """The counter counted by hand, from block cipher calls."""
    block = Cipher(AES(key), ECB()).encryptor()  # noqa: S305 - the counter mode is what is written out here
    counter = int.from_bytes(iv, "big")
    stream = b""
    while len(stream) < len(data):
        stream += block.update((counter % 2**128).to_bytes(16, "big"))
        counter += 1
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def encrypt(key: bytes, name: str, secret: str, iv: bytes) -> dict[str, str]:
    """As it stands in account data."""
    aes_key, mac_key = keys(key, name)
    iv = bytes(byte & 0x7F if place == 8 else byte for place, byte in enumerate(iv))
    ciphertext = aes_ctr(aes_key, iv, secret.encode())
    mac = hmac.new(mac_key, ciphertext, hashlib.sha256).digest()
    return {"iv": b64(iv), "ciphertext": b64(ciphertext), "mac": b64(mac)}


def decrypt(key: bytes, name: str, stored: dict[str, str]) -> str:
    """The MAC must be right."""
    aes_key, mac_key = keys(key, name)
    ciphertext = unb64(stored["ciphertext"])
    assert unb64(stored["mac"]) == hmac.new(mac_key, ciphertext, hashlib.sha256).digest()
    return aes_ctr(aes_key, unb64(stored["iv"]), ciphertext).decode()


def description(key: bytes, **more: object) -> dict[str, object]:
    """Of a key, with its check, as it stands in account data."""
    check = encrypt(key, "", "\0" * 32, bytes(16))
    return {"algorithm": "m.secret_storage.v1.aes-hmac-sha2", "iv": check["iv"], "mac": check["mac"], **more}


def recovery_key(key: bytes) -> str:
    """Groups of four."""
    octets = bytearray(b"\x8b\x01" + key)
    parity = 0
    for octet in octets:
        parity ^= octet
    octets.append(parity)
    number, text = int.from_bytes(octets, "big"), ""
    while number:
        text = ALPHABET[number % 58] + text
        number //= 58
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))
