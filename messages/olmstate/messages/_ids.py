"""Ids and JSON aliases: the nouns that every message is made of.

NewTypes over ``str``, so that a room id can't be passed where a session id is wanted, at no cost at run time. All keys
are unpadded standard base64, as Matrix writes them.
"""

from __future__ import annotations

from typing import Any, NewType, TypeAlias

UserId = NewType("UserId", str)
"""``@localpart:server``."""
DeviceId = NewType("DeviceId", str)
RoomId = NewType("RoomId", str)
EventId = NewType("EventId", str)
OlmSessionId = NewType("OlmSessionId", str)
MegolmSessionId = NewType("MegolmSessionId", str)
"""The session's Ed25519 public key."""
Curve25519Key = NewType("Curve25519Key", str)
"""A device's identity key, or a one-time key."""
Ed25519Key = NewType("Ed25519Key", str)
"""A device's fingerprint key."""
KeyId = NewType("KeyId", str)
"""``signed_curve25519:AAAAAQ``: algorithm and id of a one-time or fallback key."""
RequestId = NewType("RequestId", str)
"""A request to the homeserver; where the API has transaction ids, it is the one."""

Json: TypeAlias = Any
"""What ``json.loads`` gives; unchecked."""
JsonObject: TypeAlias = dict[str, Any]
"""A JSON object as the wire has it; its values are unchecked."""
