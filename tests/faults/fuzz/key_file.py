"""Key files: any bytes; and any content, truly sealed.

The first byte says which.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from olmstate.messages import Json, MalformedKeyFile, WrongPassphrase
from tests.actors.key_files import decrypt_key_file, encrypt_key_file, seal
from tests.faults.fuzz.device import recording
from tests.faults.fuzz.target import Target

FILE: Final = b"f"
CONTENT: Final = b"c"
ROUNDS: Final = 1000
"""As many as a file may ask for here."""
PASSPHRASE: Final = "fuzz"


def _seeds() -> Iterable[bytes]:
    entry = recording().raw["imports"][0]
    yield FILE + str(entry["file"])[:3000].encode()
    yield FILE + encrypt_key_file(entry["keys"][:1], PASSPHRASE, rounds=1).encode()
    yield FILE + seal(b"[]", PASSPHRASE, salt=bytes(16), iv=bytes(16), rounds=ROUNDS + 1).encode()
    yield from (CONTENT + content for content in (b"[]", b"[{}]", b"{}", b"[" * 200, b"\xff", b"[NaN]"))


def _run(data: bytes) -> None:
    if data[:1] == CONTENT:
        text = seal(data[1:], PASSPHRASE, salt=bytes(16), iv=bytes(16), rounds=1)
        with suppress(MalformedKeyFile):
            _decrypt(text)
        return
    for given in (data[1:], data[1:].decode("utf-8", "surrogateescape")):
        with suppress(MalformedKeyFile, WrongPassphrase):
            _decrypt(given)


def _decrypt(data: str | bytes) -> list[Json]:
    return decrypt_key_file(data, PASSPHRASE, max_rounds=ROUNDS)


TARGET = Target(seeds=_seeds, run=_run, json_at=1)
