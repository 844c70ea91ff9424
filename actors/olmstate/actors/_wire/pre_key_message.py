"""What a pre-key message carries: vodozemac's binding doesn't tell.

The layout is the Olm specification's: a version byte, then protobuf fields, of which the last of its number counts.
Number 1 is the one-time key, number 4 the message proper.

Only the message proper is authenticated. What is around it can be written in many ways that mean the same, so it says
nothing about whether a message was seen before.
"""

from __future__ import annotations

import re
from typing import Final

from olmstate.messages import Curve25519Key, MalformedMessage

from .base64 import encode

_ONE_TIME_KEY: Final = 1
_MESSAGE: Final = 4

_VARINT: Final = 0
_FIXED64: Final = 1
_DELIMITED: Final = 2
_FIXED32: Final = 5
_LONGEST_VARINT: Final = 10

_USUAL: Final = re.compile(rb'.\n (.{32})\x12 .{32}\x1a .{32}"', re.DOTALL)
"""As everybody writes it, up to the message's length: each field once, and in order."""


def pre_key_parts(body: bytes) -> tuple[Curve25519Key | None, bytes]:
    """The one-time or fallback key that a pre-key message names, if any, and the message proper: what is authenticated.

    Raises:
        MalformedMessage: Not a pre-key message.
    """
    usual = _USUAL.match(body)
    if usual is not None:
        length, start = _varint(body, usual.end())
        if start + length == len(body):
            return Curve25519Key(encode(usual[1])), body[start:]
    fields = _fields(body)
    message, key = fields.get(_MESSAGE), fields.get(_ONE_TIME_KEY)
    if message is None:
        raise MalformedMessage(reason="the pre-key message carries no message")
    return None if key is None else Curve25519Key(encode(key)), message


def _fields(body: bytes) -> dict[int, bytes]:
    """Length-delimited fields by number."""
    found: dict[int, bytes] = {}
    position = 1
    while position < len(body):
        tag, position = _varint(body, position)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, position = _varint(body, position)
            continue
        if kind == _DELIMITED:
            length, position = _varint(body, position)
            found[number] = body[position : position + length]
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise MalformedMessage(reason="a field of the pre-key message has no known type")
        position += length
    if position > len(body):
        raise MalformedMessage(reason="the pre-key message is cut off")
    return found


def _varint(body: bytes, position: int) -> tuple[int, int]:
    if position < len(body) and body[position] < 0x80:  # noqa: PLR2004 - most are of one octet
        return body[position], position + 1
    value = 0
    for shift, octet in enumerate(body[position : position + _LONGEST_VARINT]):
        value |= (octet & 0x7F) << 7 * shift
        if octet < 0x80:  # noqa: PLR2004 - the last one
            return value, position + shift + 1
    raise MalformedMessage(reason="a number in the pre-key message has no end")
