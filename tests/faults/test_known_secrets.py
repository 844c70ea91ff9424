"""The search for secrets finds them: what it doesn't know the form of, it would never miss."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable

import pytest
from vodozemac import Account, GroupSession, InboundGroupSession, Session

from tests.faults.known_secrets import KnownSecrets

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda secret: secret,
    "hexadecimal": lambda secret: secret.hex().encode(),
    "capital hexadecimal": lambda secret: secret.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64 without padding": lambda secret: base64.b64encode(secret).rstrip(b"="),
    "base64 for addresses": base64.urlsafe_b64encode,
    "base64 behind one byte": lambda secret: base64.b64encode(b"x" + secret),
    "base64 behind two bytes": lambda secret: base64.b64encode(b"xy" + secret + b"z"),
    "as Python prints it": lambda secret: repr(secret).encode(),
    "as a list of numbers": lambda secret: str(list(secret)).encode(),
    "as compact JSON": lambda secret: json.dumps(list(secret), separators=(",", ":")).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_in_every_form(form: str) -> None:
    secret = bytes(range(200, 232))
    known = KnownSecrets()
    known.add("secret", secret)
    assert known.found_in(b"before " + FORMS[form](secret) + b" after") == ["secret"]
    assert known.found_in(b"before " + FORMS[form](secret[1:-1]) + b" after") == []


def test_the_private_parts_of_pickles_are_known_and_the_public_ones_are_not() -> None:
    key, alice, bob = os.urandom(32), Account(), Account()
    bob.generate_one_time_keys(1)
    (one_time_key,) = bob.one_time_keys.values()
    session = alice.create_outbound_session(bob.curve25519_key, one_time_key)
    message = session.encrypt(b"hello").to_pre_key()
    assert message is not None
    other, _ = bob.create_inbound_session(alice.curve25519_key, message)
    other.encrypt(b"hello")
    group = GroupSession()
    known = KnownSecrets()
    pickled: tuple[Account | Session | GroupSession | InboundGroupSession, ...]
    pickled = alice, bob, session, other, group, InboundGroupSession(group.session_key)
    for whole in pickled:
        known.add_pickle(type(whole).__name__, whole.pickle(key), key)
    assert {
        "Account's diffie_hellman_key",
        "Account's signing_key.Normal",
        "Session's receiving_chains.inner.hkdf_ratchet.key",
        "Session's sending_ratchet.active_ratchet.ratchet_key",
        "Session's sending_ratchet.active_ratchet.root_key",
        "Session's sending_ratchet.symmetric_key_ratchet.key",
        "GroupSession's ratchet.inner",
        "GroupSession's signing_key.Normal",
        "InboundGroupSession's initial_ratchet.inner",
    } <= set(known.names)
    public = alice.curve25519_key.to_base64(), bob.ed25519_key.to_base64(), one_time_key.to_base64()
    assert known.found_in(" ".join((*public, group.session_id, session.session_id))) == []
    assert "GroupSession's ratchet.inner" in known.found_in(group.session_key.to_base64())
