"""Other spellings of Olm and Megolm messages: the same to vodozemac, other bytes (Protocol Buffers, "Encoding").

Owns: writing a message's fields in any order, fields that nobody knows among them, a field twice, of which the last one
counts, and numbers in more octets than they need. Rule: nothing of the code under test is used.
"""

from __future__ import annotations

import random
from typing import Final

_VARINT: Final = 0
_FIXED64: Final = 1
_DELIMITED: Final = 2
_FIXED32: Final = 5
_LONGEST_VARINT: Final = 10
_TRUNCATED_MAC: Final = 8
"""Bytes of an Olm message's MAC, and of a Megolm message's."""
_SIGNATURE: Final = 64
_WITHIN: Final = 4
"""The field of a pre-key message that is the message proper."""

Fields = list[tuple[int, int | bytes]]
"""Number and value."""


def spell_pre_key_message(body: bytes, rng: random.Random) -> bytes:
    """Another spelling of a pre-key message, and of the message within it."""
    fields = parse_fields(body[1:])
    spelt: Fields = [
        (number, spell_olm_message(value, rng) if number == _WITHIN and isinstance(value, bytes) else value)
        for number, value in fields
    ]
    return body[:1] + _spell(spelt, rng)


def spell_olm_message(body: bytes, rng: random.Random) -> bytes:
    """Another spelling of a normal message, or of what is within a pre-key message."""
    return body[:1] + _spell(parse_fields(body[1:-_TRUNCATED_MAC]), rng) + body[-_TRUNCATED_MAC:]


def spell_megolm_message(body: bytes, rng: random.Random) -> bytes:
    """Another spelling of a Megolm message."""
    tail = _TRUNCATED_MAC + _SIGNATURE
    return body[:1] + _spell(parse_fields(body[1:-tail]), rng) + body[-tail:]


def without_keys(body: bytes) -> bytes:
    """The message within a pre-key message, as it would be sent on a session that both sides have used."""
    return next(value for number, value in parse_fields(body[1:]) if number == _WITHIN and isinstance(value, bytes))


def with_keys_of(pre_key_message: bytes, message: bytes) -> bytes:
    """A message with the keys of a pre-key message around it."""
    fields = [(number, value) for number, value in parse_fields(pre_key_message[1:]) if number != _WITHIN]
    return pre_key_message[:1] + b"".join(field(*each) for each in [*fields, (_WITHIN, message)])


def field(number: int, value: int | bytes, *, longer: int = 0) -> bytes:
    """A field; its numbers have ``longer`` octets more than they need."""
    if isinstance(value, int):
        return varint(number << 3 | _VARINT, longer) + varint(value, longer)
    return varint(number << 3 | _DELIMITED, longer) + varint(len(value), longer) + value


def varint(value: int, longer: int = 0) -> bytes:
    """A number, in at most ten octets."""
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    for _ in range(min(longer, _LONGEST_VARINT - len(octets))):
        octets[-1] |= 0x80
        octets.append(0)
    return bytes(octets)


def parse_fields(data: bytes) -> Fields:
    """The fields of what vodozemac has written: numbers and bytes."""
    fields: Fields = []
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        value, position = _read_varint(data, position)
        if tag & 7 == _VARINT:
            fields.append((tag >> 3, value))
        else:
            fields.append((tag >> 3, data[position : position + value]))
            position += value
    return fields


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = data[position]
        position += 1
        value |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return value, position


def _spell(fields: Fields, rng: random.Random) -> bytes:
    genuine = list(fields)
    rng.shuffle(genuine)
    parts: list[bytes] = []
    for number, value in genuine:
        if rng.random() < 0.3:
            earlier = rng.randrange(2**64) if isinstance(value, int) else rng.randbytes(rng.choice((0, len(value), 40)))
            parts.insert(rng.randint(0, len(parts)), field(number, earlier, longer=rng.choice((0, 3))))
        parts.append(field(number, value, longer=rng.choice((0, 0, 1, 9))))
    known = {number for number, _ in fields}
    for _ in range(rng.choice((0, 1, 3))):
        parts.insert(rng.randint(0, len(parts)), _unknown(known, rng))
    return b"".join(parts)


def _unknown(known: set[int], rng: random.Random) -> bytes:
    number = rng.choice([number for number in (3, 5, 6, 15, 16, 2047, 2**29 - 1) if number not in known])
    kind = rng.choice((_VARINT, _FIXED64, _DELIMITED, _FIXED32))
    if kind == _VARINT:
        return field(number, rng.randrange(2**64))
    if kind == _DELIMITED:
        return field(number, rng.randbytes(rng.randrange(20)))
    return varint(number << 3 | kind) + rng.randbytes(4 if kind == _FIXED32 else 8)
