"""What the Olm sessions actor stores."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from olmstate.actors._engine.records import Record
from olmstate.messages import MegolmSessionId, RoomId, UserId
from olmstate.storage import Table


class OlmSessionRecord(Record, kw_only=True, frozen=True):
    """An Olm session; see `OlmSession` and `DeviceSessions` for what its fields say."""

    table: ClassVar[Table] = Table.OLM_SESSIONS

    pickle: str
    rank: int
    decrypt_only: bool = False
    claimed_from: UserId | None = None
    decrypted: bytes = b""
    pre_key_messages: bytes = b""
    in_set: bool = True
    """The default is for rows from before there was a choice."""
    owner: UserId | None = None
    steps_for_anybody: int = 20
    """The default is for rows from before there were owners."""
    room_keys: dict[RoomId, MegolmSessionId] = msgspec.field(default_factory=dict[RoomId, MegolmSessionId])
