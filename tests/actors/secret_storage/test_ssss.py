"""Secret storage: what other clients have stored is read, and nothing that was changed is."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors._secret_storage import ssss
from olmstate.actors._secret_storage.recovery_key import read_recovery_key
from olmstate.actors._secret_storage.ssss import KeyDescription, Passphrase
from olmstate.messages import DamagedSecret, Json, MalformedSecret, OlmStateError, UnsupportedSecretStorage
from tests.peer import secret_storage
from tests.peer.encoding import b64, unb64

KEY = bytes(range(32))
NAME = "m.cross_signing.master"
IV = b"\xff" * 16
# what the Rust SDK's tests have
RUST_PASSPHRASE: dict[str, Any] = {
    "algorithm": "m.secret_storage.v1.aes-hmac-sha2",
    "iv": "gH2iNpiETFhApvW6/FFEJQ",
    "mac": "9Lw12m5SKDipNghdQXKjgpfdj1/K7HFI2brO+UWAGoM",
    "passphrase": {"algorithm": "m.pbkdf2", "salt": "IuLnH7S85YtZmkkBJKwNUKxWF42g9O1H", "iterations": 10},
}
RUST_RECOVERY: dict[str, Any] = {
    "algorithm": "m.secret_storage.v1.aes-hmac-sha2",
    "iv": "xv5b6/p3ExEw++wTyfSHEg==",
    "mac": "ujBBbXahnTAMkmPUX2/0+VTfUh63pGyVRuBcDMgmJC8=",
}
RECOVERY_KEY = "EsTj 3yST y93F SLpB jJsz eAXc 2XzA ygD3 w69H fGaN TKBj jXEd"

keys = st.binary(min_size=32, max_size=32)
ivs = st.binary(min_size=16, max_size=16)
texts = st.text(st.characters(codec="utf-8"))


# --- keys


def test_a_key_from_a_passphrase_of_another_client_is_the_right_one() -> None:
    description = ssss.read_key_description("id", RUST_PASSPHRASE)
    assert description.passphrase is not None
    key = ssss.key_from_passphrase("It's a secret to everybody", description.passphrase)
    assert ssss.is_right_key(key, description)
    assert not ssss.is_right_key(
        ssss.key_from_passphrase("It's a secret to nobody", description.passphrase), description
    )


def test_a_recovery_key_of_another_client_is_the_right_one() -> None:
    description = ssss.read_key_description("id", RUST_RECOVERY)
    assert ssss.is_right_key(read_recovery_key(RECOVERY_KEY), description)
    assert not ssss.is_right_key(KEY, description)


@given(keys, ivs)
def test_the_check_of_a_new_key_is_that_of_the_spec(key: bytes, iv: bytes) -> None:
    description = ssss.describe_key(key, "id", iv=iv)
    cleared = iv[:8] + bytes([iv[8] & 0x7F]) + iv[9:]
    assert cleared == description.iv
    aes_key, mac_key = secret_storage.keys(key, "")
    zeros = secret_storage.aes_ctr(aes_key, cleared, bytes(32))
    assert hmac.new(mac_key, zeros, hashlib.sha256).digest() == description.mac
    assert ssss.is_right_key(key, description)
    assert not ssss.is_right_key(bytes([key[0] ^ 1]) + key[1:], description)


def test_without_a_check_any_key_is_taken_for_right() -> None:
    for missing in ("iv", "mac"):
        content = {name: value for name, value in RUST_RECOVERY.items() if name != missing}
        assert ssss.is_right_key(KEY, ssss.read_key_description("id", content))


@given(texts, texts.filter(len), st.integers(1, 20), st.sampled_from([128, 256, 512]))
def test_a_passphrase_gives_the_key_of_the_spec(passphrase: str, salt: str, iterations: int, bits: int) -> None:
    expected = hashlib.pbkdf2_hmac("sha512", passphrase.encode(), salt.encode(), iterations, bits // 8)
    assert expected == ssss.key_from_passphrase(passphrase, Passphrase(salt=salt, iterations=iterations, bits=bits))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (Passphrase(salt="s", iterations=0), "0 iterations"),
        (Passphrase(salt="s", iterations=-1), "-1 iterations"),
        (Passphrase(salt="s", iterations=10_000_001), "allowed are 1 to 10000000"),
        (Passphrase(salt="s", iterations=2**63), "iterations"),
        (Passphrase(salt="s", iterations=1, bits=0), "0 bits"),
        (Passphrase(salt="s", iterations=1, bits=255), "255 bits"),
        (Passphrase(salt="s", iterations=1, bits=2**40), "bits"),
    ],
)
def test_no_account_data_makes_us_work_for_longer_than_allowed(how: Passphrase, reason: str) -> None:
    with pytest.raises(UnsupportedSecretStorage, match=reason):
        ssss.key_from_passphrase("passphrase", how)


# --- descriptions


@given(
    st.none() | texts,
    st.none() | st.builds(Passphrase, salt=texts, iterations=st.integers(1, 2**31), bits=st.integers(128, 512)),
    st.none() | ivs,
    st.none() | keys,
)
def test_a_description_is_written_and_read_again(
    name: str | None, passphrase: Passphrase | None, iv: bytes | None, mac: bytes | None
) -> None:
    description = KeyDescription(key_id="id", name=name, passphrase=passphrase, iv=iv, mac=mac)
    content = msgspec.json.decode(msgspec.json.encode(ssss.key_description_content(description)))
    assert description == ssss.read_key_description("id", content)


def test_a_description_has_the_fields_of_the_spec() -> None:
    description = ssss.describe_key(KEY, "id", iv=IV, name="mine", passphrase=Passphrase(salt="salt", iterations=7))
    content = ssss.key_description_content(description)
    assert {"algorithm", "name", "passphrase", "iv", "mac"} == set(content)
    assert {"algorithm": "m.pbkdf2", "salt": "salt", "iterations": 7, "bits": 256} == content["passphrase"]
    assert "=" not in content["iv"] + content["mac"]
    assert "m.secret_storage.key.id" == ssss.key_type("id")
    assert "KeyDescription(key_id='id', ...)" == repr(description)


def test_another_algorithm_is_named_as_such() -> None:
    with pytest.raises(UnsupportedSecretStorage, match="another algorithm"):
        ssss.read_key_description("id", {**RUST_PASSPHRASE, "algorithm": "m.secret_storage.custom"})


@pytest.mark.parametrize("more", [{}, {"salt": "s", "iterations": 1}, {"salt": 1, "memory": "64M"}], ids=str)
def test_a_passphrase_of_another_algorithm_is_unknown_and_the_key_can_be_checked(more: dict[str, Any]) -> None:
    """The whole key was refused, though its user may have the recovery key."""
    described = {**RUST_PASSPHRASE, "passphrase": {"algorithm": "m.argon2", **more}}
    description = ssss.read_key_description("id", described)
    known = ssss.read_key_description("id", RUST_PASSPHRASE)
    assert (known.iv, known.mac) == (description.iv, description.mac)
    assert description.passphrase is not None
    with pytest.raises(UnsupportedSecretStorage, match="another algorithm"):
        ssss.key_from_passphrase("passphrase", description.passphrase)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "not an object"),
        ({}, "algorithm"),
        ({**RUST_PASSPHRASE, "iv": "AAAA"}, "16 bytes"),
        ({**RUST_PASSPHRASE, "mac": "AAAA"}, "32 bytes"),
        ({**RUST_PASSPHRASE, "mac": 1}, "mac"),
        ({**RUST_PASSPHRASE, "iv": "!"}, "base64"),
        ({**RUST_PASSPHRASE, "passphrase": []}, "passphrase"),
        ({**RUST_PASSPHRASE, "passphrase": {"algorithm": "m.pbkdf2", "salt": "s"}}, "iterations"),
        ({**RUST_PASSPHRASE, "passphrase": {"algorithm": "m.pbkdf2", "iterations": 1}}, "salt"),
        ({**RUST_PASSPHRASE, "name": 7}, "name"),
    ],
)
def test_what_is_no_description_is_refused_with_its_reason(content: Any, reason: str) -> None:  # noqa: ANN401
    with pytest.raises(MalformedSecret, match=reason) as caught:
        ssss.read_key_description("id", content)
    assert "m.secret_storage.key.id" == caught.value.name
    assert caught.value.__context__ is None


def test_the_default_key_is_the_one_that_is_named_and_else_there_is_none() -> None:
    assert "id" == ssss.default_key_id(ssss.default_key_content("id"))
    others: list[Json] = [None, {}, [], {"key": None}, {"key": 1}, {"key": ""}, {"key": ["id"]}]
    assert {None} == {ssss.default_key_id(content) for content in others}


def test_the_preference_for_a_backup_is_read_and_written() -> None:
    for enabled in (True, False):
        assert enabled is ssss.backup_wanted(ssss.backup_wanted_content(enabled=enabled))
    others: list[Json] = [None, {}, {"enabled": None}, {"enabled": "yes"}, {"enabled": 1}, []]
    assert {None} == {ssss.backup_wanted(content) for content in others}


# --- secrets


@given(keys, texts, texts, ivs)
def test_a_secret_is_stored_as_the_spec_says_and_read_again(key: bytes, name: str, secret: str, iv: bytes) -> None:
    stored = ssss.encrypt_secret(key, name, secret, iv=iv)
    assert secret_storage.encrypt(key, name, secret, iv) == stored
    assert secret == secret_storage.decrypt(key, name, stored)
    assert secret == ssss.decrypt_secret(key, "id", name, ssss.with_secret(None, "id", stored))


def test_padding_is_put_up_with() -> None:
    stored = ssss.encrypt_secret(KEY, NAME, "a secret", iv=IV)
    padded = {field: text + "=" * (-len(text) % 4) for field, text in stored.items()}
    assert padded != stored
    assert "a secret" == ssss.decrypt_secret(KEY, "id", NAME, ssss.with_secret(None, "id", padded))


def stored_secret() -> dict[str, Any]:
    return ssss.with_secret(None, "id", ssss.encrypt_secret(KEY, NAME, "a secret", iv=IV))


def test_another_key_another_name_or_one_changed_bit_is_noticed() -> None:
    with pytest.raises(DamagedSecret, match=NAME):
        ssss.decrypt_secret(bytes(32), "id", NAME, stored_secret())
    # the server can't hand out one secret as another
    with pytest.raises(DamagedSecret):
        ssss.decrypt_secret(KEY, "id", "m.cross_signing.self_signing", stored_secret())
    for field in ("ciphertext", "mac"):
        content = stored_secret()
        octets = bytearray(unb64(content["encrypted"]["id"][field]))
        octets[0] ^= 1
        content["encrypted"]["id"][field] = b64(bytes(octets))
        with pytest.raises(DamagedSecret) as caught:
            ssss.decrypt_secret(KEY, "id", NAME, content)
        assert "a secret" not in str(caught.value)


def test_a_changed_iv_gives_garbage_or_an_error_because_the_mac_is_not_over_it() -> None:
    content = stored_secret()
    content["encrypted"]["id"]["iv"] = b64(bytes(16))
    with suppress(MalformedSecret):
        assert "a secret" != ssss.decrypt_secret(KEY, "id", NAME, content)


def test_the_mac_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def spy(ours: bytes, theirs: bytes) -> bool:
        compared.append(ours)
        return ours == theirs

    monkeypatch.setattr(hmac, "compare_digest", spy)
    ssss.decrypt_secret(KEY, "id", NAME, stored_secret())
    ssss.is_right_key(KEY, ssss.describe_key(KEY, "id", iv=IV))
    assert [32, 32] == [len(mac) for mac in compared]


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"encrypted": None},
        {"encrypted": {}},
        {"encrypted": {"other": {}}},
        {"encrypted": {"id": None}},
        {"encrypted": {"id": {}}},
        {"encrypted": {"id": {"iv": "AAAA", "ciphertext": "", "mac": b64(bytes(32))}}},
        {"encrypted": {"id": {"iv": b64(bytes(16)), "ciphertext": "!", "mac": b64(bytes(32))}}},
        {"encrypted": {"id": {"iv": b64(bytes(16)), "ciphertext": "", "mac": ""}}},
    ],
    ids=str,
)
def test_what_is_no_secret_is_refused(content: Any) -> None:  # noqa: ANN401 - JSON
    with pytest.raises(MalformedSecret) as caught:
        ssss.decrypt_secret(KEY, "id", NAME, content)
    assert NAME == caught.value.name
    assert caught.value.__context__ is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "iv", "mac", "x"]), inner),
    max_leaves=8,
)


@given(json_values, json_values)
def test_whatever_a_server_keeps_a_value_or_a_typed_error_comes_out(content: Any, inner: Any) -> None:  # noqa: ANN401
    for value in (content, {"encrypted": content}, {"encrypted": {"id": content}}, {**RUST_PASSPHRASE, "iv": inner}):
        with pytest.raises(OlmStateError):
            ssss.decrypt_secret(KEY, "id", NAME, value)
        with suppress(OlmStateError):
            ssss.read_key_description("id", value)
        ssss.key_ids(value)
        ssss.with_secret(value, "id", {})


def test_what_other_keys_have_stays_and_is_listed() -> None:
    first = ssss.with_secret({"encrypted": {"old": {"x": 1}}, "other": "field"}, "new", {"y": 2})
    assert {"encrypted": {"old": {"x": 1}, "new": {"y": 2}}} == first
    assert ("old", "new") == ssss.key_ids(first)
    assert {"encrypted": {"new": {"y": 3}}} == ssss.with_secret("anything", "new", {"y": 3})
    nothing: list[Json] = [None, {}, {"encrypted": []}]
    assert {()} == {ssss.key_ids(content) for content in nothing}


def test_an_iv_of_another_length_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="16 bytes, not 12"):
        ssss.encrypt_secret(KEY, NAME, "secret", iv=bytes(12))


def test_two_secrets_with_two_ivs_share_nothing() -> None:
    first, second = (ssss.encrypt_secret(KEY, NAME, "secret", iv=bytes([number]) * 16) for number in range(2))
    assert not set(first.values()) & set(second.values())
