"""Pickles sealed as vodozemac and libolm seal theirs, so that what is in them can be mutated behind the MAC.

Both take a key through HKDF-SHA-256 ("Pickle"), encrypt with AES-256-CBC and keep 8 bytes of HMAC-SHA-256.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.padding import PKCS7

PICKLE_KEY: Final = bytes(32)
MAC_SIZE: Final = 8
BLOCK: Final = 128


def seal(plaintext: bytes, key: bytes = PICKLE_KEY) -> str:
    """A pickle with this in it."""
    aes_key, mac_key, iv = _keys(key)
    padder = PKCS7(BLOCK).padder()
    encryptor = Cipher(AES256(aes_key), CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
    return _unpadded(ciphertext + hmac.digest(mac_key, ciphertext, "sha256")[:MAC_SIZE])


def unseal(pickle: str, key: bytes = PICKLE_KEY) -> bytes:
    """What is in a pickle."""
    aes_key, _, iv = _keys(key)
    ciphertext = base64.b64decode(pickle + "=" * (-len(pickle) % 4))[:-MAC_SIZE]
    decryptor = Cipher(AES256(aes_key), CBC(iv)).decryptor()
    unpadder = PKCS7(BLOCK).unpadder()
    return unpadder.update(decryptor.update(ciphertext) + decryptor.finalize()) + unpadder.finalize()


def _keys(key: bytes) -> tuple[bytes, bytes, bytes]:
    derived = HKDF(SHA256(), 80, bytes(32), b"Pickle").derive(key)
    return derived[:32], derived[32:64], derived[64:]


def _unpadded(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii").rstrip("=")
