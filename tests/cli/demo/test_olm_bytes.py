"""Which ratchet step an Olm message is, read from its bytes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vodozemac import Account, AnyOlmMessage

from olmstate.cli.demo._olm_bytes import RatchetStep, ratchet_step
from tests.peer.encoding import b64


def step(message: AnyOlmMessage) -> RatchetStep:
    message_type, body = message.to_parts()
    return ratchet_step(message_type, b64(body))


def test_each_message_is_a_step_of_its_own_whatever_its_type() -> None:
    alice, bob = Account(), Account()
    bob.generate_one_time_keys(1)
    [key] = bob.one_time_keys.values()
    to_bob = alice.create_outbound_session(bob.curve25519_key, key)

    pre_keys = [to_bob.encrypt(b"text") for _ in range(200)]
    pre_key = pre_keys[0].to_pre_key()
    assert pre_key is not None
    to_alice, _ = bob.create_inbound_session(alice.curve25519_key, pre_key)
    answer = to_alice.encrypt(b"text")
    to_bob.decrypt(answer)
    normal = [to_bob.encrypt(b"text") for _ in range(200)]

    first, second = [step(message) for message in pre_keys], [step(message) for message in normal]
    assert list(range(200)) == [each.counter for each in first] == [each.counter for each in second]
    assert len({each.ratchet_key for each in first}) == len({each.ratchet_key for each in second}) == 1
    assert len({*first, *second, step(answer)}) == 401


def test_what_is_encrypted_twice_on_one_step_is_the_same_step() -> None:
    alice, bob = Account(), Account()
    bob.generate_one_time_keys(1)
    [key] = bob.one_time_keys.values()
    session = alice.create_outbound_session(bob.curve25519_key, key)
    copy = type(session).from_pickle(session.pickle(bytes(32)), bytes(32))

    assert step(session.encrypt(b"one text")) == step(copy.encrypt(b"another"))


@given(st.binary(max_size=100), st.sampled_from([0, 1]))
def test_what_is_no_olm_message_is_an_error_and_nothing_else(body: bytes, message_type: int) -> None:
    try:
        ratchet_step(message_type, base64.b64encode(body).decode())
    except ValueError:
        pass
    else:
        assert body[0] == 3


@pytest.mark.parametrize("body", ["", "Aw", "BAAA", "AwoB", "no base64!"])
def test_what_is_cut_off_or_of_another_version_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        ratchet_step(1, body)
