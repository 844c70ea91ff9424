"""The encrypted key file (spec: Key exports): room keys under a passphrase, as all clients exchange them.

Owns: the armour, the header, key derivation and sealing.
Rule: nothing is decrypted, let alone parsed, before its HMAC was compared, and no file makes us derive for
longer than the caller allows.
Why: the file is handed from person to person, and names the number of PBKDF2 rounds itself: the largest that
fits takes an hour.

Slow on purpose: run it in a thread, outside any lock. PBKDF2 lets the interpreter go on meanwhile.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import textwrap
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from olmstate.messages import MalformedKeyFile, MalformedMessage, WrongPassphrase

from .untrusted_json import is_array, loads

if TYPE_CHECKING:
    from olmstate.messages import Json, JsonObject

DEFAULT_ROUNDS: Final = 500_000
"""What Element and the Rust SDK use; a quarter to half a second. The spec asks for 100,000 at least."""
MAX_ROUNDS: Final = 10_000_000
"""What a file may ask for unless the caller says otherwise: 5 to 10 seconds."""

_BEGIN: Final = b"-----BEGIN MEGOLM SESSION DATA-----"
_END: Final = b"-----END MEGOLM SESSION DATA-----"
_VERSION: Final = b"\x01"
_SALT: Final = slice(1, 17)
_IV: Final = slice(17, 33)
_ROUNDS: Final = slice(33, 37)
_HEADER_SIZE: Final = 37
_MAC_SIZE: Final = 32
_LINE_LENGTH: Final = 96  # 72 bytes a line, as Element
_LARGEST_ROUNDS: Final = 2**32 - 1


def encrypt_key_file(sessions: list[JsonObject], passphrase: str, *, rounds: int = DEFAULT_ROUNDS) -> str:
    """Write exported room keys as a key file.

    Args:
        sessions: As the spec's "Key export format" has them; not checked.
        passphrase: Taken as UTF-8, not normalised.
        rounds: Of PBKDF2, 1 to 2**32 - 1.

    Raises:
        ValueError: The number of rounds doesn't fit.
    """
    iv = bytearray(os.urandom(16))
    iv[8] &= 0x7F  # bit 63: AES-CTR implementations differ on what carries over it
    # Escaped to ASCII, so that a lone surrogate in a session is no obstacle.
    plaintext = json.dumps(sessions, separators=(",", ":")).encode()
    return seal(plaintext, passphrase, salt=os.urandom(16), iv=bytes(iv), rounds=rounds)


def decrypt_key_file(data: str | bytes, passphrase: str, *, max_rounds: int = MAX_ROUNDS) -> list[Json]:
    """Read a key file. What the array holds is not checked: one bad session must not cost the others.

    Args:
        data: The file. Text around it, any line ends, indentation and missing padding are put up with.
        passphrase: Taken as UTF-8, not normalised.
        max_rounds: The most rounds of PBKDF2 that the file may ask for.

    Raises:
        MalformedKeyFile: No key file, or one without its end, of another version, asking for too many rounds,
            or not holding a JSON array.
        WrongPassphrase: The passphrase is another, or the file was changed: the HMAC can't tell which.
    """
    plaintext = unseal(data, passphrase, max_rounds=max_rounds)
    try:
        sessions = loads(plaintext)
    except MalformedMessage as error:
        reason = error.reason
    else:
        if is_array(sessions):
            return list(sessions)
        reason = "not an array"
    raise MalformedKeyFile(reason=f"its content is {reason}")


def seal(plaintext: bytes, passphrase: str, *, salt: bytes, iv: bytes, rounds: int) -> str:
    """Encrypt and armour ``plaintext``. A (passphrase, salt, iv) must never come twice.

    Args:
        plaintext: Of any length.
        passphrase: Taken as UTF-8.
        salt: 16 random bytes.
        iv: 16 random bytes, bit 63 cleared.
        rounds: Of PBKDF2.

    Raises:
        ValueError: The number of rounds doesn't fit.
    """
    if not 1 <= rounds <= _LARGEST_ROUNDS:
        raise ValueError(f"rounds must be 1 to {_LARGEST_ROUNDS}, not {rounds}")
    aes_key, mac_key = _derive(passphrase, salt, rounds)
    sealed = _VERSION + salt + iv + rounds.to_bytes(4, "big") + _aes_ctr(aes_key, iv, plaintext)
    text = base64.b64encode(sealed + hmac.digest(mac_key, sealed, "sha256")).decode()
    return "\n".join((_BEGIN.decode(), *textwrap.wrap(text, _LINE_LENGTH), _END.decode(), ""))


def unseal(data: str | bytes, passphrase: str, *, max_rounds: int) -> bytes:
    """Take off the armour, check the HMAC and decrypt.

    Raises:
        MalformedKeyFile: See `decrypt_key_file`.
        WrongPassphrase: See `decrypt_key_file`.
    """
    raw = _unarmour(data)
    sealed, mac = raw[:-_MAC_SIZE], raw[-_MAC_SIZE:]
    if len(sealed) < _HEADER_SIZE:
        raise MalformedKeyFile(reason="too short")
    if sealed[:1] != _VERSION:
        raise MalformedKeyFile(reason=f"unknown version {sealed[0]}")
    rounds = int.from_bytes(sealed[_ROUNDS], "big")
    if not 1 <= rounds <= max_rounds:
        raise MalformedKeyFile(reason=f"asks for {rounds} rounds, allowed are 1 to {max_rounds}")
    aes_key, mac_key = _derive(passphrase, sealed[_SALT], rounds)
    if not hmac.compare_digest(mac, hmac.digest(mac_key, sealed, "sha256")):
        raise WrongPassphrase
    return _aes_ctr(aes_key, sealed[_IV], sealed[_HEADER_SIZE:])


def _unarmour(data: str | bytes) -> bytes:
    octets = data.encode("utf-8", "replace") if isinstance(data, str) else data
    _, begin, rest = octets.partition(_BEGIN)
    body, end, _ = rest.partition(_END)
    if not begin or not end:
        raise MalformedKeyFile(reason="no BEGIN or END line")
    digits = b"".join(body.split())
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except ValueError:
        pass
    raise MalformedKeyFile(reason="not base64")


def _derive(passphrase: str, salt: bytes, rounds: int) -> tuple[bytes, bytes]:
    # surrogatepass: a passphrase from the command line can hold what no UTF-8 has, and must not fail for it.
    secret = passphrase.encode("utf-8", "surrogatepass")
    keys = PBKDF2HMAC(algorithm=SHA512(), length=64, salt=salt, iterations=rounds).derive(secret)
    return keys[:32], keys[32:]


def _aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    context = Cipher(AES256(key), CTR(iv)).encryptor()  # the same keystream both ways
    return context.update(data) + context.finalize()
