"""Olm messages for this device, checked in shape: what the account and the Olm sessions are asked to decrypt.

Rule: one meaning, one digest. A message can be spelt in many ways: protobuf allows fields in any order, twice, and of
numbers that nobody knows, and it allows numbers to be longer than they need be. vodozemac checks the MAC of the message
as it would write it itself, so that all spellings are one message to it. The digest is of that one, too.

Only what is within a pre-key message has a MAC. The keys around it name the session that it starts, and the message
within is the same message without them; so the digest is of what is within, whether it came with the keys or not.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from vodozemac import AnyOlmMessage, PreKeyMessage

from olmstate.messages import Curve25519Key, MalformedMessage, UserId

from .base64 import encode
from .curve25519 import is_canonical, is_of_prime_order
from .quiet_struct import QuietStruct

PRE_KEY = 0
"""Type of an Olm message that carries what is needed to start a session."""
NORMAL = 1
"""Type of an Olm message on a session that both have."""

DIGEST_BYTES = 8
"""Of a normal message's digest, as it is kept."""

_PRE_KEY_MESSAGE: Final = re.compile(
    rb'\x03\n\x20(?P<one_time_key>.{32})\x12\x20(?P<base_key>.{32})\x1a\x20(?P<identity_key>.{32})"[\x80-\xff]*[\0-\x7f]',
    re.DOTALL,
)
"""A pre-key message as vodozemac writes it, up to the message within."""


_BEFORE_CHAIN_INDEX: Final = 1 + 2 + 32 + 1
_LONGEST_VARINT: Final = 10


class SessionKeys(QuietStruct, kw_only=True, frozen=True, gc=False):
    """The keys of a pre-key message, which name the session that it starts; nothing authenticates them."""

    one_time_key: bytes
    base_key: bytes
    identity_key: bytes

    @property
    def are_canonical(self) -> bool:
        """Whether each is spelt as Curve25519 writes it, so that no other spelling names the same session."""
        return all(map(is_canonical, (self.one_time_key, self.base_key, self.identity_key)))

    @property
    def are_made(self) -> bool:
        """Whether the sender's are such as a device makes, so that no others name the same session. Takes longer."""
        return is_of_prime_order(self.base_key) and is_of_prime_order(self.identity_key)


class OlmMessage(QuietStruct, kw_only=True, frozen=True, gc=False):
    """An Olm message for this device, checked in shape."""

    sender: UserId
    """As the envelope says."""
    sender_key: Curve25519Key
    parsed: AnyOlmMessage
    pre_key: PreKeyMessage | None = None
    session_keys: SessionKeys | None = None
    """Of a pre-key message."""
    chain_index: int
    """How far it is along its sending chain, as it says."""
    digest: bytes
    """What makes it the same message again: SHA-256 of the sender key and of what has the MAC."""

    @property
    def one_time_key(self) -> Curve25519Key | None:
        """The one-time or fallback key that a pre-key message names."""
        return None if self.session_keys is None else Curve25519Key(encode(self.session_keys.one_time_key))

    @property
    def short_digest(self) -> bytes:
        """As it is kept of a normal message."""
        return self.digest[:DIGEST_BYTES]


def parse_olm_message(sender: UserId, sender_key: Curve25519Key, message_type: int, body: bytes) -> OlmMessage:
    """An Olm message from its parts.

    Raises:
        MalformedMessage: The body isn't of that type.
    """
    try:
        parsed = AnyOlmMessage.from_parts(message_type, body)
        pre_key = parsed.to_pre_key() if message_type == PRE_KEY else None
    except ValueError as error:
        raise MalformedMessage(reason=str(error)) from None
    _, within = parsed.to_parts()
    session_keys = None
    if pre_key is not None:
        head = _PRE_KEY_MESSAGE.match(within)
        assert head is not None  # noqa: S101 - vodozemac has written it
        session_keys = SessionKeys(**head.groupdict())
        within = within[head.end() :]
    digest = hashlib.sha256(f"{sender_key} ".encode() + within).digest()
    return OlmMessage(
        sender=sender,
        sender_key=sender_key,
        parsed=parsed,
        pre_key=pre_key,
        session_keys=session_keys,
        chain_index=_chain_index(within),
        digest=digest,
    )


def _chain_index(message: bytes) -> int:
    """Of a normal message as vodozemac writes it: version, ratchet key, and then the index."""
    index = 0
    for place, octet in enumerate(message[_BEFORE_CHAIN_INDEX : _BEFORE_CHAIN_INDEX + _LONGEST_VARINT]):
        index |= (octet & 0x7F) << 7 * place
        if octet < 0x80:  # noqa: PLR2004 - the last one
            break
    return index
