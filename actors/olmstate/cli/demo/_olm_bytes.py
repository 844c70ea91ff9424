"""Reading, from the bytes of an Olm message alone, which ratchet step it is (spec: Olm, Message Format).

Independent of every library on purpose: what is counted here is what has left the device.
"""

from __future__ import annotations

import base64

import attrs

VERSION = 3
MAC_BYTES = 8
PRE_KEY = 0

_RATCHET_KEY, _COUNTER, _INNER = 0x0A, 0x10, 0x22


@attrs.frozen
class RatchetStep:
    """What may be used for one message only."""

    ratchet_key: str
    """Hexadecimal."""
    counter: int


def ratchet_step(message_type: int, body: str) -> RatchetStep:
    """The step that an Olm message was encrypted with.

    Args:
        message_type: 0: pre-key, 1: normal.
        body: Unpadded base64.

    Raises:
        ValueError: That is no Olm message.
    """
    message = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    if message_type == PRE_KEY:
        inner = _fields(message).get(_INNER)
        if not isinstance(inner, bytes):
            raise ValueError("a pre-key message without a message in it")
        message = inner
    fields = _fields(message[:-MAC_BYTES])
    match fields.get(_RATCHET_KEY), fields.get(_COUNTER):
        case bytes() as ratchet_key, int() as counter:
            return RatchetStep(ratchet_key.hex(), counter)
        case _:
            raise ValueError("no ratchet key or no counter")


def _fields(message: bytes) -> dict[int, bytes | int]:
    """The fields by their tag: byte strings and numbers."""
    if not message or message[0] != VERSION:
        raise ValueError("not version 3")
    fields: dict[int, bytes | int] = {}
    at = 1
    while at < len(message):
        tag, at = _number(message, at)
        value, at = _number(message, at)
        if tag & 7 == 0:
            fields[tag] = value
        elif tag & 7 == 2:  # noqa: PLR2004 - the wire type of byte strings
            fields[tag] = message[at : at + value]
            at += value
        else:
            raise ValueError(f"tag {tag}")
    return fields


def _number(message: bytes, at: int) -> tuple[int, int]:
    """A variable-length number, and where it ends."""
    number = shift = 0
    while True:
        if at >= len(message):
            raise ValueError("cut off")
        number |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not message[at - 1] & 0x80:
            return number, at
