"""Canonical JSON, signatures and signed keys, against the spec's vectors and what real devices signed."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import assume, given
from hypothesis import strategies as st

from olmstate.actors._wire.signatures import (
    canonical_json,
    check_device_keys,
    check_one_time_key,
    verify_signed,
)
from olmstate.actors._wire.untrusted_json import MAX_DEPTH, MAX_INTEGER
from olmstate.messages import (
    DeviceId,
    DeviceKeys,
    Ed25519Key,
    InvalidSignature,
    Json,
    MalformedMessage,
    UserId,
)
from tests.operations.peer import Peer
from tests.peer.encoding import canonical

if TYPE_CHECKING:
    from olmstate.messages import JsonObject

RECORDED = json.loads((Path(__file__).parent / "recorded_device_keys.json").read_text())
USER = UserId("@alice:example.org")
DEVICE = DeviceId("ALICEDEV")

unicode_text = st.text(st.characters(exclude_categories=["Cs"]))
leaves = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | unicode_text
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(unicode_text, inner), max_leaves=20)
objects = st.dictionaries(unicode_text, values)
any_text = st.text() | st.text(st.sampled_from("a\ud800\udfff"))
# Everything that a dict can hold, right or wrong.
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(any_text | st.integers() | st.none(), inner) | st.tuples(inner),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def device() -> Peer:
    return Peer(USER, DEVICE)


# --- canonical JSON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The examples of the spec's appendix, but for the one with 1e10.
        ("{}", "{}"),
        ('{ "one": 1, "two": "Two" }', '{"one":1,"two":"Two"}'),
        ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
        ('{"a": {"c": [{"z": null}, true], "b": {}}}', '{"a":{"b":{},"c":[{"z":null},true]}}'),
        ('{"a": "日本語"}', '{"a":"日本語"}'),
        ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
        ('{"a": "\\u65E5"}', '{"a":"日"}'),
        ('{"a": null}', '{"a":null}'),
        ('{"a": -0}', '{"a":0}'),
        # By code point, which is not the order of UTF-16.
        ('{"\\ud83d\\ude00": 1, "\\uff61": 2}', '{"\uff61":2,"\U0001f600":1}'),
        (
            '{"a": "\\u007f\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\\\/"}',
            '{"a":"\x7f\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/"}',
        ),
        ('{"a": [9007199254740991, -9007199254740991]}', '{"a":[9007199254740991,-9007199254740991]}'),
    ],
)
def test_canonical_json_is_what_the_spec_shows(text: str, expected: str) -> None:
    assert expected.encode() == canonical_json(json.loads(text))


@given(objects)
def test_canonical_json_is_stable_and_means_the_same(obj: JsonObject) -> None:
    encoded = canonical_json(obj)
    assert canonical(obj).encode() == encoded
    assert obj == json.loads(encoded)
    assert encoded == canonical_json(json.loads(encoded))
    assert encoded == canonical_json(dict(reversed(obj.items())))


def test_all_characters_are_written_and_ordered_as_another_does() -> None:
    characters = [chr(each) for each in range(0x110000) if not 0xD800 <= each < 0xE000]
    obj: JsonObject = {"text": "".join(characters), **dict.fromkeys(reversed(characters[::61]), "")}
    assert canonical(obj).encode() == canonical_json(obj)


@given(st.dictionaries(any_text | st.integers(), anything))
def test_any_object_has_canonical_json_or_the_typed_error(obj: JsonObject) -> None:
    with suppress(MalformedMessage):
        canonical_json(obj)


class _Port(IntEnum):
    HTTPS = 443


def test_subclasses_are_written_as_their_values() -> None:
    assert b'{"a":443,"b":[1]}' == canonical_json({"a": _Port.HTTPS, "b": (1,)})


NOT_CANONICAL: list[Json] = [
    *(1.5, 1e10, -0.0, float("nan"), float("inf"), MAX_INTEGER + 1, -MAX_INTEGER - 1, 10**5000),
    *("\ud800", {"\udfff": 1}, {1: "a"}, {None: "a"}, {True: "a"}, {1: "a", "b": "c"}),
    *(b"bytes", {1, 2}, object()),
]


@pytest.mark.parametrize("wrong", NOT_CANONICAL, ids=range(len(NOT_CANONICAL)))
def test_what_canonical_json_does_not_have_is_refused(wrong: Json) -> None:
    with pytest.raises(MalformedMessage) as caught:
        canonical_json({"a": [wrong]})
    assert caught.value.__context__ is None


@pytest.mark.parametrize("levels", [MAX_DEPTH, 10_000])
def test_an_object_that_is_too_deep_is_refused(levels: int) -> None:
    value: Json = {}
    for _ in range(levels):
        value = {"a": value}
    with pytest.raises(MalformedMessage, match="deeper"):
        canonical_json(value)


# --- signatures


def spec_key() -> Ed25519Key:
    seed = base64.b64decode("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1=")
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Ed25519Key(base64.b64encode(key).decode().rstrip("="))


@pytest.mark.parametrize(
    ("content", "signature"),
    [
        ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_the_signatures_of_the_spec_are_good(content: JsonObject, signature: str) -> None:
    signed = {
        **content,
        "signatures": {"domain": {"ed25519:1": signature}},
        "unsigned": {"age_ts": 922834800000},
    }
    verify_signed(signed, UserId("domain"), DeviceId("1"), spec_key())
    with pytest.raises(InvalidSignature, match="wrong"):
        verify_signed({**signed, "three": 3}, UserId("domain"), DeviceId("1"), spec_key())


def test_a_padded_signature_and_a_padded_key_are_good_too(device: Peer) -> None:
    signed = device.signed({"a": 1})
    signed["signatures"][USER][f"ed25519:{DEVICE}"] += "=="
    verify_signed(signed, USER, DEVICE, Ed25519Key(device.ed25519 + "="))


def test_signatures_of_others_and_unsigned_do_not_matter(device: Peer) -> None:
    signed = device.signed({"a": 1})
    signed["signatures"] |= {"@bob:example.org": None, "x": {"y": 1.5}}
    signed["signatures"][USER]["rot13:X"] = "z"
    signed["unsigned"] = {"age": 1.5, "\ud800": b""}
    verify_signed(signed, USER, DEVICE, device.ed25519)


@given(objects, unicode_text, values)
def test_no_change_of_what_was_signed_goes_unseen(obj: JsonObject, name: str, value: Json) -> None:
    assume(not obj.keys() & {"signatures", "unsigned"} and name not in {"signatures", "unsigned"})
    assume(name not in obj or canonical_json({"": obj[name]}) != canonical_json({"": value}))
    device = Peer(USER, DEVICE)
    signed = device.signed(obj)
    verify_signed(signed, USER, DEVICE, device.ed25519)
    with pytest.raises(InvalidSignature, match="wrong"):
        verify_signed({**signed, name: value}, USER, DEVICE, device.ed25519)


def test_another_devices_signature_is_no_good(device: Peer) -> None:
    with pytest.raises(InvalidSignature, match="wrong"):
        verify_signed(Peer(USER, DEVICE).signed({"a": 1}), USER, DEVICE, device.ed25519)


@pytest.mark.parametrize(
    "signatures",
    [
        None,
        [],
        "x",
        {},
        {USER: None},
        {USER: [f"ed25519:{DEVICE}"]},
        {USER: {}},
        {USER: {f"ed25519:{DEVICE}": None}},
        {USER: {f"ed25519:{DEVICE}": 5}},
        {USER: {"ed25519:OTHER": "A" * 86}},
        {"@bob:example.org": {f"ed25519:{DEVICE}": "A" * 86}},
    ],
)
def test_a_signature_that_is_not_there_is_missed(device: Peer, signatures: Json) -> None:
    with pytest.raises(InvalidSignature, match="missing"):
        verify_signed({"a": 1, "signatures": signatures}, USER, DEVICE, device.ed25519)
    with pytest.raises(InvalidSignature, match="missing"):
        verify_signed({"a": 1}, USER, DEVICE, device.ed25519)


STRANGE_TEXT = [
    *("", "=", "é" * 43, "\ud800", "\ud800" * 43, "\0" * 43, "-" * 43, "A" * 42, "/" * 43, "=" * 43),
    *(
        "A" * 42 + "=",
        "A" * 42 + "==",
        "A" * 44,
        "A" * 45,
        "A" * 86,
        "A" * 85 + "=",
        "A" * 87,
        "A" * 88,
        "A" * 1_000_000,
    ),
]


@pytest.mark.parametrize("text", STRANGE_TEXT, ids=range(len(STRANGE_TEXT)))
def test_a_strange_signature_is_only_wrong(device: Peer, text: str) -> None:
    signed = {"a": 1, "signatures": {USER: {f"ed25519:{DEVICE}": text}}}
    with pytest.raises(InvalidSignature, match="signature is wrong") as caught:
        verify_signed(signed, USER, DEVICE, device.ed25519)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("text", STRANGE_TEXT, ids=range(len(STRANGE_TEXT)))
def test_a_strange_key_is_only_no_key(device: Peer, text: str) -> None:
    # 42 or 44 characters, 31 or 33 bytes: there vodozemac 0.10 panics, and ``except Exception`` does not catch a panic.
    with pytest.raises(InvalidSignature, match="no Ed25519 key") as caught:
        verify_signed(device.signed({"a": 1}), USER, DEVICE, Ed25519Key(text))
    assert caught.value.__context__ is None


@given(any_text | st.text("ABC+/=-_", max_size=100), st.text("Aw+/=", max_size=100))
def test_any_key_and_any_signature_give_the_typed_error(key: str, signature: str) -> None:
    signed = {"signatures": {USER: {f"ed25519:{DEVICE}": signature}}}
    with pytest.raises(InvalidSignature):
        verify_signed(signed, USER, DEVICE, Ed25519Key(key))


def test_what_has_no_canonical_json_is_malformed_not_unsigned(device: Peer) -> None:
    signed = device.signed({"a": 1})
    with pytest.raises(MalformedMessage):
        verify_signed({**signed, "a": 1.0}, USER, DEVICE, device.ed25519)


# --- device keys


def test_the_device_keys_of_real_devices_are_good() -> None:
    seen = 0
    for user_id, devices in RECORDED["device_keys"].items():
        for device_id, keys in devices.items():
            expected = DeviceKeys(
                user_id=user_id,
                device_id=device_id,
                curve25519=keys["keys"][f"curve25519:{device_id}"],
                ed25519=keys["keys"][f"ed25519:{device_id}"],
                algorithms=tuple(keys["algorithms"]),
            )
            assert expected == check_device_keys(user_id, device_id, keys)
            seen += 1
    assert 23 == seen


def test_device_keys_are_good_and_given_without_padding(device: Peer) -> None:
    keys = {
        f"curve25519:{DEVICE}": device.curve25519 + "=",
        f"ed25519:{DEVICE}": device.ed25519 + "=",
        "x:y": 1,
    }
    checked = check_device_keys(USER, DEVICE, device.device_keys(keys=keys))
    assert (device.curve25519, device.ed25519) == (checked.curve25519, checked.ed25519)


@pytest.mark.parametrize("name", ["user_id", "device_id"])
def test_device_keys_of_another_device_are_refused(device: Peer, name: str) -> None:
    # Signed for what it is asked for too, so that only the names differ.
    with pytest.raises(MalformedMessage, match="another device"):
        check_device_keys(USER, DEVICE, device.device_keys(**{name: "other"}))


@pytest.mark.parametrize("name", ["user_id", "device_id", "algorithms", "keys", "signatures"])
@pytest.mark.parametrize("wrong", [None, 1, True, [1], {"a": 1}, "\ud800"])
def test_device_keys_of_the_wrong_shape_are_refused(device: Peer, name: str, wrong: Json) -> None:
    with pytest.raises((MalformedMessage, InvalidSignature)):
        check_device_keys(USER, DEVICE, {**device.device_keys(), name: wrong})
    without = device.device_keys()
    del without[name]
    with pytest.raises((MalformedMessage, InvalidSignature)):
        check_device_keys(USER, DEVICE, without)


@pytest.mark.parametrize("algorithm", ["ed25519", "curve25519"])
@pytest.mark.parametrize("text", [None, 5, *STRANGE_TEXT], ids=range(2 + len(STRANGE_TEXT)))
def test_a_strange_key_among_device_keys_is_malformed(device: Peer, algorithm: str, text: Json) -> None:
    keys = device.device_keys()
    keys["keys"][f"{algorithm}:{DEVICE}"] = text
    with pytest.raises(MalformedMessage) as caught:
        check_device_keys(USER, DEVICE, keys)
    assert caught.value.__context__ is None


def test_each_change_of_device_keys_is_seen(device: Peer) -> None:
    other = Peer(USER, DEVICE)
    for change in (
        {"algorithms": ["m.megolm.v1.aes-sha2"]},
        {"keys": {f"curve25519:{DEVICE}": other.curve25519, f"ed25519:{DEVICE}": device.ed25519}},
        {"keys": {f"curve25519:{DEVICE}": device.curve25519, f"ed25519:{DEVICE}": other.ed25519}},
        {"dehydrated": True},
    ):
        with pytest.raises(InvalidSignature):
            check_device_keys(USER, DEVICE, {**device.device_keys(), **change})


@given(anything)
def test_anything_but_device_keys_gives_a_typed_error(value: Json) -> None:
    with pytest.raises(MalformedMessage):
        check_device_keys(USER, DEVICE, value)


@given(st.data(), anything)
def test_device_keys_with_anything_in_them_give_a_typed_error_or_are_good(data: st.DataObject, value: Json) -> None:
    device = Peer(USER, DEVICE)
    keys = device.device_keys()
    place: Json = keys
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or data.draw(st.booleans()):
            break
        place = place[name]
    place[name] = value
    with pytest.raises((MalformedMessage, InvalidSignature)):
        check_device_keys(USER, DEVICE, keys)


def test_what_was_checked_is_not_changed(device: Peer) -> None:
    keys = device.device_keys()
    before = copy.deepcopy(keys)
    check_device_keys(USER, DEVICE, keys)
    assert pickle.dumps(before) == pickle.dumps(keys)


# --- one-time keys


def test_the_one_time_and_fallback_keys_of_a_real_device_are_good() -> None:
    owner = RECORDED["claimed"]
    claimed = [*owner["one_time_keys"].values(), *owner["fallback_keys"].values()]
    for key in claimed:
        assert key["key"] == check_one_time_key(key, owner["user_id"], owner["device_id"], owner["ed25519"])
    assert 4 == len(claimed)


def test_a_fallback_key_passed_off_as_a_one_time_key_is_refused(device: Peer) -> None:
    fallback = device.signed({"key": device.curve25519, "fallback": True})
    assert device.curve25519 == check_one_time_key(fallback, USER, DEVICE, device.ed25519)
    del fallback["fallback"]
    with pytest.raises(InvalidSignature):
        check_one_time_key(fallback, USER, DEVICE, device.ed25519)


def test_a_one_time_key_that_another_device_signed_is_refused(device: Peer) -> None:
    with pytest.raises(InvalidSignature):
        check_one_time_key(Peer(USER, DEVICE).signed({"key": device.curve25519}), USER, DEVICE, device.ed25519)


@pytest.mark.parametrize("text", [None, 5, *STRANGE_TEXT], ids=range(2 + len(STRANGE_TEXT)))
def test_a_strange_one_time_key_is_malformed(device: Peer, text: Json) -> None:
    with pytest.raises(MalformedMessage):
        check_one_time_key({"key": text}, USER, DEVICE, device.ed25519)


@given(anything)
def test_anything_but_a_one_time_key_gives_the_typed_error(value: Json) -> None:
    with pytest.raises(MalformedMessage):
        check_one_time_key(value, USER, DEVICE, Ed25519Key("A" * 43))
