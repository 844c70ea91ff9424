"""What a pre-key message carries, however it is written."""

from __future__ import annotations

import itertools
import random
import re

import pytest
from vodozemac import Account, AnyOlmMessage

from olmstate.actors._wire import pre_key_message
from olmstate.actors._wire.pre_key_message import pre_key_parts
from olmstate.messages import Curve25519Key, MalformedMessage

KEY, BASE_KEY, IDENTITY_KEY, MESSAGE = (bytes([number]) * 32 for number in range(4))
FIELDS = (b"\n " + KEY, b"\x12 " + BASE_KEY, b"\x1a " + IDENTITY_KEY, b'" ' + MESSAGE)
NAMED = Curve25519Key("A" * 43)


def a_message(plaintext: bytes = b"{}") -> tuple[Curve25519Key, bytes]:
    """A one-time key and a pre-key message that names it."""
    ours, theirs = Account(), Account()
    ours.generate_one_time_keys(1)
    ((_, key),) = ours.one_time_keys.items()
    _, body = theirs.create_outbound_session(ours.curve25519_key, key).encrypt(plaintext).to_parts()
    return Curve25519Key(key.to_base64()), body


@pytest.mark.parametrize("length", [0, 1, 100, 1000, 100_000])
def test_what_vodozemac_writes_is_read(length: int) -> None:
    key, body = a_message(b"x" * length)
    named, message = pre_key_parts(body)
    assert named == key
    assert body.endswith(message)
    assert AnyOlmMessage.from_parts(1, message).to_parts() == (1, message)


@pytest.mark.parametrize("order", [*itertools.permutations(FIELDS)])
def test_fields_are_found_in_any_order(order: tuple[bytes, ...]) -> None:
    assert pre_key_parts(b"\x03" + b"".join(order)) == (NAMED, MESSAGE)


def test_of_a_field_that_comes_twice_the_last_counts() -> None:
    body = b"\x03" + b"".join(FIELDS)
    assert pre_key_parts(body + b"\n " + MESSAGE) == (Curve25519Key("AwMD" * 10 + "AwM"), MESSAGE)
    assert pre_key_parts(body + b'"\x01x') == (NAMED, b"x")


def test_the_usual_way_is_read_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is changed, cut or put in: with the short cut it says the same as without."""
    rng = random.Random(5)
    _, body = a_message()
    mutants = [bytes(body)]
    for _ in range(3000):
        mutant = bytearray(body)
        at = rng.randrange(min(len(mutant), 140))
        match rng.randrange(4):
            case 0:
                mutant[at] = rng.randrange(256)
            case 1:
                del mutant[at : at + rng.randrange(1, 40)]
            case 2:
                mutant[at:at] = rng.randbytes(rng.randrange(1, 40))
            case _:
                del mutant[rng.randrange(len(mutant)) :]
        mutants.append(bytes(mutant))
    quick = [_outcome(mutant) for mutant in mutants]
    monkeypatch.setattr(pre_key_message, "_USUAL", re.compile(b"(?!)"))
    assert quick == [_outcome(mutant) for mutant in mutants]


def _outcome(body: bytes) -> object:
    try:
        return pre_key_parts(body)
    except MalformedMessage as error:
        return error.reason
