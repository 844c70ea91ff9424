"""Encrypted key files: read as others write them, written as the spec says, never more work than allowed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given, settings
from hypothesis import strategies as st

from olmstate.actors._wire.key_file import MAX_ROUNDS
from olmstate.messages import ExportKeyFile, KeyFileError, MalformedKeyFile, WrongPassphrase
from tests.actors.key_files import decrypt_key_file, encrypt_key_file, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable

    from olmstate.messages import JsonObject

RECORDED = json.loads((Path(__file__).parent / "recorded_key_files.json").read_text())
BEGIN = "-----BEGIN MEGOLM SESSION DATA-----"
END = "-----END MEGOLM SESSION DATA-----"

# What Element Web's tests have: plaintext, passphrase, base64. The first has bit 63 of its IV set. A fourth
# is left out: all bits of its IV are set, and how that carries over is where AES-CTR implementations differ.
ELEMENT = [
    (
        "plain",
        "password",
        "AXNhbHRzYWx0c2FsdHNhbHSIiIiIiIiIiIiIiIiIiIiIAAAACmIRUW2OjZ3L2l6j9h0lHlV3M2dxcissyYBxjsfsAndErh065A8=",
    ),
    (
        "Hello, World",
        "betterpassword",
        (
            "AW1vcmVzYWx0bW9yZXNhbHT//////////wAAAAAAAAAAAAAD6KyBpe1Niv5M5NPm4ZATsJo5nghkKYu63a0YQ5DRhUWEKk7CcMkr"
            "KnAUiZny"
        ),
    ),
    (
        "alphanumerically" * 4,
        "SWORDFISH",
        (
            "AXllc3NhbHR5Z29vZG5lc3P//////////wAAAAAAAAAAAAAD6OIW+Je7gwvjd4kYrb+49gKCfExwMgJBMD4mrhLkmgAngwR1pHjb"
            "WXaoGybtiAYr0moQ93GrBQsCzPbvl82rZhaXO3iH5uHo/RCEpOqpPgg29363BGR+/Ripq/VCLKGNbw=="
        ),
    ),
]
# What matrix-rust-sdk's tests have: one session, passphrase "1234", a single round, no padding.
RUST = (
    "Af7mGhlzQ+eGvHu93u0YXd3D/+vYMs3E7gQqOhuCtkvGAAAAASH7pEdWvFyAP1JUisAcpEo"
    "Xke2Q7Kr9hVl/SCc6jXBNeJCZcrUbUV4D/tRQIl3E9L4fOk928YI1J+3z96qiH0uE7hpsCI"
    "CkHKwjPU+0XTzFdIk1X8H7sZ+MD/2Sg/q3y8rtUjz7uEj4GUTnb+9SCOTVmJsRfqgUpM1CU"
    "bDLytHf1JkohY4tWEgpsCc67xdzgodjr12qYrfg/zNm3LGpxlrffJknw4rk5QFTj4kMbqbD"
    "ZZgDTni+HxRTDGge2J620lMOiznvXX+H09Rwruqx5aJvvaaKd86jWRpiO2oSFqHn4u5ONl9"
    "41uzm62Sj0eIm6ZbA9NQs87jQw4LxsejhZVL+NdjIg80zVSBTWhTdo0DTnbFSNP4ReOiz0U"
    "XosOF8A5T8Vdx2nvA0GXltfcHKVKQYh/LJAkNQ7P9UYL4ae/5TtQZkhB1KxCLTRWqADCl53"
    "uBMGpG53EMgY6G6K2DEIOkcv7sdXQF5WpemiSWZqJRWj+cjfs9BpCTbkp/rszWFl2TniWpR"
    "RqIbT2jORlN4rTvdtF0F4z1pqP4qWyR3sLNTkXm9CFRzWADNG0RDZKxbCoo6RPvtaCTfaHo"
    "SwfvzBS6CjfAG+FOugpV48o7+XetaUUPZ6/tZSPhCdeV8eP9q5r0QwWeXFogzoNzWt4HYx9"
    "MdXxzD+f0mtg5gzehrrEEARwI2bCvPpHxlt/Na9oW/GBpkjwR1LSKgg4CtpRyWngPjdEKpZ"
    "GYW19pdjg0qdXNk/eqZsQTsNWVo6A"
)

# Lone surrogates come in passphrases too: Python turns undecodable arguments into them.
texts = st.text() | st.text(st.sampled_from("a\ud800\udfff"))
json_values = st.recursive(st.none() | st.booleans() | st.integers() | texts, st.lists, max_leaves=3)
sessions_lists = st.lists(st.dictionaries(texts, json_values, max_size=3), max_size=3)


def armour(raw: bytes) -> str:
    return f"{BEGIN}\n{base64.b64encode(raw).decode()}\n{END}\n"


def unarmour(file: str) -> bytes:
    return base64.b64decode("".join(file.splitlines()[1:-1]), validate=True)


def one_key_file() -> str:
    return encrypt_key_file([{"room_id": "!a:b"}], "passphrase", rounds=1)


# --- known answers


@pytest.mark.parametrize("recorded", RECORDED, ids=range(len(RECORDED)))
def test_a_file_that_the_rust_sdk_wrote_holds_its_sessions(recorded: JsonObject) -> None:
    assert recorded["sessions"] == decrypt_key_file(recorded["file"], recorded["passphrase"])
    assert recorded["sessions"] == decrypt_key_file(recorded["file"].encode(), recorded["passphrase"])


@pytest.mark.parametrize(("plaintext", "passphrase", "text"), ELEMENT)
def test_element_webs_known_answers_hold_in_both_directions(plaintext: str, passphrase: str, text: str) -> None:
    raw = base64.b64decode(text)
    assert plaintext.encode() == unseal(armour(raw), passphrase, max_rounds=1000)
    rounds = int.from_bytes(raw[33:37], "big")
    sealed = seal(plaintext.encode(), passphrase, salt=raw[1:17], iv=raw[17:33], rounds=rounds)
    assert raw == unarmour(sealed)


def test_the_rust_sdks_known_answer_holds() -> None:
    (session,) = decrypt_key_file(f"{BEGIN}\n{RUST}\n{END}", "1234")
    assert {
        "algorithm",
        "room_id",
        "sender_key",
        "session_id",
        "session_key",
        "sender_claimed_keys",
        "forwarding_curve25519_key_chain",
    } == session.keys()


def test_a_file_is_made_as_the_spec_says() -> None:
    sessions = [{"room_id": "!é:b", "session_id": "\ud800"}]
    raw = unarmour(encrypt_key_file(sessions, "räksmörgås", rounds=3))
    sealed, mac = raw[:-32], raw[-32:]
    version, salt, iv, rounds, ciphertext = sealed[0], sealed[1:17], sealed[17:33], sealed[33:37], sealed[37:]
    assert (1, 3) == (version, int.from_bytes(rounds, "big"))
    keys = hashlib.pbkdf2_hmac("sha512", "räksmörgås".encode(), salt, 3, 64)
    assert hmac.digest(keys[32:], sealed, "sha256") == mac
    # CTR by hand: the blocks of a 128-bit counter that starts at the IV.
    block = Cipher(AES(keys[:32]), ECB()).encryptor()  # noqa: S305
    counters = range(int.from_bytes(iv, "big"), int.from_bytes(iv, "big") + len(ciphertext) // 16 + 1)
    keystream = b"".join(block.update(counter.to_bytes(16, "big")) for counter in counters)
    plaintext = bytes(a ^ b for a, b in zip(ciphertext, keystream, strict=False))
    assert sessions == json.loads(plaintext.decode())


# --- what is written


@given(sessions_lists, texts, st.integers(1, 20))
def test_what_is_written_is_read_back(sessions: list[JsonObject], passphrase: str, rounds: int) -> None:
    file = encrypt_key_file(sessions, passphrase, rounds=rounds)
    # By way of JSON, where two lone surrogates side by side become one character.
    assert json.loads(json.dumps(sessions)) == decrypt_key_file(file, passphrase, max_rounds=rounds)


def test_lines_are_short_and_end_with_a_newline() -> None:
    file = encrypt_key_file([{"session_key": "A" * 10_000}], "passphrase", rounds=1)
    assert file.startswith(BEGIN + "\n")
    assert file.endswith("\n" + END + "\n")
    *whole, last = file.splitlines()[1:-1]
    assert {96} == set(map(len, whole))
    assert 0 < len(last) <= 96
    assert file.isascii()


def test_bit_63_of_the_iv_is_clear_and_nothing_is_used_twice() -> None:
    raws = [unarmour(one_key_file()) for _ in range(64)]
    assert not any(raw[25] & 0x80 for raw in raws)
    assert 64 == len({raw[1:17] for raw in raws}) == len({raw[17:33] for raw in raws})


@pytest.mark.parametrize("rounds", [0, -1, 2**32])
def test_rounds_that_the_file_cannot_name_are_refused(rounds: int) -> None:
    with pytest.raises(ValueError, match="rounds"):
        encrypt_key_file([], "passphrase", rounds=rounds)


# --- what is put up with


CHANGES: list[Callable[[str], str]] = [
    lambda file: file.replace("\n", "\r\n"),
    lambda file: file.replace("\n", "\r"),
    lambda file: "\ufeff" + file,
    lambda file: f"Keys of Älice:\n\n{file}\n\n-- \nSent from \ud800\n",
    lambda file: file.replace("\n", "\n    \t"),
    lambda file: file.replace("=", ""),
    lambda file: file.replace("\n", ""),
    lambda file: "\n \n".join(file.splitlines()),
    lambda file: file + file,
]


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
def test_the_ways_of_mail_and_editors_do_no_harm(change: Callable[[str], str]) -> None:
    sessions: list[JsonObject] = [{"room_id": "!a:b"}, {"a": 1}]
    file = encrypt_key_file(sessions, "passphrase", rounds=1)
    assert "=" in file
    assert sessions == decrypt_key_file(change(file), "passphrase")
    assert sessions == decrypt_key_file(change(file).encode("utf-8", "replace"), "passphrase")


# --- what is refused


@given(texts.filter(lambda passphrase: passphrase.rstrip("\0") != "right"))
def test_another_passphrase_is_wrong(passphrase: str) -> None:
    file = encrypt_key_file([], "right", rounds=1)
    with pytest.raises(WrongPassphrase):
        decrypt_key_file(file, passphrase)


@given(st.data())
def test_a_changed_file_is_never_read(data: st.DataObject) -> None:
    raw = bytearray(unarmour(one_key_file()))
    # Not the upper three bytes of the rounds, which would take their time.
    place = data.draw(st.integers(0, len(raw) - 1).filter(lambda place: place not in range(33, 36)))
    raw[place] ^= data.draw(st.integers(1, 255))
    # Another version, or no rounds at all, is no key file.
    with pytest.raises(MalformedKeyFile if place == 0 or raw[36] == 0 else WrongPassphrase):
        decrypt_key_file(armour(bytes(raw)), "passphrase", max_rounds=255)


def test_a_file_that_is_cut_short_is_never_read() -> None:
    # 256 rounds: without their last byte the rounds read as 1, which is allowed too.
    raw = unarmour(encrypt_key_file([], "passphrase", rounds=256))
    for length in range(len(raw)):
        with pytest.raises(MalformedKeyFile if length < 69 else WrongPassphrase):
            decrypt_key_file(armour(raw[:length]), "passphrase")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("", "no BEGIN or END line"),
        ("-----", "no BEGIN or END line"),
        (f"{BEGIN}\n-----", "no BEGIN or END line"),
        (f"{END}\n{BEGIN}", "no BEGIN or END line"),
        (f"{BEGIN}{END}", "too short"),
        (f"{BEGIN}\n!\n{END}", "not base64"),
        (f"{BEGIN}\nAAAAA\n{END}", "not base64"),
        (f"{BEGIN}\nAA==AA==\n{END}", "not base64"),
        (f"{BEGIN}\nAA-_\n{END}", "not base64"),
        (f"{BEGIN}\n\ud800é\n{END}", "not base64"),
        (armour(b"\x02" + bytes(68)), "unknown version 2"),
        (armour(b"\x01" + bytes(68)), "asks for 0 rounds"),
    ],
)
def test_what_is_no_key_file_is_refused_with_its_reason(file: str, reason: str) -> None:
    with pytest.raises(MalformedKeyFile, match=reason) as caught:
        decrypt_key_file(file, "passphrase")
    assert caught.value.__context__ is None


def test_more_rounds_than_allowed_are_refused_before_they_are_run() -> None:
    # An hour's work: if it were begun, nobody would see this test end.
    hostile = armour(b"\x01" + bytes(32) + b"\xff\xff\xff\xff" + bytes(32))
    with pytest.raises(MalformedKeyFile, match="asks for 4294967295 rounds"):
        decrypt_key_file(hostile, "passphrase")
    file = encrypt_key_file([], "passphrase", rounds=11)
    assert [] == decrypt_key_file(file, "passphrase", max_rounds=11)
    with pytest.raises(MalformedKeyFile, match="asks for 11 rounds, allowed are 1 to 10"):
        decrypt_key_file(file, "passphrase", max_rounds=10)


def test_nobody_can_ask_for_a_file_that_he_could_not_read_again() -> None:
    assert ExportKeyFile(passphrase="passphrase", rounds=MAX_ROUNDS).rounds == MAX_ROUNDS
    for rounds in (0, MAX_ROUNDS + 1):
        with pytest.raises(ValueError, match="rounds"):
            ExportKeyFile(passphrase="passphrase", rounds=rounds)


def test_an_empty_passphrase_protects_nothing_and_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ExportKeyFile\.passphrase must not be empty"):
        ExportKeyFile(passphrase="")


@pytest.mark.parametrize(
    ("plaintext", "reason"),
    [
        (b"{}", "not a JSON array"),
        (b'"[]"', "not a JSON array"),
        (b"plain", "not JSON"),
        (b"[1 2]", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"[,]", "not JSON"),
        (b"[1", "not JSON"),
        (b"[] 1", "not JSON"),
        (b"[1, NaN]", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "deeper"),
        (b"", "not JSON"),
    ],
)
def test_content_that_is_no_array_is_refused(plaintext: bytes, reason: str) -> None:
    file = seal(plaintext, "passphrase", salt=bytes(16), iv=bytes(16), rounds=1)
    with pytest.raises(MalformedKeyFile, match=reason):
        decrypt_key_file(file, "passphrase")


def test_what_the_array_holds_is_left_to_the_reader() -> None:
    file = seal(b'[1, null, {"a": 1}]', "passphrase", salt=bytes(16), iv=bytes(16), rounds=1)
    assert [1, None, {"a": 1}] == decrypt_key_file(file, "passphrase")


@settings(max_examples=300)
@given(st.binary() | st.text(), st.binary(max_size=100), st.booleans())
def test_garbage_gives_the_typed_error(around: bytes | str, raw: bytes, version: bool) -> None:  # noqa: FBT001
    file = around if isinstance(around, bytes) else around.encode("utf-8", "surrogatepass")
    body = BEGIN.encode() + base64.b64encode(b"\x01" * version + raw) + END.encode()
    for garbage in (file, BEGIN.encode() + file + END.encode(), file + body):
        with pytest.raises(KeyFileError):
            decrypt_key_file(garbage, "passphrase", max_rounds=1000)
