"""Public cross-signing keys: the keys of another client's tests, and everything that must not pass for one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors._identities import identity, signing
from olmstate.actors._identities.identity import Usage, check_identity, parse_key
from olmstate.messages import InvalidSignature, MalformedMessage, OlmStateError, UserId

USER = UserId("@alice:localhost")
# what matrix-js-sdk's tests have: keys and signatures that it made
MASTER = "J+5An10v1vzZpAXTYFokD1/PEVccFnLC61EfRXit0UY"
SELF_SIGNING = "aU2+2CyXQTCuDcmWW0EL2bhJ6PdjFW2LbAsbHqf02AY"
USER_SIGNING = "g5TC/zjQXyZYuDLZv7a41z5fFVrXpYPypG//AFQj8hY"
SIGNATURES = {
    "self_signing": "XfhYEhZmOs8BJdb3viatILBZ/bElsHXEW28V4tIaY5CxrBR0YOym3yZHWmRmypXessHZAKOhZn3yBMXzdajyCw",
    "user_signing": "6AkD1XM2H0/ebgP9oBdMKNeft7uxsrb0XN1CsjjHgeZCvCTMmv3BHlLiT/Hzy4fe8H+S1tr484dcXN/PIdnfDA",
}
DEVICE: dict[str, Any] = {
    "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
    "device_id": "test_device",
    "keys": {
        "curve25519:test_device": "F4uCNNlcbRvc7CfBz95ZGWBvY1ALniG1J8+6rhVoKS0",
        "ed25519:test_device": "YI/7vbGVLpGdYtuceQR8MSsKB/QjgfMXM1xqnn+0NWU",
    },
    "user_id": "@alice:localhost",
    "signatures": {
        "@alice:localhost": {
            "ed25519:test_device": (
                "LmQC/yAUZJmkxZ+3L0nEwvtVWOzjqQqADWBhk+C47SPaFYHeV+E291mgXaSCJVeGltX+HC49Aw7nb6ga7sw0Aw"
            )
        }
    },
}
OTHER_SEED = b"another".ljust(32)


def public(usage: str, key: str) -> dict[str, Any]:
    value: dict[str, Any] = {"user_id": USER, "usage": [usage], "keys": {f"ed25519:{key}": key}}
    if usage in SIGNATURES:
        value["signatures"] = {USER: {f"ed25519:{MASTER}": SIGNATURES[usage]}}
    return value


def keys() -> list[dict[str, Any]]:
    return [public("master", MASTER), public("self_signing", SELF_SIGNING), public("user_signing", USER_SIGNING)]


def test_the_identity_of_another_client_is_read() -> None:
    found = check_identity(USER, *keys())
    assert (MASTER, SELF_SIGNING) == (found.master.public_key, found.self_signing.public_key)
    assert found.user_signing is not None
    assert USER_SIGNING == found.user_signing.public_key
    assert None is check_identity(USER, *keys()[:2]).user_signing
    assert keys()[0] == found.master.json


def test_unknown_fields_and_others_signatures_are_kept() -> None:
    master, self_signing, _ = keys()
    master["org.example.new"] = {"x": [1, None, "é"]}
    master["signatures"] = {USER: {"ed25519:DEVICE": "anything"}}
    assert master == check_identity(USER, master, self_signing).master.json


@pytest.mark.parametrize("which", ["self_signing", "user_signing"])
@pytest.mark.parametrize(
    "wrong", ["missing", "by the key itself", "of another key", "by another's master key", "unreadable"]
)
def test_a_key_that_the_master_key_did_not_sign_is_refused(which: str, wrong: str) -> None:
    place = ["master", "self_signing", "user_signing"].index(which)
    all_keys = keys()
    key = all_keys[place]
    match wrong:
        case "missing":
            del key["signatures"]
        case "by the key itself":
            own = next(iter(key["keys"]))
            key["signatures"] = {USER: {own: SIGNATURES[which]}}
        case "of another key":
            key["signatures"][USER][f"ed25519:{MASTER}"] = SIGNATURES[
                "user_signing" if which == "self_signing" else "self_signing"
            ]
        case "by another's master key":
            key["signatures"] = {USER: {f"ed25519:{MASTER}": signing.signature(OTHER_SEED, key)}}
        case _:
            key["signatures"][USER][f"ed25519:{MASTER}"] = 7
    with pytest.raises(InvalidSignature, match="the master key's signature"):
        check_identity(USER, *all_keys)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("field", ["user_id", "usage", "keys", "new"])
def test_a_key_with_another_field_is_not_the_one_that_was_signed(place: int, field: str) -> None:
    all_keys = keys()
    other: dict[str, Any] = {
        "user_id": "@eve:localhost",
        "usage": ["master", "self_signing"],
        "keys": {f"ed25519:{MASTER[:-1]}A": f"{MASTER[:-1]}A"},
        "new": "field",
    }
    all_keys[place][field] = other[field]
    if (place, field) == (0, "new"):
        check_identity(USER, *all_keys)  # nobody has signed the master key
        return
    with pytest.raises((InvalidSignature, MalformedMessage)):
        check_identity(USER, *all_keys)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"user_id": "@bob:localhost"}, "another user's"),
        ({"user_id": None}, "not a string"),
        ({"usage": ["self_signing"]}, "something else"),
        ({"usage": []}, "something else"),
        ({"usage": ["master", "master"]}, "something else"),
        ({"usage": "master"}, "not an array"),
        ({"keys": {}}, "isn't one key"),
        ({"keys": {f"ed25519:{MASTER}": MASTER, f"ed25519:{SELF_SIGNING}": SELF_SIGNING}}, "isn't one key"),
        ({"keys": {f"ed25519:{SELF_SIGNING}": MASTER}}, "named after itself"),
        ({"keys": {"ed25519:DEVICE": MASTER}}, "named after itself"),
        ({"keys": {f"curve25519:{MASTER}": MASTER}}, "named after itself"),
        ({"keys": {f"ed25519:{MASTER}=": f"{MASTER}="}}, "named after itself"),
        ({"keys": {"ed25519:A": "A"}}, "no Ed25519 key"),
        ({"keys": {f"ed25519:{MASTER}": None}}, "not a string"),
        ({"new": 1.5}, "float"),
    ],
    ids=str,
)
def test_what_is_no_master_key_of_that_user_is_refused_with_its_reason(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        parse_key({**public("master", MASTER), **changed}, USER, Usage.MASTER)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(0, 2), st.sampled_from(["user_id", "usage", "keys", "signatures", "unsigned"]), json_values)
def test_whatever_a_server_answers_an_identity_or_a_typed_error_comes_out(place: int, field: str, value: Any) -> None:  # noqa: ANN401
    all_keys: list[Any] = copy.deepcopy(keys())
    all_keys[place][field] = value
    for attempt in (all_keys, [*all_keys[:place], value, *all_keys[place + 1 :]]):
        try:
            found = check_identity(USER, *attempt)
        except OlmStateError:
            continue
        assert (MASTER, SELF_SIGNING) == (found.master.public_key, found.self_signing.public_key)


# --- who vouches for what


def made(user: str, number: int = 0) -> tuple[signing.Seeds, identity.Identity]:
    seeds = signing.Seeds(
        master=f"master {number} {user}".encode().ljust(32)[:32],
        self_signing=f"self {number} {user}".encode().ljust(32)[:32],
        user_signing=f"user {number} {user}".encode().ljust(32)[:32],
    )
    assert seeds.master
    assert seeds.self_signing
    assert seeds.user_signing
    return seeds, signing.make_cross_signing_keys(
        UserId(user), master=seeds.master, self_signing=seeds.self_signing, user_signing=seeds.user_signing
    )


def test_a_device_is_cross_signed_if_its_owners_self_signing_key_has_signed_it() -> None:
    seeds, own = made(USER)
    assert seeds.self_signing
    assert not identity.has_signed_device(own, DEVICE)
    signed = {**DEVICE, **signing.sign_device(USER, seeds.self_signing, DEVICE)}
    assert identity.has_signed_device(own, signed)
    # the server adds what it likes to what isn't signed
    assert identity.has_signed_device(own, {**signed, "unsigned": {"device_display_name": "x"}})
    changes: list[dict[str, Any]] = [{"user_id": "@bob:localhost"}, {"algorithms": []}, {"new": 1.5}]
    for changed in changes:
        assert not identity.has_signed_device(own, {**signed, **changed})
    # what she signs of somebody else's is no device of hers
    bobs = {**DEVICE, "user_id": "@bob:localhost"}
    assert not identity.has_signed_device(own, {**bobs, **signing.sign_device(USER, seeds.self_signing, bobs)})
    assert not identity.has_signed_device(made(USER, 1)[1], signed)
    assert not identity.has_signed_device(made("@bob:localhost")[1], signed)


@pytest.mark.parametrize("seed", ["master", "user_signing"])
def test_no_other_key_makes_a_device_cross_signed(seed: str) -> None:
    seeds, own = made(USER)
    other: bytes = getattr(seeds, seed)
    signed = {**DEVICE, **signing.sign_device(USER, other, DEVICE)}
    assert not identity.has_signed_device(own, signed)
    # nor under the right key's id
    signature = next(iter(signed["signatures"][USER].values()))
    renamed = signing.with_only_signature(DEVICE, USER, own.self_signing.key_id, signature)
    assert not identity.has_signed_device(own, renamed)


def test_an_identity_is_verified_by_us_if_our_user_signing_key_has_signed_its_master_key() -> None:
    seeds, own = made(USER)
    _, bob = made("@bob:localhost")
    assert seeds.user_signing
    assert own.user_signing
    user_signing = own.user_signing.public_key
    assert not identity.is_signed_by_key(bob.master, USER, user_signing)
    signed = check_identity(bob.user_id, signing.sign_identity(USER, seeds.user_signing, bob), bob.self_signing.json)
    assert identity.is_signed_by_key(signed.master, USER, user_signing)
    strangers = made(USER, 1)[1].user_signing
    assert strangers
    assert not identity.is_signed_by_key(signed.master, USER, strangers.public_key)
    # a signature on another master key of Bob's is none on this one
    other = made("@bob:localhost", 1)[1]
    moved = check_identity(
        bob.user_id, {**other.master.json, "signatures": signed.master.json["signatures"]}, other.self_signing.json
    )
    assert not identity.is_signed_by_key(moved.master, USER, user_signing)


def test_a_device_with_the_id_of_a_cross_signing_key_is_found() -> None:
    found = check_identity(USER, *keys())
    assert not identity.ids_clash(found, ["DEVICE", "OTHER"])
    for key in (MASTER, SELF_SIGNING, USER_SIGNING, f"{MASTER}="):
        assert identity.ids_clash(found, ["DEVICE", key])
    assert not identity.ids_clash(check_identity(USER, *keys()[:2]), [USER_SIGNING])


def test_a_usage_names_its_secret_and_its_field() -> None:
    assert [
        ("m.cross_signing.master", "master_key"),
        ("m.cross_signing.self_signing", "self_signing_key"),
        ("m.cross_signing.user_signing", "user_signing_key"),
    ] == [(usage.secret_name, usage.field) for usage in Usage]
