"""Unpadded base64: as strict as the standard library's, which is slower."""

from __future__ import annotations

import binascii
from contextlib import suppress
from string import ascii_letters, digits

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from olmstate.actors._wire.base64 import decode, encode
from olmstate.messages import MalformedMessage

DIGITS = ascii_letters + digits + "+/"
texts = st.text(st.sampled_from(DIGITS)) | st.text(st.sampled_from(DIGITS + "=-_ \n\0\x80é\ud800")) | st.text()


@given(st.binary(), st.integers(min_value=0, max_value=3))
def test_bytes_survive_a_round_trip_with_any_padding(data: bytes, padding: int) -> None:
    assert "=" not in encode(data)
    assert data == decode(encode(data) + "=" * padding, "it")


@given(texts)
@example("AB")  # bits that are left over need not be zero
@example("A")
@example("AA=A")
def test_it_decodes_what_the_standard_library_does_in_its_strict_mode(text: str) -> None:
    unpadded = text.rstrip("=")
    expected: bytes | None = None
    with suppress(ValueError):
        expected = binascii.a2b_base64(unpadded + "=" * (-len(unpadded) % 4), strict_mode=True)
    if expected is not None:
        assert expected == decode(text, "it")
        return
    with pytest.raises(MalformedMessage, match="it is not base64") as caught:
        decode(text, "it")
    assert caught.value.__context__ is None  # a parser's error quotes what it was given
