"""Encrypted files, version 2 (spec: Sending encrypted attachments): AES-256-CTR and a SHA-256 of the ciphertext.

Owns: the `EncryptedFile` object of events, and its cipher.
Rule: a key is used for one file, and is made here. A file may be of any length and passes through in chunks. Nothing
of a received file may be used before its hash was compared.
Why: the file lies on a server that could exchange it. AES-CTR alone lets anybody turn single bits of the text.

These are functions of bytes, for any thread: no store, no supervisor, no lock. A gigabyte takes seconds, so call
`encrypt_attachment` and `decrypt_attachment` with `trio.to_thread.run_sync`.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from olmstate.messages import DamagedAttachment, MalformedAttachment, MalformedMessage

from .base64 import decode, encode
from .untrusted_json import as_object, json_object, string

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext

    from olmstate.messages import Json, JsonObject

CHUNK: Final = 256 * 1024
"""Bytes of a file that are in memory at once, twice over."""
_VERSION: Final = "v2"
_KEY_BYTES: Final = 32
_IV_BYTES: Final = 16
_RANDOM_IV_BYTES: Final = 8
"""The rest of the counter begins at zero."""
_HASH_BYTES: Final = 32


class Source(Protocol):
    """A file that is read from, opened in binary mode."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        ...


class SeekableSource(Source, Protocol):
    """A file that can be read again."""

    def tell(self) -> int:
        """The place."""
        ...

    def seek(self, place: int, /) -> object:
        """Go there."""
        ...


class Target(Protocol):
    """A file that is written to, opened in binary mode."""

    def write(self, data: bytes, /) -> object:
        """All of ``data``."""
        ...


class AttachmentEncryptor:
    """Encrypts one file as it comes, with a key of its own.

    ::

        encryptor = AttachmentEncryptor()
        for chunk in chunks:
            upload(encryptor.encrypt(chunk))
        file = encryptor.finish()
    """

    def __init__(self) -> None:
        self._key = os.urandom(_KEY_BYTES)
        self._iv = os.urandom(_RANDOM_IV_BYTES).ljust(_IV_BYTES, b"\0")
        self._cipher: CipherContext | None = Cipher(AES256(self._key), CTR(self._iv)).encryptor()
        self._hash = sha256()

    def encrypt(self, chunk: bytes) -> bytes:
        """The next part of the ciphertext, as long as ``chunk``.

        Raises:
            ValueError: The file is finished.
        """
        ciphertext = _open(self._cipher).update(chunk)
        self._hash.update(ciphertext)
        return ciphertext

    def finish(self) -> JsonObject:
        """The file's ``EncryptedFile`` object, without ``url``: add that once the file is uploaded.

        It holds the key, so it belongs into an encrypted event only, as ``file``, or ``thumbnail_file`` in ``info``.

        Raises:
            ValueError: The file is finished already.
        """
        _open(self._cipher).finalize()
        self._cipher = None
        return {
            "v": _VERSION,
            "key": {
                "kty": "oct",
                "alg": "A256CTR",
                "ext": True,
                "k": encode(self._key).translate(_TO_URL_SAFE),
                "key_ops": ["encrypt", "decrypt"],
            },
            "iv": encode(self._iv),
            "hashes": {"sha256": encode(self._hash.digest())},
        }


class AttachmentDecryptor:
    """Decrypts one file as it comes.

    **Nothing of it may be used before** `finish` **has returned.**

    ::

        decryptor = AttachmentDecryptor(event.content["file"])
        with open(temporary, "wb") as target:
            for chunk in downloaded:
                target.write(decryptor.decrypt(chunk))
        decryptor.finish()

    Args:
        file: The ``EncryptedFile`` object of a decrypted event.

    Raises:
        MalformedAttachment: It isn't one, or one of another version.
    """

    def __init__(self, file: Json) -> None:
        key, iv, self._expected = _read(file)
        self._cipher: CipherContext | None = Cipher(AES256(key), CTR(iv)).decryptor()
        self._hash = sha256()

    def decrypt(self, chunk: bytes) -> bytes:
        """The next part of the file, as long as ``chunk``.

        Raises:
            ValueError: The file is finished.
        """
        plaintext = _open(self._cipher).update(chunk)
        self._hash.update(chunk)
        return plaintext

    def finish(self) -> None:
        """Check that this was the whole file, as it was sent.

        Raises:
            DamagedAttachment: It wasn't. Throw away what was decrypted.
            ValueError: The file is finished already.
        """
        _open(self._cipher).finalize()
        self._cipher = None
        if not hmac.compare_digest(self._hash.digest(), self._expected):
            raise DamagedAttachment


def encrypt_attachment(source: Source, target: Target) -> JsonObject:
    """Encrypt a file from where ``source`` is to its end. Takes half a megabyte of memory, whatever its length.

    Returns:
        The ``EncryptedFile`` object, without ``url``.
    """
    encryptor = AttachmentEncryptor()
    while chunk := source.read(CHUNK):
        target.write(encryptor.encrypt(chunk))
    return encryptor.finish()


def decrypt_attachment(source: SeekableSource, target: Target, file: Json) -> None:
    """Decrypt a file from where ``source`` is to its end. Takes half a megabyte of memory, whatever its length.

    The file is read twice: nothing is written before its hash is known to be right.

    Args:
        source: The downloaded ciphertext.
        target: Where the plaintext goes.
        file: The ``EncryptedFile`` object of a decrypted event.

    Raises:
        MalformedAttachment: The object isn't one, or one of another version. Nothing was written.
        DamagedAttachment: The file isn't the one that was sent. Nothing was written, unless somebody changed the file
            while it was read for the second time.
    """
    decryptor = AttachmentDecryptor(file)
    start, found = source.tell(), sha256()
    while chunk := source.read(CHUNK):
        found.update(chunk)
    if not hmac.compare_digest(found.digest(), _read(file)[2]):
        raise DamagedAttachment
    source.seek(start)
    while chunk := source.read(CHUNK):
        target.write(decryptor.decrypt(chunk))
    decryptor.finish()


def _read(file: Json) -> tuple[bytes, bytes, bytes]:
    """Key, IV and hash."""
    try:
        obj = as_object(file, "the file")
        key, hashes = json_object(obj, "key"), json_object(obj, "hashes")
        names = (string(obj, "v"), string(key, "kty"), string(key, "alg"))
        found = (
            _bytes(string(key, "k").translate(_FROM_URL_SAFE), "the key", _KEY_BYTES),
            _bytes(string(obj, "iv"), "the IV", _IV_BYTES),
            _bytes(string(hashes, "sha256"), "the hash", _HASH_BYTES),
        )
    except MalformedMessage as error:
        reason = error.reason
    else:
        if names == (_VERSION, "oct", "A256CTR"):
            return found
        reason = "of another version or algorithm"
    raise MalformedAttachment(reason=reason)


def _bytes(text: str, what: str, length: int) -> bytes:
    octets = decode(text, what)
    if len(octets) != length:
        raise MalformedMessage(reason=f"{what} isn't {length} bytes")
    return octets


def _open(cipher: CipherContext | None) -> CipherContext:
    if cipher is None:
        raise ValueError("the file is finished")
    return cipher


_TO_URL_SAFE: Final = str.maketrans("+/", "-_")
_FROM_URL_SAFE: Final = str.maketrans("-_", "+/")
"""A JSON Web Key is in the alphabet of URLs; anything else here is in the usual one."""
