"""Account data that secret storage reads: whatever the homeserver, or another client, puts there."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from olmstate.actors._secret_storage.ssss import (
    backup_wanted,
    decrypt_secret,
    default_key_id,
    is_right_key,
    key_from_passphrase,
    key_ids,
    read_key_description,
    with_secret,
    without_key,
)
from olmstate.messages import DamagedSecret, Json, MalformedSecret, UnsupportedSecretStorage
from tests.faults.fuzz.target import Target, dump, parse
from tests.peer.secret_storage import description, encrypt

KEY: Final = bytes(range(32))
NAME: Final = "m.megolm_backup.v1"
ITERATIONS: Final = 10
"""As many as account data may ask for here."""


def _seeds() -> Iterable[bytes]:
    yield dump({"key": "id"})
    yield dump({"enabled": True})
    yield dump({"encrypted": {"id": encrypt(KEY, NAME, "secret", bytes(16))}})
    yield dump(description(KEY, passphrase={"algorithm": "m.pbkdf2", "salt": "s", "iterations": 2, "bits": 256}))
    yield dump(description(KEY, name="mine"))


def _run(data: bytes) -> None:
    content = parse(data)
    backup_wanted(content)
    default_key_id(content)
    for key_id in (*key_ids(content), "id"):
        with suppress(MalformedSecret, DamagedSecret):
            assert isinstance(decrypt_secret(KEY, key_id, NAME, content), str)
        assert key_id in key_ids(with_secret(content, key_id, {}))
        assert key_id not in key_ids(without_key(content, key_id))
    with suppress(MalformedSecret, UnsupportedSecretStorage):
        _describe(content)


def _describe(content: Json) -> None:
    described = read_key_description("id", content)
    is_right_key(KEY, described)
    if described.passphrase is not None:
        key_from_passphrase("fuzz", described.passphrase, max_iterations=ITERATIONS)


TARGET = Target(seeds=_seeds, run=_run)
