"""Recovery keys: others' are read, ours are as the spec says, and what was mistyped is noticed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors._secret_storage.recovery_key import read_recovery_key, recovery_key
from olmstate.messages import MalformedRecoveryKey
from tests.peer import secret_storage
from tests.peer.encoding import unb64

RUST = "EsT           pRvZTnjck8    YrhRAtw XLS84Nr2r9S9LGAWDaExVAPBvLRK   "
RUST_KEY = bytes.fromhex("9fbd46bb345171c6f6022c9a25d5681ba54eec6a6c4953f3adc0b96e9d91ada3")
ELEMENT = "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d"
ELEMENT_KEY = unb64("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo")

keys = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(("text", "key"), [(RUST, RUST_KEY), (ELEMENT, ELEMENT_KEY)], ids=["Rust", "Element"])
def test_a_recovery_key_of_another_client_is_read_and_written(text: str, key: bytes) -> None:
    assert key == read_recovery_key(text)
    assert "".join(text.split()) == "".join(recovery_key(key).split())


def test_it_is_written_in_twelve_groups_of_four() -> None:
    assert ELEMENT == recovery_key(ELEMENT_KEY)


@given(keys)
def test_it_is_that_of_the_spec_and_is_read_again_however_it_is_spaced(key: bytes) -> None:
    text = recovery_key(key)
    assert secret_storage.recovery_key(key) == text
    assert text.startswith("Es")
    for spelled in (text, text.replace(" ", ""), f"\n\t{text.replace(' ', '  ')}\r\n", text.replace(" ", "\u00a0")):
        assert key == read_recovery_key(spelled)


@given(keys, st.data())
def test_one_mistyped_character_is_noticed(key: bytes, data: st.DataObject) -> None:
    text = recovery_key(key).replace(" ", "")
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(secret_storage.ALPHABET.replace(text[place], "")))
    mistyped = text[:place] + other + text[place + 1 :]
    # one changed byte can't keep the parity; a carry may change several, and one in 256 of those does
    with suppress(MalformedRecoveryKey):
        assert key != read_recovery_key(mistyped)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "too short"),
        ("AATpRvZTnjck8YrhRAtwXLS84Nr2r9S9", "too short"),
        (RUST + "1", "too short or too long"),
        ("1" + RUST, "too short or too long"),
        ("1" * 35, "another kind"),
        (RUST + RUST, "too long"),
        ("z" * 10_000, "too long"),
        ("EsTpRvZTnjck8YrhRAtwXLS84Nr2r9S9LGAWDaExVAPBvLRk", "mistyped"),
        ("AATpRvZTnjck8YrhRAtwXLS84Nr0OIl", "isn't used"),
        ("correct horse battery staple", "isn't used"),
        ("\uff25\uff53\uff34", "isn't used"),  # EsT, in full width
        ("\ud800", "isn't used"),
    ],
)
def test_what_is_no_recovery_key_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(MalformedRecoveryKey, match=reason) as caught:
        read_recovery_key(text)
    if text:
        assert text.strip() not in str(caught.value)


def test_a_key_of_another_kind_is_told_apart() -> None:
    octets = b"\x8b\x02" + bytes(32)
    octets += bytes([0x8B ^ 0x02])
    number, text = int.from_bytes(octets, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = secret_storage.ALPHABET[digit] + text
    with pytest.raises(MalformedRecoveryKey, match="another kind"):
        read_recovery_key(text)


@given(st.text())
def test_whatever_is_typed_a_key_or_the_typed_error_comes_out(text: str) -> None:
    with pytest.raises(MalformedRecoveryKey):
        read_recovery_key(text)


def test_only_a_key_of_32_bytes_is_written() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        recovery_key(bytes(31))
