"""Encrypted files, written from the spec alone, straight down. Shares nothing with the library."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from tests.peer.encoding import b64, unb64
from tests.peer.secret_storage import aes_ctr


def decrypt(file: dict[str, Any], ciphertext: bytes) -> bytes:
    """A whole file; everything about it must be right."""
    assert file["v"] == "v2"
    key = file["key"]
    assert (key["kty"], key["alg"], key["ext"]) == ("oct", "A256CTR", True)
    assert {"encrypt", "decrypt"} <= set(key["key_ops"])
    assert unb64(file["hashes"]["sha256"]) == hashlib.sha256(ciphertext).digest()
    iv = unb64(file["iv"])
    assert iv[8:] == bytes(8)
    return aes_ctr(base64.urlsafe_b64decode(key["k"] + "="), iv, ciphertext)


def encrypt(plaintext: bytes, key: bytes, iv: bytes) -> tuple[dict[str, Any], bytes]:
    """A whole file."""
    ciphertext = aes_ctr(key, iv, plaintext)
    jwk = {
        "kty": "oct",
        "alg": "A256CTR",
        "ext": True,
        "k": base64.urlsafe_b64encode(key).decode().rstrip("="),
        "key_ops": ["encrypt", "decrypt"],
    }
    hashes = {"sha256": b64(hashlib.sha256(ciphertext).digest())}
    return {"v": "v2", "key": jwk, "iv": b64(iv), "hashes": hashes}, ciphertext
