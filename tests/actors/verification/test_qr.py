"""The bytes of a verification's QR code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmstate.actors._verification import qr
from olmstate.actors._verification.qr import Mode, QrCode
from olmstate.messages import Ed25519Key, MalformedQrCode
from tests.peer.encoding import b64

FIRST = Ed25519Key("ktEwcUP6su1xh+GuE+CYkQ3H6W/DIl+ybHFdaEOrolU")
SECOND = Ed25519Key("TXluZKTZLvSRWOTPlOqLq534bA+/K4zLFKSu9cGLQaU")
FIRST_BYTES = bytes.fromhex("92d1307143fab2ed7187e1ae13e098910dc7e96fc3225fb26c715d6843aba255")
SECOND_BYTES = bytes.fromhex("4d796e64a4d92ef49158e4cf94ea8bab9df86c0fbf2b8ccb14a4aef5c18b41a5")


def code(mode: Mode = Mode.OTHER_USER, flow_id: str = "MaTransaction", secret: bytes = b"12345678") -> QrCode:
    return QrCode(mode=mode, flow_id=flow_id, first_key=FIRST, second_key=SECOND, secret=secret)


WHOLE = qr.encode(code())


@pytest.mark.parametrize("mode", Mode)
def test_the_bytes_are_those_that_element_android_makes(mode: Mode) -> None:
    expected = b"MATRIX\x02" + bytes([mode]) + b"\x00\x0dMaTransaction" + FIRST_BYTES + SECOND_BYTES + b"12345678"
    assert expected == qr.encode(code(mode))
    assert code(mode) == qr.parse(expected)


def test_the_bytes_are_those_of_the_specs_example() -> None:
    keys = [Ed25519Key(b64(bytes(range(start, start + 32)))) for start in (0x00, 0x10)]
    example = QrCode(
        mode=Mode.OTHER_USER,
        flow_id="$ABCD" + "x" * 40,
        first_key=keys[0],
        second_key=keys[1],
        secret=bytes(range(0x20, 0x28)),
    )
    octets = qr.encode(example)
    assert octets.startswith(b"MATRIX\x02\x00\x00\x2d$ABCD")
    assert octets[55:59] == bytes([0, 1, 2, 3])
    assert octets[87:91] == bytes([0x10, 0x11, 0x12, 0x13])
    assert octets[119:] == bytes(range(0x20, 0x28))


@given(st.sampled_from(Mode), st.text(st.characters(codec="utf-8")), st.binary(min_size=8, max_size=64))
def test_what_is_written_is_read_again(mode: Mode, flow_id: str, secret: bytes) -> None:
    assert code(mode, flow_id, secret) == qr.parse(qr.encode(code(mode, flow_id, secret)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a Matrix code"),
        (b"MOTRIX" + WHOLE[6:], "not a Matrix code"),
        (b"https://matrix.to/#/@alice:example.org", "not a Matrix code"),
        (b"MATRIX", "another version"),
        (b"MATRIX\x01" + WHOLE[7:], "another version"),
        (b"MATRIX\x03" + WHOLE[7:], "another version"),
        (b"MATRIX\x02", "cut short"),
        (b"MATRIX\x02\x03" + WHOLE[8:], "unknown mode"),
        (b"MATRIX\x02\x00\x00\x02\xff\xff" + WHOLE[23:], "no text"),
        (WHOLE[:-1], "too short"),
        (WHOLE[:23], "cut short"),
        (b"MATRIX\x02\x00\xff\xff" + WHOLE[10:], "cut short"),
    ],
)
def test_what_is_no_code_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedQrCode, match=reason) as caught:
        qr.parse(data)
    assert caught.value.__context__ is None


@given(
    st.binary() | st.binary().map(lambda rest: b"MATRIX\x02" + rest) | st.binary().map(lambda rest: WHOLE[:10] + rest)
)
def test_whatever_is_scanned_a_code_or_the_typed_error_comes_out(data: bytes) -> None:
    try:
        parsed = qr.parse(data)
    except MalformedQrCode:
        return
    assert data == qr.encode(parsed)


def test_what_does_not_fit_is_not_written() -> None:
    with pytest.raises(MalformedQrCode, match="too long"):
        qr.encode(code(flow_id="$" * (qr.LONGEST_FLOW_ID + 1)))
    assert 2953 == len(qr.encode(code(flow_id="$" * qr.LONGEST_FLOW_ID, secret=bytes(qr.SECRET_BYTES))))
    for key in ("", "A" * 42, FIRST + "A", "not base64!"):
        with pytest.raises(MalformedQrCode, match="32 bytes"):
            qr.encode(
                QrCode(mode=Mode.OTHER_USER, flow_id="", first_key=Ed25519Key(key), second_key=SECOND, secret=b"")
            )
