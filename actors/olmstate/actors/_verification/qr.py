"""What a verification's QR code says, as bytes (spec: QR code format). Drawing and reading images is for others.

Rule: whatever was scanned, a `QrCode` or `MalformedQrCode` comes out.
"""

from __future__ import annotations

import enum
from typing import Final

from olmstate.actors._wire import base64
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Ed25519Key, MalformedMessage, MalformedQrCode

SECRET_BYTES: Final = 16
"""As the Rust SDK. The spec suggests about 8."""
_LEAST_SECRET_BYTES: Final = 8
_MAGIC: Final = b"MATRIX"
_VERSION: Final = b"\x02"
_FLOW_ID_START: Final = 10
_KEY_BYTES: Final = 32
_MOST_BYTES: Final = 2953
"""In byte mode (ISO/IEC 18004, version 40-L)."""
LONGEST_FLOW_ID: Final = _MOST_BYTES - _FLOW_ID_START - 2 * _KEY_BYTES - SECRET_BYTES
"""UTF-8 bytes; no code has room for more."""


class Mode(enum.IntEnum):
    """Who shows the code to whom, and so which two keys are in it."""

    OTHER_USER = 0
    """The shower's master key, and what it takes the scanner's to be."""
    SELF_TRUSTING = 1
    """Between own devices, the shower trusts the master key: the master key, and the scanner's device key."""
    SELF_UNTRUSTING = 2
    """Between own devices, the shower doesn't trust the master key yet: its device key, and the master key."""


class QrCode(QuietStruct, frozen=True, kw_only=True):
    """One code."""

    mode: Mode
    flow_id: str
    """Transaction id, or the request's event id."""
    first_key: Ed25519Key
    second_key: Ed25519Key
    secret: bytes
    """What the scanner sends back to show that it has scanned."""


def encode(code: QrCode) -> bytes:
    """What goes into the code's one segment, in byte mode.

    Raises:
        MalformedQrCode: A key isn't 32 bytes, or the flow's id doesn't fit.
    """
    flow_id = code.flow_id.encode()
    if len(flow_id) > LONGEST_FLOW_ID:
        raise MalformedQrCode(reason="the flow's id is too long")
    keys = [_key_bytes(key) for key in (code.first_key, code.second_key)]
    length = len(flow_id).to_bytes(2, "big")
    return b"".join((_MAGIC, _VERSION, bytes([code.mode]), length, flow_id, *keys, code.secret))


def parse(data: bytes) -> QrCode:
    """Read what was scanned.

    Raises:
        MalformedQrCode: Not such a code, one of another version or mode, or one that is cut short.
    """
    if data[:6] != _MAGIC:
        raise MalformedQrCode(reason="not a Matrix code")
    if data[6:7] != _VERSION:
        raise MalformedQrCode(reason="of another version")
    flow_id_end = _FLOW_ID_START + int.from_bytes(data[8:_FLOW_ID_START], "big")
    first, second, secret = (flow_id_end + place * _KEY_BYTES for place in range(3))
    if len(data) < secret + _LEAST_SECRET_BYTES:
        raise MalformedQrCode(reason="cut short, or its secret is too short")
    try:
        mode = Mode(data[7])
        flow_id = data[_FLOW_ID_START:flow_id_end].decode()
    except ValueError:  # UnicodeDecodeError is one
        pass
    else:
        keys = [Ed25519Key(base64.encode(key)) for key in (data[first:second], data[second:secret])]
        return QrCode(mode=mode, flow_id=flow_id, first_key=keys[0], second_key=keys[1], secret=data[secret:])
    raise MalformedQrCode(reason="of an unknown mode, or its flow's id is no text")


def _key_bytes(key: Ed25519Key) -> bytes:
    try:
        octets = base64.decode(key, "the key")
    except MalformedMessage:
        octets = b""
    if len(octets) == _KEY_BYTES:
        return octets
    raise MalformedQrCode(reason="a key isn't 32 bytes")
