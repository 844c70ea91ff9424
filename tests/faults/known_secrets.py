"""Secrets that a test knows, and every form in which they could turn up somewhere.

Owns: `KnownSecrets`, and how to read what is private out of vodozemac's pickles.
Rule: a secret is found if it is there whole: raw, in hexadecimal, in base64 wherever in a longer text, as Python or
    JSON prints bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, cast

import attrs
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from olmstate.messages import Json

LEAST_BYTES = 12
"""Anything shorter is found by chance."""
PUBLIC = frozenset({"public_keys", "session_keys", "parent_ratchet_key"})
"""Fields of pickles that hold no secret."""


def _forms(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield repr(secret)[2:-1].encode()
    for separator in (", ", ","):
        yield separator.join(map(str, secret)).encode()
    for before in range(3):
        # in a longer text, a secret may begin at any third of a group of four characters, and its last ones depend on
        # what follows
        encoded = base64.b64encode(bytes(before) + secret)[(4 * before + 2) // 3 :]
        inner = encoded.rstrip(b"=")[:-1]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


@attrs.define
class KnownSecrets:
    """What must not turn up."""

    _forms_by_name: dict[str, set[bytes]] = attrs.field(factory=dict[str, set[bytes]], repr=False)

    def add(self, name: str, secret: bytes | str) -> None:
        """Know one more.

        Raises:
            ValueError: It is too short to be told from chance.
        """
        data = secret.encode() if isinstance(secret, str) else secret
        if len(data) < LEAST_BYTES:
            raise ValueError(f"{name} is too short")
        self._forms_by_name.setdefault(name, set()).update(_forms(data))

    def add_base64(self, name: str, text: str) -> None:
        """Know one that is written in base64 itself."""
        self.add(name, text)
        self.add(name, base64.b64decode(text + "=" * (-len(text) % 4)))

    def add_pickle(self, name: str, pickle: str, pickle_key: bytes) -> None:
        """Know all that is private in a pickle of vodozemac's, and the pickle."""
        self.add(name, pickle)
        for part, secret in _private(_opened(pickle, pickle_key)):
            self.add(f"{name}'s {part}", secret)

    def add_exported(self, name: str, session_key: str) -> None:
        """Know the ratchet in an exported session key (spec: version, index, 128 bytes of ratchet), and the key."""
        self.add_base64(name, session_key)
        self.add(f"{name}'s ratchet", base64.b64decode(session_key)[5:133])

    @property
    def names(self) -> list[str]:
        """What is known."""
        return sorted(self._forms_by_name)

    def found_in(self, where: bytes | str) -> list[str]:
        """The names of those that are there."""
        data = where.encode("utf-8", "surrogateescape") if isinstance(where, str) else where
        return [name for name, forms in self._forms_by_name.items() if any(form in data for form in forms)]


def _opened(pickle: str, pickle_key: bytes) -> Json:
    """What vodozemac has encrypted: JSON."""
    data = base64.b64decode(pickle + "=" * (-len(pickle) % 4))
    keys = HKDF(hashes.SHA256(), 80, salt=None, info=b"Pickle").derive(pickle_key)
    decryptor = Cipher(AES256(keys[:32]), CBC(keys[64:])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    padded = decryptor.update(data[:-8]) + decryptor.finalize()
    return json.loads(unpadder.update(padded) + unpadder.finalize())


def _private(value: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[str, bytes]]:
    match value:
        case dict():
            public = _public_fields(cast("dict[str, Any]", value))
            for field, inner in cast("dict[str, Any]", value).items():
                if field not in public:
                    yield from _private(inner, (*path, field))
        case [int(), *_] if len(cast("list[int]", value)) >= LEAST_BYTES:
            yield ".".join(path), bytes(cast("list[int]", value))
        case [*inners]:
            for inner in cast("Any", inners):
                yield from _private(inner, path)
        case _:
            pass


def _public_fields(fields: dict[str, Any]) -> frozenset[str]:
    if "hkdf_ratchet" in fields or fields.get("type") == "inactive":
        return PUBLIC | {"ratchet_key"}  # the other side's
    if "initial_ratchet" in fields:
        return PUBLIC | {"signing_key"}  # of a session that is only read
    return PUBLIC
