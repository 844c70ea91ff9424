"""Room keys by the hundred, as an export has them."""

from __future__ import annotations

from vodozemac import GroupSession, InboundGroupSession

from olmstate.messages import JsonObject, RoomId

MEGOLM = "m.megolm.v1.aes-sha2"
ROOM = RoomId("!room:example.org")


def exported_keys(number: int, room_id: RoomId = ROOM, *, sender_key: str = "A" * 43) -> tuple[JsonObject, ...]:
    """So many, each of a session of its own."""
    return tuple(_exported(GroupSession(), room_id, sender_key) for _ in range(number))


def _exported(group: GroupSession, room_id: RoomId, sender_key: str) -> JsonObject:
    key = InboundGroupSession(group.session_key).export_at(0)
    assert key is not None
    return {
        "algorithm": MEGOLM,
        "room_id": room_id,
        "session_id": group.session_id,
        "session_key": key.to_base64(),
        "sender_key": sender_key,
        "sender_claimed_keys": {"ed25519": "B" * 43},
        "forwarding_curve25519_key_chain": [],
    }
