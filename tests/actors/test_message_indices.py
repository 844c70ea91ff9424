"""Which block of message indices an event belongs to, as it is known before the event is decrypted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vodozemac import GroupSession, MegolmMessage

from olmstate.actors._room_keys.message_indices import index_of, steps_between
from tests.peer.encoding import b64


def test_the_index_is_what_vodozemac_says() -> None:
    group = GroupSession()
    for index in range(300):
        assert index == index_of(group.encrypt(b"").to_base64())


@pytest.mark.parametrize("index", [0, 127, 128, 16_383, 16_384, 2**21, 2**28, 2**32 - 1])
def test_the_index_may_be_of_any_length(index: int) -> None:
    assert index == index_of(with_fields(b"\x08" + varint(index)))


def test_an_index_behind_the_ciphertext_is_found_too() -> None:
    assert 7 == index_of(with_fields(b"\x12\x01a", b"\x08\x07"))


def test_of_an_index_that_is_written_twice_the_first_counts() -> None:
    message = with_fields(b"\x08\x07", b"\x08\x09")
    assert 9 == MegolmMessage.from_base64(message).message_index()
    assert 7 == index_of(message)


@pytest.mark.parametrize("garbage", ["", "A", "é", "AwiA", "Awj/////////", "=" * 40, "A" * 400])
def test_what_is_no_message_has_no_index(garbage: str) -> None:
    assert index_of(garbage) is None


def varint(value: int) -> bytes:
    octets = bytearray()
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def with_fields(*fields: bytes) -> str:
    """A Megolm message of these fields, with a ciphertext, a MAC and a signature that are worth nothing."""
    has_ciphertext = any(field[0] == 0x12 for field in fields)
    return b64(b"\x03" + b"".join(fields) + (b"" if has_ciphertext else b"\x12\x01a") + bytes(8 + 64))


@pytest.mark.parametrize(
    ("last", "index", "steps"),
    [(0, 0, 0), (0, 255, 255), (7, 8, 1), (255, 256, 1), (256, 511, 255), (0, 511, 256), (511, 510, 255), (9, 8, 8)],
)
def test_a_ratchet_is_turned_as_an_odometer_is(last: int, index: int, steps: int) -> None:
    assert steps == steps_between(last, index)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_ratchet_never_goes_more_than_some_thousand_steps(last: int, index: int) -> None:
    assert 0 <= steps_between(last, index) <= 4 * 255
