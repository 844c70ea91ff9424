"""Key files written and read at once."""

from __future__ import annotations

from olmstate.actors._wire.key_file import (
    MAX_ROUNDS,
    Derivation,
    FileKeys,
    SealedFile,
    finish,
    read_sessions,
    write_key_file,
)
from olmstate.actors._wire.key_file import seal as seal_in_parts
from olmstate.actors._wire.steps import at_once
from olmstate.messages import Json, JsonObject


def encrypt_key_file(sessions: list[JsonObject], passphrase: str, *, rounds: int) -> str:
    """A key file of room keys."""
    derivation = Derivation.new(rounds)
    writer = write_key_file(derivation, FileKeys.derive(passphrase, derivation))
    next(writer)
    writer.send(sessions)
    return finish(writer)


def decrypt_key_file(data: str | bytes, passphrase: str, *, max_rounds: int = MAX_ROUNDS) -> list[Json]:
    """What a key file holds."""
    file, keys = _opened(data, passphrase, max_rounds)
    return [session for some in read_sessions(file, keys) for session in some]


def seal(plaintext: bytes, passphrase: str, *, salt: bytes, iv: bytes, rounds: int) -> str:
    """A key file of anything."""
    derivation = Derivation(salt=salt, rounds=rounds)
    sealing = seal_in_parts(derivation, FileKeys.derive(passphrase, derivation), iv=iv)
    next(sealing)
    sealing.send(plaintext)
    return finish(sealing)


def unseal(data: str | bytes, passphrase: str, *, max_rounds: int) -> bytes:
    """What is sealed in a key file, whatever it is."""
    file, keys = _opened(data, passphrase, max_rounds)
    return b"".join(file.plaintext(keys))


def _opened(data: str | bytes, passphrase: str, max_rounds: int) -> tuple[SealedFile, FileKeys]:
    file = at_once(SealedFile.read(data, max_rounds=max_rounds))
    keys = FileKeys.derive(passphrase, file.derivation)
    at_once(file.check(keys))
    return file, keys
