"""Notices that a room key is withheld: what one says (spec: Reporting that decryption keys are withheld).

Each comes in clear: whose it is, its code and its reason are the homeserver's word.
"""

from __future__ import annotations

from typing import Final

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import if_sound, json_object, string
from olmstate.messages import JsonObject, MalformedMessage, MegolmSessionId, RoomId, UserId
from olmstate.storage.owner import is_user_id

from .stored import NoticeName, WithheldRecord

UNAVAILABLE: Final = "m.unavailable"
"""Whoever was asked for a key doesn't have it. That says nothing of whether its maker withholds it."""
MOST_ID: Final = 255
"""Characters of a room's id, or a session's. Rooms' have as many bytes at the most."""
MOST_CODE: Final = 255
"""Characters. The spec's codes have twenty, those of others begin with a domain's name."""
MOST_REASON: Final = 1_000
"""Characters that are kept."""


class Notice(QuietStruct, kw_only=True, frozen=True):
    """That a user withholds a session's key."""

    room_id: RoomId
    session_id: MegolmSessionId
    sender: UserId
    sender_key: str | None
    """Of the device that says so."""
    withheld: WithheldRecord

    @property
    def name(self) -> NoticeName:
        """Under which it is kept."""
        return self.room_id, self.session_id, self.sender


def read_notice(event: JsonObject) -> Notice:
    """What a notice says.

    Raises:
        MalformedMessage: It is none, or names no session: an ``m.no_olm`` says nothing of any.
    """
    content = json_object(event, "content")
    code = string(content, "code")
    if len(code) > MOST_CODE:
        raise MalformedMessage(reason="a code of more than 255 characters")
    reason = if_sound(string, content, "reason")
    sender, room_id, session_id = string(event, "sender"), string(content, "room_id"), string(content, "session_id")
    if max(len(room_id), len(session_id)) > MOST_ID or not is_user_id(sender):
        raise MalformedMessage(reason="what is no id")
    return Notice(
        room_id=RoomId(room_id),
        session_id=MegolmSessionId(session_id),
        sender=UserId(sender),
        sender_key=if_sound(string, content, "sender_key"),
        withheld=WithheldRecord(code=code, reason=None if reason is None else reason[:MOST_REASON]),
    )


def outweighs(new: WithheldRecord, before: WithheldRecord | None) -> bool:
    """Whether a user's notice about a session counts instead of the one before it.

    The newest does: why somebody withholds a key may change. But one of their other devices may say that it hasn't got
    the key, and that changes nothing.
    """
    return before is None or (new != before and new.code != UNAVAILABLE)
