"""Private cross-signing keys: the same keys and signatures as another client makes from the same seeds."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors._identities import signing
from olmstate.actors._identities.identity import Usage, check_identity
from olmstate.actors._identities.signing import Refusal, Seeds
from olmstate.messages import Json, MalformedMessage, MalformedSecret, UserId
from tests.actors.identities.test_identity import DEVICE, MASTER, SELF_SIGNING, USER, USER_SIGNING, keys, made

# matrix-js-sdk's, of the keys in test_identity
SEEDS = {
    Usage.MASTER: "ZG95b3VzcGVha3doYWFhYWFhYWFhYWFhYWFhYWFhbGU",
    Usage.SELF_SIGNING: "c2VsZnNlbGZzZWxmc2VsZnNlbGZzZWxmc2VsZnNlbGY",
    Usage.USER_SIGNING: "dXNlcnVzZXJ1c2VydXNlcnVzZXJ1c2VydXNlcnVzZXI",
}


def their_seeds() -> dict[str, bytes]:
    return {usage.value: signing.seed_from_base64(text, usage) for usage, text in SEEDS.items()}


def test_the_same_seeds_make_the_very_keys_of_another_client() -> None:
    made_here = signing.make_cross_signing_keys(USER, **their_seeds())
    assert [MASTER, SELF_SIGNING, USER_SIGNING] == [signing.public_key(seed) for seed in their_seeds().values()]
    assert made_here.user_signing is not None
    # Ed25519 signatures are the same each time, so all of it is equal
    assert keys() == [made_here.master.json, made_here.self_signing.json, made_here.user_signing.json]
    assert made_here == check_identity(USER, *keys())


@given(st.binary(min_size=32, max_size=32))
def test_a_seed_is_written_and_read_as_text(seed: bytes) -> None:
    text = signing.seed_to_base64(seed)
    assert base64.b64encode(seed).decode().rstrip("=") == text
    for spelled in (text, text + "=", f" {text}\n"):
        assert seed == signing.seed_from_base64(spelled, Usage.MASTER)


@pytest.mark.parametrize("text", ["", "A", "A" * 42, "A" * 44, "!" * 43, "\ud800", SEEDS[Usage.MASTER] + "A"])
def test_what_is_no_seed_is_refused_and_named(text: str) -> None:
    with pytest.raises(MalformedSecret, match=r"m\.cross_signing\.self_signing can't be read: not 32 bytes") as caught:
        signing.seed_from_base64(text, Usage.SELF_SIGNING)
    assert caught.value.__context__ is None


def test_seeds_are_compared_with_what_is_published() -> None:
    seeds, own = made(USER)
    all_right = {Usage.MASTER: True, Usage.SELF_SIGNING: True, Usage.USER_SIGNING: True}
    assert all_right == signing.compare(seeds, own)
    assert seeds.complete
    assert {Usage.MASTER: True} == signing.compare(Seeds(master=seeds.master), own)
    assert not Seeds(master=seeds.master).complete
    assert {} == signing.compare(Seeds(), own)
    exchanged = Seeds(master=seeds.self_signing, self_signing=seeds.master, user_signing=seeds.user_signing)
    assert {**all_right, Usage.MASTER: False, Usage.SELF_SIGNING: False} == signing.compare(exchanged, own)
    others_view = check_identity(USER, own.master.json, own.self_signing.json)
    assert {**all_right, Usage.USER_SIGNING: False} == signing.compare(seeds, others_view)


def test_seeds_are_not_shown() -> None:
    assert "Seeds(...)" == repr(made(USER)[0])


# --- signatures and requests


def test_a_signature_is_added_to_those_that_are_there_and_nothing_is_changed() -> None:
    before = {"a": 1, "signatures": {"@x:y": {"ed25519:1": "s"}, USER: {"ed25519:2": "t"}}}
    after = signing.with_signature(before, USER, "ed25519:3", "u")
    assert {"@x:y": {"ed25519:1": "s"}, USER: {"ed25519:2": "t", "ed25519:3": "u"}} == after["signatures"]
    assert {"@x:y": {"ed25519:1": "s"}, USER: {"ed25519:2": "t"}} == before["signatures"]
    odds: list[Json] = [None, [], {USER: "odd"}]
    for odd in odds:
        assert {"ed25519:3": "u"} == signing.with_signature({"signatures": odd}, USER, "ed25519:3", "u")["signatures"][
            USER
        ]


def test_what_is_uploaded_is_the_servers_object_with_the_new_signature_only() -> None:
    seeds, own = made(USER)
    _, bob = made("@bob:localhost")
    assert seeds.self_signing
    assert seeds.user_signing
    device = signing.sign_device(USER, seeds.self_signing, {**DEVICE, "unsigned": {"x": 1}})
    assert {own.self_signing.key_id} == set(device["signatures"].pop(USER))
    assert {name: value for name, value in DEVICE.items() if name != "signatures"} | {"signatures": {}} == device
    assert own.user_signing is not None
    master = signing.sign_identity(USER, seeds.user_signing, bob)
    assert {USER: {own.user_signing.key_id}} == {user: set(by) for user, by in master["signatures"].items()}


def test_the_requests_have_the_shape_of_the_spec() -> None:
    _, own = made(USER)
    assert own.user_signing is not None
    assert {
        "master_key": own.master.json,
        "self_signing_key": own.self_signing.json,
        "user_signing_key": own.user_signing.json,
    } == signing.device_signing_upload(own)
    with pytest.raises(ValueError, match="user-signing"):
        signing.device_signing_upload(check_identity(USER, own.master.json, own.self_signing.json))
    signed = [(USER, "DEVICE", {"a": 1}), ("@bob:localhost", "key", {"b": 2}), (USER, "key", {"c": 3})]
    assert {USER: {"DEVICE": {"a": 1}, "key": {"c": 3}}, "@bob:localhost": {"key": {"b": 2}}} == (
        signing.signatures_upload(signed)
    )


def test_a_signature_that_the_server_refused_is_found_in_its_answer() -> None:
    assert () == signing.refusals({})
    assert () == signing.refusals({"failures": {}})
    answer = {"failures": {USER: {"DEVICE": {"errcode": "M_INVALID_SIGNATURE", "error": "x"}}}}
    assert (Refusal(user_id=USER, signed_id="DEVICE", errcode="M_INVALID_SIGNATURE"),) == signing.refusals(answer)


@pytest.mark.parametrize("answer", [[], {"failures": []}, {"failures": {USER: 1}}, {"failures": {USER: {"D": {}}}}])
def test_what_is_no_answer_is_refused(answer: Any) -> None:  # noqa: ANN401 - JSON
    with pytest.raises(MalformedMessage):
        signing.refusals(answer)


def test_every_part_of_an_identity_can_be_used_for_what_it_is_for_only() -> None:
    seeds, own = made(USER)
    for usage in Usage:
        seed = seeds.of(usage)
        assert seed is not None
        assert signing.compare(Seeds(**{usage.value: seed}), own) == {usage: True}
    assert UserId(USER) == own.user_id
