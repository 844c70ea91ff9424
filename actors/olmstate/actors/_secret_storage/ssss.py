"""Secret storage: secrets in account data, encrypted with a key that its user keeps (spec: Secrets, Storage).

Owns: the shapes in account data, the key's check, and encryption.
Rule: pure; random bytes come in. Nothing is decrypted before its MAC was compared, in constant time, and no account
data makes us derive a key for longer than the caller allows.
Why: account data is the homeserver's to change. It can't read a secret, but it could hand out another's, under
another name, or one that takes an hour. The MAC is not over the IV: whoever changes that makes garbage of the secret,
so a key that was read has to be compared with what it is the private half of.

`key_from_passphrase` is slow on purpose: run it in a thread, outside any lock.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from olmstate.actors._wire import base64
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import (
    as_object,
    boolean,
    integer,
    is_object,
    json_object,
    optional,
    string,
)
from olmstate.messages import (
    DamagedSecret,
    Json,
    JsonObject,
    MalformedMessage,
    MalformedSecret,
    UnsupportedSecretStorage,
)

ALGORITHM: Final = "m.secret_storage.v1.aes-hmac-sha2"
PBKDF2: Final = "m.pbkdf2"
DEFAULT_KEY: Final = "m.secret_storage.default_key"
KEY_PREFIX: Final = "m.secret_storage.key."
KEY_BACKUP: Final = "m.key_backup"
"""Whether the user wants a backup (spec 1.19)."""

KEY_BYTES: Final = 32
IV_BYTES: Final = 16
DEFAULT_ITERATIONS: Final = 500_000
"""What Element and the Rust SDK use."""
MAX_ITERATIONS: Final = 10_000_000
"""What account data may ask for unless the caller says otherwise: 5 to 10 seconds."""
_MAC_BYTES: Final = 32
_DEFAULT_BITS: Final = 256
_BITS: Final = range(128, 513, 8)
"""A block of PBKDF2 has 512; each more costs as much again."""


class Passphrase(QuietStruct, frozen=True, kw_only=True):
    """How a key is worked out from a passphrase."""

    salt: str
    """Its UTF-8 is what counts."""
    iterations: int
    bits: int = _DEFAULT_BITS
    is_known: bool = True
    """False: it is of an algorithm that we don't know, and the rest is made up. The recovery key opens all the same."""


class KeyDescription(QuietStruct, frozen=True, kw_only=True):
    """A storage key, as account data describes it."""

    key_id: str
    name: str | None = None
    passphrase: Passphrase | None = None
    """None: the key was made at random, and is known by its recovery key only."""
    iv: bytes | None = None
    """With ``mac`` for checking a key; where one is missing, any key has to be taken for right."""
    mac: bytes | None = None

    @property
    def has_check(self) -> bool:
        """Whether it shows that a key is right.

        If not, nothing may be encrypted with one. The homeserver could have made it, so that a passphrase is worked out
        in one iteration, and could try many on what was.
        """
        return self.iv is not None and self.mac is not None


# --- account data -------------------------------------------------------------------------------------------------


def key_type(key_id: str) -> str:
    """The account data that describes a key."""
    return KEY_PREFIX + key_id


def default_key_id(content: Json) -> str | None:
    """The key that ``m.secret_storage.default_key`` names; None: behave as if there were no key at all."""
    named = content.get("key") if is_object(content) else None
    return named if isinstance(named, str) and named else None


def default_key_content(key_id: str) -> JsonObject:
    """``m.secret_storage.default_key``."""
    return {"key": key_id}


def read_key_description(key_id: str, content: Json) -> KeyDescription:
    """Read ``m.secret_storage.key.KEY_ID``.

    Raises:
        UnsupportedSecretStorage: Another algorithm. Of the passphrase, it matters to `key_from_passphrase` only.
        MalformedSecret: The wrong shape.
    """
    try:
        obj = as_object(content, "the description")
        algorithm, passphrase = string(obj, "algorithm"), optional(json_object, obj, "passphrase")
        if algorithm == ALGORITHM:
            return KeyDescription(
                key_id=key_id,
                name=optional(string, obj, "name"),
                passphrase=None if passphrase is None else _passphrase(passphrase),
                iv=_optional_bytes(obj, "iv", IV_BYTES),
                mac=_optional_bytes(obj, "mac", _MAC_BYTES),
            )
    except MalformedMessage as error:
        reason = error.reason
    else:
        raise UnsupportedSecretStorage(reason="the key is of another algorithm")
    raise MalformedSecret(name=key_type(key_id), reason=reason)


def key_description_content(description: KeyDescription) -> JsonObject:
    """``m.secret_storage.key.KEY_ID``."""
    content: JsonObject = {"algorithm": ALGORITHM}
    if description.name is not None:
        content["name"] = description.name
    if description.passphrase is not None:
        content["passphrase"] = {
            "algorithm": PBKDF2,
            "salt": description.passphrase.salt,
            "iterations": description.passphrase.iterations,
            "bits": description.passphrase.bits,
        }
    for field, octets in (("iv", description.iv), ("mac", description.mac)):
        if octets is not None:
            content[field] = base64.encode(octets)
    return content


def key_ids(content: Json) -> tuple[str, ...]:
    """The keys under which a secret's account data has it."""
    encrypted = content.get("encrypted") if is_object(content) else None
    return tuple(encrypted) if is_object(encrypted) else ()


def backup_wanted(content: Json) -> bool | None:
    """What ``m.key_backup`` says; None: nothing, or nothing that can be read."""
    try:
        return boolean(as_object(content, "the preference"), "enabled")
    except MalformedMessage:
        return None


def backup_wanted_content(*, enabled: bool) -> JsonObject:
    """``m.key_backup``."""
    return {"enabled": enabled}


# --- keys ---------------------------------------------------------------------------------------------------------


def describe_key(
    key: bytes, key_id: str, *, iv: bytes, name: str | None = None, passphrase: Passphrase | None = None
) -> KeyDescription:
    """The description of a new key, with its check.

    Args:
        key: 32 bytes, random or of `key_from_passphrase`.
        key_id: A new id, random.
        iv: 16 random bytes; one bit of them is cleared.
        name: What users see.
        passphrase: How the key was worked out.
    """
    iv = _clear_bit_63(iv)
    return KeyDescription(key_id=key_id, name=name, passphrase=passphrase, iv=iv, mac=_check_mac(key, iv))


def is_right_key(key: bytes, description: KeyDescription) -> bool:
    """Whether a key is the described one, as far as its description allows to tell."""
    if description.iv is None or description.mac is None:
        return True  # see `has_check`
    return hmac.compare_digest(_check_mac(key, description.iv), description.mac)


def key_from_passphrase(passphrase: str, how: Passphrase, *, max_iterations: int = MAX_ITERATIONS) -> bytes:
    """Work a key out: a quarter to half a second for 500,000 iterations.

    Args:
        passphrase: Taken as UTF-8, not normalised.
        how: As account data says.
        max_iterations: The most that account data may ask for.

    Raises:
        UnsupportedSecretStorage: It asks for more, for none, or for a key of an odd length, or is of another algorithm.
    """
    if not how.is_known:
        raise UnsupportedSecretStorage(reason="its passphrase is of another algorithm")
    if not 1 <= how.iterations <= max_iterations:
        reason = f"its passphrase asks for {how.iterations} iterations, allowed are 1 to {max_iterations}"
        raise UnsupportedSecretStorage(reason=reason)
    if how.bits not in _BITS:
        raise UnsupportedSecretStorage(reason=f"its passphrase asks for a key of {how.bits} bits")
    salt, secret = how.salt.encode(), passphrase.encode("utf-8", "surrogatepass")
    return PBKDF2HMAC(algorithm=SHA512(), length=how.bits // 8, salt=salt, iterations=how.iterations).derive(secret)


# --- secrets ------------------------------------------------------------------------------------------------------


def encrypt_secret(key: bytes, name: str, secret: str, *, iv: bytes) -> JsonObject:
    """A secret as it stands under a key's id.

    Args:
        key: The storage key.
        name: The secret's, also the account data's type.
        secret: Any text.
        iv: 16 random bytes, never used before; one bit of them is cleared.
    """
    iv = _clear_bit_63(iv)
    aes_key, mac_key = _keys(key, name)
    ciphertext = _aes_ctr(aes_key, iv, secret.encode())
    mac = hmac.digest(mac_key, ciphertext, "sha256")
    parts = {"iv": iv, "ciphertext": ciphertext, "mac": mac}
    return {field: base64.encode(octets) for field, octets in parts.items()}


def with_secret(content: Json, key_id: str, encrypted: JsonObject) -> JsonObject:
    """A secret's account data, with the secret under one key more; that of other keys stays.

    Args:
        content: What is there now; anything. None where the secret is a new one: what other keys have is the old one.
        key_id: Of the key.
        encrypted: Of `encrypt_secret`.
    """
    there = content.get("encrypted") if is_object(content) else None
    return {"encrypted": {**(there if is_object(there) else {}), key_id: encrypted}}


def without_key(content: Json, key_id: str) -> JsonObject:
    """A secret's account data, but for what one key has of it."""
    there = content.get("encrypted") if is_object(content) else None
    return {"encrypted": {each: value for each, value in (there if is_object(there) else {}).items() if each != key_id}}


def decrypt_secret(key: bytes, key_id: str, name: str, content: Json) -> str:
    """Read a secret's account data.

    Args:
        key: The storage key.
        key_id: Its id.
        name: The secret's, also the account data's type: what is encrypted under one name can't be read as another.
        content: The account data.

    Raises:
        MalformedSecret: Not encrypted with this key, the wrong shape, or no text inside.
        DamagedSecret: The MAC is wrong.
    """
    try:
        obj = json_object(json_object(as_object(content, "the secret"), "encrypted"), key_id)
        iv = _bytes(obj, "iv", IV_BYTES)
        ciphertext, mac = _bytes(obj, "ciphertext"), _bytes(obj, "mac", _MAC_BYTES)
    except MalformedMessage as error:
        reason = error.reason
    else:
        return _decrypted(key, name, iv, ciphertext, mac)
    raise MalformedSecret(name=name, reason=reason)


def _decrypted(key: bytes, name: str, iv: bytes, ciphertext: bytes, mac: bytes) -> str:
    aes_key, mac_key = _keys(key, name)
    if not hmac.compare_digest(mac, hmac.digest(mac_key, ciphertext, "sha256")):
        raise DamagedSecret(name=name)
    try:
        return _aes_ctr(aes_key, iv, ciphertext).decode()
    except UnicodeDecodeError:
        pass
    raise MalformedSecret(name=name, reason="it is no text")


# --- parts --------------------------------------------------------------------------------------------------------


def _passphrase(obj: JsonObject) -> Passphrase:
    if string(obj, "algorithm") != PBKDF2:
        return Passphrase(salt="", iterations=0, is_known=False)
    bits = optional(integer, obj, "bits")
    return Passphrase(
        salt=string(obj, "salt"),
        iterations=integer(obj, "iterations"),
        bits=_DEFAULT_BITS if bits is None else bits,
    )


def _bytes(obj: JsonObject, field: str, length: int | None = None) -> bytes:
    octets = base64.decode(string(obj, field), f"{field!r}")
    if length is not None and len(octets) != length:
        raise MalformedMessage(reason=f"{field!r} isn't {length} bytes")
    return octets


def _optional_bytes(obj: JsonObject, field: str, length: int) -> bytes | None:
    return None if obj.get(field) is None else _bytes(obj, field, length)


def _keys(key: bytes, name: str) -> tuple[bytes, bytes]:
    derived = HKDF(algorithm=SHA256(), length=64, salt=bytes(32), info=name.encode()).derive(key)
    return derived[:32], derived[32:]


def _check_mac(key: bytes, iv: bytes) -> bytes:
    aes_key, mac_key = _keys(key, "")
    return hmac.digest(mac_key, _aes_ctr(aes_key, iv, bytes(32)), "sha256")


def _clear_bit_63(iv: bytes) -> bytes:
    # AES-CTR implementations differ on what carries over it
    if len(iv) != IV_BYTES:
        raise ValueError(f"an IV has {IV_BYTES} bytes, not {len(iv)}")
    return iv[:8] + bytes([iv[8] & 0x7F]) + iv[9:]


def _aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    context = Cipher(AES256(key), CTR(iv)).encryptor()  # the same keystream both ways
    return context.update(data) + context.finalize()
