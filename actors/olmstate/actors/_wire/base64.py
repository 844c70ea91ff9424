"""Unpadded base64, as Matrix writes bytes (spec: Unpadded Base64)."""

from __future__ import annotations

from binascii import b2a_base64

import msgspec

from olmstate.messages import MalformedMessage


def encode(data: bytes) -> str:
    """``data`` as unpadded standard base64."""
    return b2a_base64(data, newline=False).decode().rstrip("=")


def decode(text: str, what: str) -> bytes:
    """The bytes; padding is allowed.

    Raises:
        MalformedMessage: Not base64; the reason calls it ``what``.
    """
    digits = text.rstrip("=")
    try:
        # as strict as `binascii.a2b_base64`, at a third of the price
        return msgspec.convert(digits + "=" * (-len(digits) % 4), bytes)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter of a lone surrogate
        pass
    raise MalformedMessage(reason=f"{what} is not base64")
