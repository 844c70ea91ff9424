"""What the bytes of Olm and Megolm messages say (spec: Olm, Megolm: Message format), by a parser of the tests' own.

Rule: nothing of the code under test is used, so that the two can't be wrong in the same way.
"""

from __future__ import annotations

import base64
import dataclasses

PRE_KEY = 0
"""Type of an Olm message that carries what is needed to start a session."""

MORE = 0x80
"""Of a varint: another byte follows."""
LENGTH_DELIMITED = 2
"""Kind of a field that holds bytes."""

# tags
RATCHET_KEY, CHAIN_INDEX, OLM_CIPHERTEXT = 0x0A, 0x10, 0x22
ONE_TIME_KEY, BASE_KEY, IDENTITY_KEY, INNER_MESSAGE = 0x0A, 0x12, 0x1A, 0x22
MESSAGE_INDEX, MEGOLM_CIPHERTEXT = 0x08, 0x12


def decode(text: str) -> bytes:
    """The bytes of unpadded base64."""
    return base64.b64decode(text + "=" * (-len(text) % 4))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & ~MORE) << shift
        if not byte & MORE:
            return value, at
        shift += 7


def _fields(data: bytes, last: int) -> dict[int, bytes | int]:
    """Tag to value, of what follows the version byte, up to the field ``last``: a MAC is no field."""
    found: dict[int, bytes | int] = {}
    at = 1
    while last not in found:
        tag = data[at]
        number, at = _varint(data, at + 1)
        if tag & 0x07 == LENGTH_DELIMITED:
            found[tag] = data[at : at + number]
            at += number
        else:
            found[tag] = number
    return found


@dataclasses.dataclass(frozen=True)
class OlmStep:
    """Where in its ratchet an Olm message was made."""

    ratchet_key: str
    counter: int


@dataclasses.dataclass(frozen=True)
class PreKeys:
    """The keys that a pre-key message starts its session with, in base64."""

    one_time_key: str
    base_key: str
    identity_key: str

    @property
    def session(self) -> str:
        """What names the session."""
        return f"{self.identity_key} {self.base_key} {self.one_time_key}"


def olm_step(message_type: int, body: bytes) -> OlmStep:
    """Of a message of either type."""
    message = _bytes(_fields(body, INNER_MESSAGE)[INNER_MESSAGE]) if message_type == PRE_KEY else body
    fields = _fields(message, OLM_CIPHERTEXT)
    counter = fields[CHAIN_INDEX]
    assert isinstance(counter, int)
    return OlmStep(_text(fields[RATCHET_KEY]), counter)


def pre_keys(body: bytes) -> PreKeys:
    """Of a pre-key message."""
    fields = _fields(body, INNER_MESSAGE)
    return PreKeys(_text(fields[ONE_TIME_KEY]), _text(fields[BASE_KEY]), _text(fields[IDENTITY_KEY]))


def megolm_index(ciphertext: str) -> int:
    """Of a Megolm message."""
    index = _fields(decode(ciphertext), MEGOLM_CIPHERTEXT)[MESSAGE_INDEX]
    assert isinstance(index, int)
    return index


def _bytes(value: bytes | int) -> bytes:
    assert isinstance(value, bytes)
    return value


def _text(value: bytes | int) -> str:
    return base64.b64encode(_bytes(value)).decode().rstrip("=")
