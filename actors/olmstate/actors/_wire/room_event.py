"""An encrypted room event: what is in its ciphertext, and what is in the clear (spec: m.megolm.v1.aes-sha2).

What an event relates to is in both, so that the homeserver can find edits, replies, reactions and threads (spec:
Relationships between events). What a sender left out of the encrypted part is copied into it on reading; it is the
homeserver's word then.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Final

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import (
    DeviceIdentity,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
)

from .algorithms import MEGOLM
from .payload import encode_payload
from .untrusted_json import check_depth

RELATES_TO: Final = "m.relates_to"


class MegolmCiphertext(QuietStruct, kw_only=True, frozen=True):
    """A Megolm message."""

    ciphertext: str
    session_id: MegolmSessionId
    message_index: int


def event_payload(command: EncryptRoomEvent) -> bytes:
    """What is encrypted of an event.

    Raises:
        MalformedContent: It is no JSON that Matrix allows.
    """
    return encode_payload({"type": command.type, "content": command.content, "room_id": command.room_id})


def encrypted_room_event(own: DeviceIdentity, encrypted: MegolmCiphertext, content: JsonObject) -> EncryptedRoomEvent:
    """What is sent to the room (spec: m.room.encrypted)."""
    outer: JsonObject = {
        "algorithm": MEGOLM,
        "ciphertext": encrypted.ciphertext,
        "session_id": encrypted.session_id,
        # deprecated since v1.3 of the spec, and still read by older clients
        "device_id": own.device_id,
        "sender_key": own.curve25519,
    }
    if RELATES_TO in content:
        outer[RELATES_TO] = deepcopy(content[RELATES_TO])
    return EncryptedRoomEvent(
        content=outer,
        session_id=encrypted.session_id,
        message_index=encrypted.message_index,
    )


def copy_from_clear(outer: JsonObject, content: JsonObject) -> None:
    """Add to a decrypted content what the clear part alone says that it relates to; not what is nested too deep."""
    if RELATES_TO in outer and RELATES_TO not in content:
        try:
            check_depth(outer[RELATES_TO])
        except MalformedMessage:
            return
        content[RELATES_TO] = deepcopy(outer[RELATES_TO])
