"""The encrypted key file (spec: Key exports): room keys under a passphrase, as all clients exchange them.

Owns: the armour, the header, key derivation and sealing.
Rule: nothing is decrypted, let alone parsed, before its HMAC was compared, and no file makes us derive for
longer than the caller allows.
Why: the file is handed from person to person, and names the number of PBKDF2 rounds itself: the largest that
fits takes an hour.

A file may hold 100,000 keys, so it is read and written in `Steps` of some kilobytes. Only `derive_keys` is slow and
can't be divided: run it in a thread. PBKDF2 lets the interpreter go on meanwhile.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from binascii import b2a_base64
from collections.abc import Generator, Iterator, Sequence
from typing import Final, TypeAlias, TypeVar

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Json, JsonObject, MalformedKeyFile, MalformedMessage, WrongPassphrase

from .json_array import elements
from .steps import Steps

T = TypeVar("T")

MAX_ROUNDS: Final = 10_000_000
"""What a file may ask for unless the caller says otherwise: 5 to 10 seconds."""
STEP: Final = 32 * 1024
"""Characters or octets a step: a third of a millisecond, however they are read."""

_BEGIN: Final = "-----BEGIN MEGOLM SESSION DATA-----"
_END: Final = "-----END MEGOLM SESSION DATA-----"
_VERSION: Final = 1
_SALT: Final = slice(1, 17)
_IV: Final = slice(17, 33)
_ROUNDS: Final = slice(33, 37)
_HEADER_SIZE: Final = 37
_MAC_SIZE: Final = 32
_OCTETS_A_LINE: Final = 72  # 96 characters, as Element
_LARGEST_ROUNDS: Final = 2**32 - 1
_WHITE_SPACE: Final = b" \t\n\r\x0b\x0c"


class Derivation(QuietStruct, kw_only=True, frozen=True):
    """How a file's keys come from its passphrase."""

    salt: bytes
    """16 random bytes."""
    rounds: int
    """Of PBKDF2."""

    @classmethod
    def new(cls, rounds: int) -> Derivation:
        """Of a new file.

        Args:
            rounds: 1 to 2**32 - 1.

        Raises:
            ValueError: The number of rounds doesn't fit.
        """
        if not 1 <= rounds <= _LARGEST_ROUNDS:
            raise ValueError(f"rounds must be 1 to {_LARGEST_ROUNDS}, not {rounds}")
        return cls(salt=os.urandom(16), rounds=rounds)


class FileKeys(QuietStruct, kw_only=True, frozen=True):
    """What a file is sealed with."""

    aes: bytes
    mac: bytes

    @classmethod
    def derive(cls, passphrase: str, derivation: Derivation) -> FileKeys:
        """The keys of ``passphrase``, taken as UTF-8, not normalised. Slow on purpose."""
        # surrogatepass: a passphrase from the command line can hold what no UTF-8 has, and must not fail for it.
        secret = passphrase.encode("utf-8", "surrogatepass")
        pbkdf2 = PBKDF2HMAC(algorithm=SHA512(), length=64, salt=derivation.salt, iterations=derivation.rounds)
        keys = pbkdf2.derive(secret)
        return cls(aes=keys[:32], mac=keys[32:])


# --- writing ------------------------------------------------------------------------------------------------

Writer: TypeAlias = Generator[None, "Sequence[JsonObject] | None", str]
"""Takes exported room keys, some at a time, as the spec's "Key export format" has them; then None, and returns the file
that they make."""


def write_key_file(derivation: Derivation, keys: FileKeys) -> Writer:
    """Begin a key file; ``next`` first.

    Args:
        derivation: Where ``keys`` come from.
        keys: Never used for another file.
    """
    iv = bytearray(os.urandom(16))
    iv[8] &= 0x7F  # bit 63: AES-CTR implementations differ on what carries over it
    sealing = seal(derivation, keys, iv=bytes(iv))
    next(sealing)
    before = "["
    while (sessions := (yield)) is not None:
        # Escaped to ASCII, so that a lone surrogate in a session is no obstacle.
        for session in sessions:
            sealing.send((before + _encoder.encode(session)).encode())
            before = ","
    sealing.send(b"[]" if before == "[" else b"]")
    return finish(sealing)


_encoder = json.JSONEncoder(separators=(",", ":"))


def seal(derivation: Derivation, keys: FileKeys, *, iv: bytes) -> Generator[None, bytes | None, str]:
    """Encrypt and armour a text that is sent in parts, then None. Keys and ``iv`` must never come twice."""
    mac = hmac.new(keys.mac, digestmod="sha256")
    cipher = Cipher(AES256(keys.aes), CTR(iv)).encryptor()
    left = bytes([_VERSION]) + derivation.salt + iv + derivation.rounds.to_bytes(4, "big")
    mac.update(left)
    file = _BEGIN + "\n"
    while (part := (yield)) is not None:
        sealed = cipher.update(part)
        mac.update(sealed)
        left += sealed
        whole = len(left) - len(left) % _OCTETS_A_LINE
        file += _lines(left[:whole])  # no copy: CPython makes the text longer where it is, since nobody else has it
        left = left[whole:]
    file += _lines(left + mac.digest())
    file += _END
    file += "\n"
    return file


def finish(writer: Generator[None, T | None, str]) -> str:
    """Tell a writer that this was all; the file."""
    try:
        writer.send(None)
    except StopIteration as end:
        file: str = end.value
        return file
    raise AssertionError("a writer ends when it is told to")


def _lines(octets: bytes) -> str:
    starts = range(0, len(octets), _OCTETS_A_LINE)
    return b"".join([b2a_base64(octets[start : start + _OCTETS_A_LINE]) for start in starts]).decode()


# --- reading ------------------------------------------------------------------------------------------------


class SealedFile(QuietStruct, kw_only=True, frozen=True):
    """A key file without its armour."""

    derivation: Derivation
    """As the file says; not to be trusted before `check`."""
    octets: bytearray
    """All, HMAC included."""

    @classmethod
    def read(cls, data: str | bytes, *, max_rounds: int = MAX_ROUNDS) -> Steps[SealedFile]:
        """Take off the armour.

        Args:
            data: The file. Text around it, any line ends, indentation and missing padding are put up with.
            max_rounds: The most rounds of PBKDF2 that the file may ask for.

        Raises:
            MalformedKeyFile: No key file, or one without its end, of another version, or asking for too many rounds.
        """
        octets = bytearray()
        for part in _unarmoured(data):
            octets += part
            yield
        if len(octets) < _HEADER_SIZE + _MAC_SIZE:
            raise MalformedKeyFile(reason="too short")
        if octets[0] != _VERSION:
            raise MalformedKeyFile(reason=f"unknown version {octets[0]}")
        rounds = int.from_bytes(octets[_ROUNDS], "big")
        if not 1 <= rounds <= max_rounds:
            raise MalformedKeyFile(reason=f"asks for {rounds} rounds, allowed are 1 to {max_rounds}")
        return cls(derivation=Derivation(salt=bytes(octets[_SALT]), rounds=rounds), octets=octets)

    def check(self, keys: FileKeys) -> Steps[None]:
        """Compare the HMAC.

        Raises:
            WrongPassphrase: The passphrase is another, or the file was changed: the HMAC can't tell which.
        """
        mac = hmac.new(keys.mac, digestmod="sha256")
        for part in self._parts(0):
            mac.update(part)
            yield
        if not hmac.compare_digest(self.octets[-_MAC_SIZE:], mac.digest()):
            raise WrongPassphrase

    def plaintext(self, keys: FileKeys) -> Iterator[bytes]:
        """What was sealed, in parts; only after `check`."""
        cipher = Cipher(AES256(keys.aes), CTR(bytes(self.octets[_IV]))).decryptor()
        return map(cipher.update, self._parts(_HEADER_SIZE))

    def _parts(self, start: int) -> Iterator[memoryview]:
        sealed = memoryview(self.octets)[start:-_MAC_SIZE]
        return (sealed[at : at + STEP] for at in range(0, len(sealed), STEP))


def read_sessions(file: SealedFile, keys: FileKeys) -> Iterator[list[Json]]:
    """What a key file holds, some of it at a time; only after `SealedFile.check`.

    It is not checked: one bad session must not cost the others.

    Raises:
        MalformedKeyFile: Its content is no JSON array.
    """
    try:
        yield from elements(file.plaintext(keys))
    except MalformedMessage as error:
        raise MalformedKeyFile(reason=f"its content is {error.reason}") from None


def _unarmoured(data: str | bytes) -> Iterator[bytes]:
    """The octets between BEGIN and END, in parts; none while they are looked for."""
    start = yield from _find(data, _BEGIN, 0)
    position = start + len(_BEGIN)
    end = -1
    digits = b""
    while end < 0:
        window = position + STEP
        end = _index(data, _END, position, window + len(_END) - 1)
        if end < 0 and window >= len(data):
            raise MalformedKeyFile(reason="no BEGIN or END line")
        part = data[position : window if end < 0 else end]
        digits += (part.encode("utf-8", "replace") if isinstance(part, str) else part).translate(None, _WHITE_SPACE)
        whole = len(digits) - len(digits) % 4
        if end < 0:
            if b"=" in digits:
                raise MalformedKeyFile(reason="not base64")
            yield _decoded(digits[:whole])
            digits = digits[whole:]
        position = window
    yield _decoded(digits + b"=" * (-len(digits) % 4))


def _find(data: str | bytes, marker: str, start: int) -> Generator[bytes, None, int]:
    while (found := _index(data, marker, start, start + STEP + len(marker) - 1)) < 0:
        start += STEP
        if start >= len(data):
            raise MalformedKeyFile(reason="no BEGIN or END line")
        yield b""
    return found


def _index(data: str | bytes, marker: str, start: int, end: int) -> int:
    return data.find(marker, start, end) if isinstance(data, str) else data.find(marker.encode(), start, end)


def _decoded(digits: bytes) -> bytes:
    try:
        return base64.b64decode(digits, validate=True)
    except ValueError:
        pass
    raise MalformedKeyFile(reason="not base64")
