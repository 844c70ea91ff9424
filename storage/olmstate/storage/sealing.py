"""Encryption at rest: what protects a stored value from whoever reads or edits the file.

A random 32-byte *data key* is made with the store and never changes. It is wrapped with what the user gave: a 32-byte
key, or a passphrase through Argon2id (RFC 9106). From it come three keys, by HKDF: one seals values, one hashes
lookup columns, one is the pickle key that vodozemac wants. So a new passphrase rewrites one row.

Values are sealed with AES-256-GCM-SIV (RFC 8452): a repeated random nonce then shows only that two equal values are
equal, where plain GCM would lose everything. Associated data is table, key, partition and generation: a row can't be
moved to another place, nor pass for newer or older than it is. What sealing can't show is that a row, or the whole
file, was replaced by an earlier one of the same place.

Earlier versions sealed without the generation, and wrapped the data key alone. A byte that is wrapped beside it says
that the store has its `Facts`, and so since which generation a row must be sealed with it: nobody who lacks the user's
key can have a store pass for an older version's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias, cast

import attrs
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from olmstate.messages import StoreCorrupt, StoreUnavailable, WrongKey

from .contract import Row
from .tables import PARTITIONED, Table

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
SALT_BYTES = 16
HASH_BYTES = 16
GENERATION_BYTES = 8
HAS_FACTS = b"\1"
"""Wrapped beside the data key: the store must have `Facts`."""
KEYS_REMEMBERED = 1024
"""Each takes 350 bytes. To hash one takes a microsecond, and an event names several: who goes round among more sessions
than are remembered reads each event a fifth slower."""
PREFIXES_REMEMBERED = 64

# RFC 9106, second recommended option: 64 MiB for machines that can't spare 2 GiB
ITERATIONS = 3
LANES = 4
MEMORY_KIB = 65_536
# an edited row must not make us compute for hours, or take all memory; RFC 9106's first option is within
MAX_ITERATIONS = 100
MAX_LANES = 64
MAX_MEMORY_KIB = 2 * 1024 * 1024


Secret: TypeAlias = bytes | bytearray | memoryview | str
"""What a user seals a store with: 32 bytes, or a passphrase."""


def as_secret(secret: object) -> bytes | str | None:
    """What a user gave as a key, as it is used here.

    Raises:
        TypeError: It is of another type.
    """
    match secret:
        case None | bytes() | str():
            return secret
        case bytearray() | memoryview():
            return bytes(cast("bytearray", secret))
        case _:
            raise TypeError(f"key must be {KEY_BYTES} bytes, a passphrase (str) or None, not {type(secret).__name__}")


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
    """Nonce, and the data key and `HAS_FACTS`, sealed; without nonce and seal if ``kind`` is ``none``."""

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
                raise WrongKey(reason=_mismatch(self.kind, secret))
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
        """This wrapping with ``data_key`` in it, and that the store has its facts."""
        plain = data_key + HAS_FACTS
        if self.kind == "none":
            return attrs.evolve(self, data_key=plain)
        nonce = os.urandom(NONCE_BYTES)
        return attrs.evolve(self, data_key=nonce + _cipher(wrapping_key).encrypt(nonce, plain, self._associated))

    def unwrap(self, wrapping_key: bytes) -> tuple[bytes, bool]:
        """The data key, and whether the store must have its facts: False if a version before them wrapped it.

        Raises:
            WrongKey: ``wrapping_key`` is not the one that it was wrapped with, or the row was edited.
            StoreCorrupt: What is wrapped can't be a data key.
        """
        plain = self.data_key
        if self.kind != "none":
            try:
                plain = _cipher(wrapping_key).decrypt(plain[:NONCE_BYTES], plain[NONCE_BYTES:], self._associated)
            except InvalidTag:
                raise WrongKey from None
            except ValueError:  # too short even for a nonce
                plain = b""
        data_key, rest = plain[:KEY_BYTES], plain[KEY_BYTES:]
        if len(data_key) != KEY_BYTES or rest not in (b"", HAS_FACTS):
            raise StoreCorrupt(reason="the wrapped data key was changed")
        return data_key, rest == HAS_FACTS


def _mismatch(kind: str, secret: bytes | str | None) -> str:
    """Why ``secret`` can't be what a store of this kind was sealed with."""
    match kind, secret:
        case "key", bytes():
            return f"a key has {KEY_BYTES} bytes, this one {len(secret)}; a passphrase is a str"
        case "passphrase", str():
            return "a passphrase can't be empty"
        case _:
            sealed = {"none": "not sealed", "key": f"sealed with a key of {KEY_BYTES} bytes"}
            given = "no key" if secret is None else "a key" if isinstance(secret, bytes) else "a passphrase"
            return f"the store is {sealed.get(kind, 'sealed with a passphrase')}, and {given} was given"


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
        self.bound_since = 0
        """Rows of later generations are sealed together with their generation; see `Facts`."""
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

    def seal_all(self, table: Table, rows: Sequence[Row], generation: int) -> list[bytes | None]:
        """The rows' values, each sealed for its place in a commit; None stays None."""
        if self._cipher is None:
            return [row.value for row in rows]
        encrypt = self._cipher.encrypt
        nonces = os.urandom(NONCE_BYTES * len(rows))  # at once: each call is one of the system
        written = generation.to_bytes(GENERATION_BYTES)
        partitioned = table in PARTITIONED
        sealed: list[bytes | None] = []
        for number, row in enumerate(rows):
            if row.value is None:
                sealed.append(None)
                continue
            nonce = nonces[NONCE_BYTES * number : NONCE_BYTES * (number + 1)]
            partition = row.partition if partitioned else row.key  # as `position_of` says
            sealed.append(nonce + encrypt(nonce, _PAD + row.value, _place(table, row.key, partition, written)))
        return sealed

    def unseal(self, table: Table, key: bytes, partition: bytes, sealed: bytes, generation: int) -> bytes:
        """The value that was sealed for this place in the commit of ``generation``.

        Raises:
            StoreCorrupt: It was changed, or moved here from another place or time.
        """
        if self._cipher is None:
            return sealed
        written = generation.to_bytes(GENERATION_BYTES) if generation > self.bound_since else b""
        nonce, value = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, value, _place(table, key, partition, written))[len(_PAD) :]
        except (InvalidTag, ValueError):  # ValueError: too short even for a nonce
            raise StoreCorrupt(reason=f"a value in {table} fails its integrity check") from None

    def seal_apart(self, purpose: bytes, value: bytes) -> bytes:
        """A value that is in no table, sealed for what it is there for."""
        if self._cipher is None:
            return value
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, _PAD + value, _APART + purpose)

    def unseal_apart(self, purpose: bytes, sealed: bytes) -> bytes:
        """The value that was sealed for this purpose.

        Raises:
            StoreCorrupt: It was changed.
        """
        if self._cipher is None:
            return sealed
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _APART + purpose)[len(_PAD) :]
        except (InvalidTag, ValueError):
            raise StoreCorrupt(reason=f"its {purpose.decode()} fail their integrity check") from None


_PAD = b"\0"
"""Before each value: OpenSSL before 3.5 can't seal an empty one."""
_APART = b"\0"
"""Before a purpose: no table has such a name."""


def _place(table: Table, key: bytes, partition: bytes, written: bytes) -> bytes:
    return _prefix(table, len(key), bool(written)) + written + key + partition


@lru_cache(PREFIXES_REMEMBERED)
def _prefix(table: Table, key_bytes: int, bound: bool) -> bytes:  # noqa: FBT001 - it is cached
    # with the key's length, so that no other key and partition make the same
    return (b"%s\1%d\0" if bound else b"%s\0%d\0") % (table.encode(), key_bytes)
