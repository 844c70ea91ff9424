"""Olm messages for this device, checked in shape: what the account and the Olm sessions are asked to decrypt."""

from __future__ import annotations

import hashlib

from vodozemac import AnyOlmMessage, PreKeyMessage

from olmstate.messages import Curve25519Key, MalformedMessage

from .pre_key_message import pre_key_parts
from .quiet_struct import QuietStruct

PRE_KEY = 0
"""Type of an Olm message that carries what is needed to start a session."""
NORMAL = 1
"""Type of an Olm message on a session that both have."""

DIGEST_BYTES = 8
"""Of a normal message's digest, as it is kept."""


class OlmMessage(QuietStruct, kw_only=True, frozen=True):
    """An Olm message for this device, checked in shape."""

    sender_key: Curve25519Key
    parsed: AnyOlmMessage
    pre_key: PreKeyMessage | None = None
    one_time_key: Curve25519Key | None = None
    """The one that a pre-key message names."""
    digest: bytes
    """What makes it the same message again: SHA-256 of sender key and what its sender authenticated."""

    @property
    def short_digest(self) -> bytes:
        """As it is kept of a normal message."""
        return self.digest[:DIGEST_BYTES]


def parse_olm_message(sender_key: Curve25519Key, message_type: int, body: bytes) -> OlmMessage:
    """An Olm message from its parts.

    Raises:
        MalformedMessage: The body isn't of that type.
    """
    try:
        parsed = AnyOlmMessage.from_parts(message_type, body)
        pre_key = parsed.to_pre_key() if message_type == PRE_KEY else None
    except ValueError as error:
        raise MalformedMessage(reason=str(error)) from None
    one_time_key, authenticated = (None, body) if pre_key is None else pre_key_parts(body)
    digest = hashlib.sha256(f"{sender_key} ".encode() + authenticated).digest()
    return OlmMessage(sender_key=sender_key, parsed=parsed, pre_key=pre_key, one_time_key=one_time_key, digest=digest)
