"""Notices that a room key is withheld: what one says (spec: Reporting that decryption keys are withheld).

Each comes in clear: whose it is, its code and its reason are the homeserver's word.
"""

from __future__ import annotations

from typing import Final

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import if_sound, json_object, string
from olmstate.messages import JsonObject, MalformedMessage, MegolmSessionId, RoomId, UserId

from .stored import WithheldRecord

UNAVAILABLE: Final = "m.unavailable"
"""Whoever was asked for a key doesn't have it. That says nothing of whether its maker withholds it."""
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
    def name(self) -> tuple[RoomId, MegolmSessionId, UserId]:
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
    return Notice(
        room_id=RoomId(string(content, "room_id")),
        session_id=MegolmSessionId(string(content, "session_id")),
        sender=UserId(string(event, "sender")),
        sender_key=if_sound(string, content, "sender_key"),
        withheld=WithheldRecord(code=code, reason=None if reason is None else reason[:MOST_REASON]),
    )
