"""Encryption at rest: what protects a stored value from whoever reads or edits the file.

A random 32-byte *data key* is made with the store and never changes. It is wrapped with what the user gave: a 32-byte
key, or a passphrase through Argon2id (RFC 9106). From it come three keys, by HKDF: one seals values, one hashes
lookup columns, one is the pickle key that vodozemac wants. So a new passphrase rewrites one row.

Values are sealed with AES-256-GCM-SIV (RFC 8452): a repeated random nonce then shows only that two equal values are
equal, where plain GCM would lose everything. Associated data is table, key and partition: a row can't be moved to
another place. What sealing can't show is that a row, or the whole file, is an older one of the same place.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache

import attrs
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from olmstate.messages import StoreCorrupt, StoreUnavailable, WrongKey

from .contract import Row, position_of
from .tables import Table

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
SALT_BYTES = 16
HASH_BYTES = 16
KEYS_REMEMBERED = 8192
PREFIXES_REMEMBERED = 64

# RFC 9106, second recommended option: 64 MiB for machines that can't spare 2 GiB
ITERATIONS = 3
LANES = 4
MEMORY_KIB = 65_536
# an edited row must not make us compute for hours, or take all memory; RFC 9106's first option is within
MAX_ITERATIONS = 100
MAX_LANES = 64
MAX_MEMORY_KIB = 2 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Wrapping:
    """The one row that changes with the passphrase: how the data key is wrapped."""

    kind: str
    """``none``, ``key`` or ``passphrase``."""
    salt: bytes = b""
    iterations: int = 0
    lanes: int = 0
    memory_kib: int = 0
    data_key: bytes = attrs.field(default=b"", repr=False)
    """Nonce and sealed data key; the data key itself if ``kind`` is ``none``."""

    @classmethod
    def new(cls, secret: bytes | str | None) -> Wrapping:
        """The parameters to derive with from ``secret``, without a data key yet."""
        match secret:
            case None:
                return cls(kind="none")
            case bytes():
                return cls(kind="key")
            case str():
                return cls(
                    kind="passphrase",
                    salt=os.urandom(SALT_BYTES),
                    iterations=ITERATIONS,
                    lanes=LANES,
                    memory_kib=MEMORY_KIB,
                )

    @property
    def _associated(self) -> bytes:
        return f"olmstate data key {self.kind} {self.iterations} {self.lanes} {self.memory_kib} ".encode() + self.salt

    def derive(self, secret: bytes | str | None) -> bytes:
        """The key that wraps the data key. A passphrase takes about 0.2 s: call it in a thread.

        Raises:
            WrongKey: ``secret`` is not of the kind that the store wants: none, 32 bytes, or some text.
            StoreCorrupt: The parameters were never ours, or would take more than `MAX_ITERATIONS`, `MAX_LANES` or
                `MAX_MEMORY_KIB`.
            StoreUnavailable: This build of cryptography has no Argon2id, or there is no memory for it.
        """
        match self.kind, secret:
            case "none", None:
                return b""
            case "key", bytes() if len(secret) == KEY_BYTES:
                return secret
            case "passphrase", str() if secret:
                return self._derive(secret)
            case (("none" | "key" | "passphrase"), _):
                raise WrongKey
            case _:
                raise StoreCorrupt(reason="it doesn't say how its data key is wrapped")

    def _derive(self, passphrase: str) -> bytes:
        if not (
            0 < self.iterations <= MAX_ITERATIONS
            and 0 < self.lanes <= MAX_LANES
            and 8 * self.lanes <= self.memory_kib <= MAX_MEMORY_KIB
            and len(self.salt) == SALT_BYTES
        ):
            raise StoreCorrupt(reason="the passphrase's parameters are out of bounds")
        try:
            return Argon2id(
                salt=self.salt,
                length=KEY_BYTES,
                iterations=self.iterations,
                lanes=self.lanes,
                memory_cost=self.memory_kib,
            ).derive(passphrase.encode("utf-8", "surrogatepass"))
        except (UnsupportedAlgorithm, MemoryError) as error:
            raise StoreUnavailable(reason=f"no Argon2id with {self.memory_kib} KiB: {error}") from error

    def wrap(self, data_key: bytes, wrapping_key: bytes) -> Wrapping:
        """This wrapping with ``data_key`` in it."""
        if self.kind == "none":
            return attrs.evolve(self, data_key=data_key)
        nonce = os.urandom(NONCE_BYTES)
        return attrs.evolve(self, data_key=nonce + _cipher(wrapping_key).encrypt(nonce, data_key, self._associated))

    def unwrap(self, wrapping_key: bytes) -> bytes:
        """The data key.

        Raises:
            WrongKey: ``wrapping_key`` is not the one that it was wrapped with, or the row was edited.
            StoreCorrupt: What is wrapped can't be a data key.
        """
        sealed = self.kind != "none"
        if len(self.data_key) != KEY_BYTES + sealed * (NONCE_BYTES + TAG_BYTES):
            raise StoreCorrupt(reason="the wrapped data key was changed")
        if not sealed:
            return self.data_key
        nonce, data_key = self.data_key[:NONCE_BYTES], self.data_key[NONCE_BYTES:]
        try:
            return _cipher(wrapping_key).decrypt(nonce, data_key, self._associated)
        except InvalidTag:
            raise WrongKey from None


def _cipher(key: bytes) -> AESGCMSIV:
    try:
        return AESGCMSIV(key)
    except UnsupportedAlgorithm as error:
        raise StoreUnavailable(reason="this build of cryptography has no AES-GCM-SIV") from error


def _expand(data_key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=b"olmstate " + purpose).derive(data_key)


class Seal:
    """Seals values and hashes lookup columns with a store's data key."""

    def __init__(self, data_key: bytes, *, plain: bool) -> None:
        """Derive the keys; ``plain`` leaves values as they are (a store opened without a key)."""
        self.data_key = data_key
        self._cipher = None if plain else _cipher(_expand(data_key, b"values"))
        lookup = _expand(data_key, b"lookup")
        # keyed once here: copying the state is cheaper than keying it for each hash
        self._hashes = {
            table: hashlib.blake2b(table.encode() + b"\0", key=lookup, digest_size=HASH_BYTES) for table in Table
        }
        self.pickle_key = _expand(data_key, b"pickles")
        """32 bytes, for vodozemac's pickles inside the sealed values."""
        # one message asks for the same key several times, and the next one on its session for it again
        self.key = lru_cache(KEYS_REMEMBERED)(self._key)
        """16 bytes that stand for some parts in a table; without the data key they tell nothing."""

    def _key(self, table: Table, *parts: str) -> bytes:
        state = self._hashes[table].copy()
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            state.update(len(data).to_bytes(4, "big") + data)
        return state.digest()

    def seal_all(self, table: Table, rows: Sequence[Row]) -> list[bytes | None]:
        """The rows' values, each sealed for its place; None stays None."""
        if self._cipher is None:
            return [row.value for row in rows]
        encrypt = self._cipher.encrypt
        nonces = os.urandom(NONCE_BYTES * len(rows))  # at once: each call is one of the system
        sealed: list[bytes | None] = []
        for number, row in enumerate(rows):
            if row.value is None:
                sealed.append(None)
                continue
            nonce = nonces[NONCE_BYTES * number : NONCE_BYTES * (number + 1)]
            partition, key = position_of(table, row)
            sealed.append(nonce + encrypt(nonce, _PAD + row.value, _place(table, key, partition)))
        return sealed

    def unseal(self, table: Table, key: bytes, partition: bytes, sealed: bytes) -> bytes:
        """The value that was sealed for this place.

        Raises:
            StoreCorrupt: It was changed, or moved here from another place.
        """
        if self._cipher is None:
            return sealed
        nonce, value = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, value, _place(table, key, partition))[len(_PAD) :]
        except (InvalidTag, ValueError):  # ValueError: too short even for a nonce
            raise StoreCorrupt(reason=f"a value in {table} fails its integrity check") from None


_PAD = b"\0"
"""Before each value: OpenSSL before 3.5 can't seal an empty one."""


def _place(table: Table, key: bytes, partition: bytes) -> bytes:
    return _prefix(table, len(key)) + key + partition


@lru_cache(PREFIXES_REMEMBERED)
def _prefix(table: Table, key_bytes: int) -> bytes:
    # with the key's length, so that no other key and partition make the same
    return b"%s\0%d\0" % (table.encode(), key_bytes)
