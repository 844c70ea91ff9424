"""Which one-time key a pre-key message was made with: vodozemac's binding doesn't tell.

The layout is the Olm specification's: a version byte, then protobuf fields, of which number 1 is the one-time key.
"""

from __future__ import annotations

from olmstate.messages import Curve25519Key

from ._base64 import encode

_KEY_FIELD = b"\x0a\x20"  # field 1, length-delimited, 32 bytes
_IDENTITY_FIELDS = (b"\x12\x20", b"\x1a\x20")  # fields 2 and 3: base key and identity key, of the same length


def one_time_key(body: bytes) -> Curve25519Key | None:
    """The one-time or fallback key that a pre-key message names, or None if it isn't where every Olm puts it."""
    position = 1
    while len(body) >= position + 34:
        field, value = body[position : position + 2], body[position + 2 : position + 34]
        if field == _KEY_FIELD:
            return Curve25519Key(encode(value))
        if field not in _IDENTITY_FIELDS:
            return None
        position += 34
    return None
