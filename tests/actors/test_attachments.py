"""Encrypted files: others' are read, ours are read by others, and no changed byte passes."""

from __future__ import annotations

import copy
import hmac
import tracemalloc
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors import AttachmentDecryptor, AttachmentEncryptor, decrypt_attachment, encrypt_attachment
from olmstate.actors._wire.attachments import CHUNK
from olmstate.messages import AttachmentError, DamagedAttachment, MalformedAttachment
from tests.peer import attachments
from tests.peer.encoding import b64, unb64

MEGABYTE = 1024 * 1024
# what the Rust SDK's tests have
RUST: dict[str, Any] = {
    "v": "v2",
    "key": {
        "kty": "oct",
        "alg": "A256CTR",
        "ext": True,
        "k": "Voq2nkPme_x8no5-Tjq_laDAdxE6iDbxnlQXxwFPgE4",
        "key_ops": ["decrypt", "encrypt"],
    },
    "iv": "i0DovxYdJEcAAAAAAAAAAA",
    "hashes": {"sha256": "ANdt819a8bZl4jKy3Z+jcqtiNICa2y0AW4BBJ/iQRAU"},
}
RUST_FILE = bytes.fromhex("b39a767fba7f6e21cb2121864364ad2eeb1bd7ac241a4b2f21a0")
# and Element's, for web and Android; all bits of keys and IVs set
ELEMENT = [
    ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA", "", b""),
    ("_" * 42 + "8", "//////////8AAAAAAAAAAA", "5xJZTt5cQicm+9f4", b"Hello, World"),
    (
        "_" * 42 + "8",
        "//////////8AAAAAAAAAAA",
        "zhtFStAeFx0s+9L/sSQO+WQMtldqYEHqTxMduJrCIpnkyer09kxJJuA4K+adQE4w+7jZe/vR9kIcqj9rOhDR8Q",
        b"alphanumerically" * 4,
    ),
]
ELEMENT_HASHES = [
    "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
    "YzF08lARDdOCzJpzuSwsjTNlQc4pHxpdHcXiD/wpK6k",
    "IOq7/dHHB+mfHfxlRY5XMeCWEwTPmlf4cJcgrkf6fVU",
]


def whole(ciphertext: bytes, file: Any) -> bytes:  # noqa: ANN401 - JSON
    target = BytesIO()
    decrypt_attachment(BytesIO(ciphertext), target, file)
    return target.getvalue()


def encrypted(plaintext: bytes) -> tuple[dict[str, Any], bytes]:
    target = BytesIO()
    return encrypt_attachment(BytesIO(plaintext), target), target.getvalue()


# --- as others do it


def test_a_file_of_the_rust_sdk_is_read() -> None:
    assert b"It's a secret to everybody" == whole(RUST_FILE, RUST)


@pytest.mark.parametrize("number", range(len(ELEMENT)))
def test_a_file_of_element_is_read(number: int) -> None:
    key, iv, ciphertext, plaintext = ELEMENT[number]
    file = {**RUST, "key": {**RUST["key"], "k": key}, "iv": iv, "hashes": {"sha256": ELEMENT_HASHES[number]}}
    assert plaintext == whole(unb64(ciphertext), file)


@given(st.binary(max_size=100), st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16))
def test_a_file_of_anybody_is_read(plaintext: bytes, key: bytes, iv: bytes) -> None:
    file, ciphertext = attachments.encrypt(plaintext, key, iv)
    assert plaintext == whole(ciphertext, file)


@given(st.binary(max_size=200))
def test_anybody_reads_ours(plaintext: bytes) -> None:
    file, ciphertext = encrypted(plaintext)
    assert plaintext == attachments.decrypt(file, ciphertext)
    assert {"v", "key", "iv", "hashes"} == set(file)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)), st.lists(st.integers(0, 300)))
def test_it_makes_no_difference_where_a_file_is_cut_into_chunks(
    plaintext: bytes, cuts: list[int], other_cuts: list[int]
) -> None:
    def chunks(data: bytes, places: list[int]) -> list[bytes]:
        edges = [0, *sorted(places), len(data)]
        return [data[start:end] for start, end in pairwise(edges)]

    encryptor = AttachmentEncryptor()
    ciphertext = b"".join(map(encryptor.encrypt, chunks(plaintext, cuts)))
    file = encryptor.finish()
    decryptor = AttachmentDecryptor(file)
    assert plaintext == b"".join(map(decryptor.decrypt, chunks(ciphertext, other_cuts)))
    decryptor.finish()
    assert len(plaintext) == len(ciphertext)


def test_no_two_files_share_a_key_or_an_iv() -> None:
    files = [encrypted(b"same")[0] for _ in range(50)]
    assert 50 == len({file["key"]["k"] for file in files}) == len({file["iv"] for file in files})


def test_nothing_is_encrypted_or_decrypted_once_a_file_is_finished() -> None:
    encryptor, decryptor = AttachmentEncryptor(), AttachmentDecryptor(RUST)
    encryptor.finish()
    decryptor.decrypt(RUST_FILE)
    decryptor.finish()
    for late in (lambda: encryptor.encrypt(b"x"), encryptor.finish, lambda: decryptor.decrypt(b"x"), decryptor.finish):
        with pytest.raises(ValueError, match="finished"):
            late()


# --- what was changed


@given(st.binary(min_size=1, max_size=50), st.data())
def test_one_changed_bit_is_noticed_and_nothing_is_written(plaintext: bytes, data: st.DataObject) -> None:
    file, ciphertext = encrypted(plaintext)
    changed = bytearray(ciphertext)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    target = BytesIO()
    with pytest.raises(DamagedAttachment):
        decrypt_attachment(BytesIO(bytes(changed)), target, file)
    assert b"" == target.getvalue()
    decryptor = AttachmentDecryptor(file)
    decryptor.decrypt(bytes(changed))
    with pytest.raises(DamagedAttachment):
        decryptor.finish()


@pytest.mark.parametrize("change", ["cut", "longer", "empty"])
def test_a_file_of_another_length_is_noticed(change: str) -> None:
    file, ciphertext = encrypted(b"a file")
    other = {"cut": ciphertext[:-1], "longer": ciphertext + b"x", "empty": b""}[change]
    with pytest.raises(DamagedAttachment):
        whole(other, file)


def test_a_file_that_changes_between_its_two_readings_is_noticed() -> None:
    file, ciphertext = encrypted(b"a" * 3 * CHUNK)

    class Changing(BytesIO):
        def seek(self, place: int, whence: int = 0) -> int:
            self.getbuffer()[-1] ^= 1
            return super().seek(place, whence)

    with pytest.raises(DamagedAttachment):
        decrypt_attachment(Changing(ciphertext), BytesIO(), file)


def test_a_file_is_read_from_where_it_is_at() -> None:
    file, ciphertext = encrypted(b"a file")
    source, target = BytesIO(b"head" + ciphertext), BytesIO()
    source.seek(4)
    decrypt_attachment(source, target, file)
    assert b"a file" == target.getvalue()


def test_the_hash_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def spy(found: bytes, expected: bytes) -> bool:
        compared.append(found)
        return found == expected

    monkeypatch.setattr(hmac, "compare_digest", spy)
    whole(RUST_FILE, RUST)
    assert [32, 32] == [len(found) for found in compared]  # before, and again of what was decrypted


WRONG: dict[str, tuple[list[str], Any]] = {
    "another version": (["v"], "v1"),
    "no version": (["v"], None),
    "another key type": (["key", "kty"], "RSA"),
    "another algorithm": (["key", "alg"], "A128CTR"),
    "no key": (["key"], None),
    "a short key": (["key", "k"], "AAAA"),
    "a key that is no base64": (["key", "k"], "!" * 43),
    "a short IV": (["iv"], "AAAA"),
    "an IV that is no text": (["iv"], 7),
    "no hashes": (["hashes"], {}),
    "another hash": (["hashes"], {"sha512": "AAAA"}),
    "a short hash": (["hashes", "sha256"], b64(bytes(31))),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_encrypted_file_is_refused_before_anything_is_read(wrong: str) -> None:
    path, value = WRONG[wrong]
    file: Any = copy.deepcopy(RUST)
    inner = file
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(MalformedAttachment) as caught:
        whole(RUST_FILE, file)
    assert caught.value.__context__ is None
    assert "Voq2nkPme" not in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.dictionaries(st.sampled_from(["v", "key", "k", "iv", "hashes", "sha256"]), inner),
    )
)
def test_whatever_an_event_says_of_its_file_the_typed_error_comes_out(file: Any) -> None:  # noqa: ANN401 - JSON
    with pytest.raises(AttachmentError):
        AttachmentDecryptor(file)


# --- files of any length


class Zeros:
    """A file of zeros that is nowhere."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.place = 0

    def read(self, size: int, /) -> bytes:
        size = min(size, self.length - self.place)
        self.place += size
        return bytes(size)


class Pipe:
    """What is written is decrypted at once, and counted."""

    def __init__(self, decryptor: AttachmentDecryptor | None = None) -> None:
        self.decryptor = decryptor
        self.written = 0

    def write(self, data: bytes, /) -> int:
        if self.decryptor is not None:
            data = self.decryptor.decrypt(data)
        self.written += len(data)
        return len(data)


def peak_of_encrypting(length: int) -> int:
    """Bytes that Python has in memory at once."""
    target = Pipe(AttachmentDecryptor(RUST))
    tracemalloc.start()
    try:
        encrypt_attachment(Zeros(length), target)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert length == target.written


def test_a_file_of_50_megabytes_passes_through_one_megabyte_of_memory() -> None:
    assert peak_of_encrypting(50 * MEGABYTE) < MEGABYTE


@pytest.mark.full
def test_a_file_of_a_gigabyte_passes_through_one_megabyte_of_memory() -> None:
    assert peak_of_encrypting(1024 * MEGABYTE) < MEGABYTE
