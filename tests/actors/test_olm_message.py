"""What an Olm message says, however it is spelt."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vodozemac import Account, AnyOlmMessage

from olmstate.actors._wire.olm_message import NORMAL, PRE_KEY, parse_olm_message
from olmstate.messages import Curve25519Key, MalformedMessage, UserId
from tests.operations.spelling import (
    spell_olm_message,
    spell_pre_key_message,
    with_keys_of,
    without_keys,
)

USER = UserId("@bob:example.org")
SENDER = Curve25519Key("A" * 43)


def a_message(plaintext: bytes = b"{}") -> tuple[Curve25519Key, bytes]:
    """A one-time key and a pre-key message that names it."""
    ours, theirs = Account(), Account()
    ours.generate_one_time_keys(1)
    ((_, key),) = ours.one_time_keys.items()
    _, body = theirs.create_outbound_session(ours.curve25519_key, key).encrypt(plaintext).to_parts()
    return Curve25519Key(key.to_base64()), body


@pytest.mark.parametrize("length", [0, 1, 100, 1000, 100_000])
def test_a_pre_key_message_of_any_length_names_its_one_time_key(length: int) -> None:
    key, body = a_message(b"x" * length)
    assert key == parse_olm_message(USER, SENDER, PRE_KEY, body).one_time_key


@given(st.randoms(use_true_random=False), st.integers(0, 300))
def test_every_spelling_of_a_message_has_the_same_digest(rng: random.Random, length: int) -> None:
    key, body = a_message(b"x" * length)
    expected = parse_olm_message(USER, SENDER, PRE_KEY, body)

    spelt = spell_pre_key_message(body, rng)

    found = parse_olm_message(USER, SENDER, PRE_KEY, spelt)
    assert (expected.digest, key) == (found.digest, found.one_time_key)
    within = spell_olm_message(without_keys(body), rng)
    assert expected.digest == parse_olm_message(USER, SENDER, NORMAL, within).digest
    assert expected.digest == parse_olm_message(USER, SENDER, PRE_KEY, with_keys_of(body, within)).digest


@given(st.binary(max_size=300), st.sampled_from([PRE_KEY, NORMAL]))
def test_what_is_no_message_is_malformed_and_nothing_else(body: bytes, message_type: int) -> None:
    for whole in (body, b"\x03" + body):
        try:
            parse_olm_message(USER, SENDER, message_type, whole)
        except MalformedMessage:
            continue


@given(st.randoms(use_true_random=False))
def test_a_message_that_is_changed_has_another_digest_or_means_the_same_to_vodozemac(rng: random.Random) -> None:
    _, body = a_message()
    changed = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    try:
        found = parse_olm_message(USER, SENDER, PRE_KEY, bytes(changed))
    except MalformedMessage:
        return
    before, after = (AnyOlmMessage.from_parts(PRE_KEY, each).to_parts()[1] for each in (body, bytes(changed)))
    same = without_keys(before) == without_keys(after)
    assert same == (found.digest == parse_olm_message(USER, SENDER, PRE_KEY, body).digest)


@pytest.mark.parametrize("field", range(3), ids=["one-time-key", "base-key", "identity-key"])
@pytest.mark.parametrize("octets", [b"\xff" * 32, b"\0" * 31 + b"\x80", (2**255 - 19).to_bytes(32, "little")])
def test_a_key_in_another_spelling_is_told(field: int, octets: bytes) -> None:
    _, body = a_message()
    start = 3 + field * 34
    keys = parse_olm_message(USER, SENDER, PRE_KEY, body).session_keys
    spelt = parse_olm_message(USER, SENDER, PRE_KEY, body[:start] + octets + body[start + 32 :]).session_keys
    assert keys is not None
    assert keys.are_canonical
    assert spelt is not None
    assert not spelt.are_canonical
