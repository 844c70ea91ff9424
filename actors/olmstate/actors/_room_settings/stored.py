"""What is stored of rooms' settings."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.storage import Table


class RoomSettingsRecord(Record, kw_only=True, frozen=True):
    """What a room has said so far."""

    table: ClassVar[Table] = Table.ROOM_SETTINGS

    algorithm: str | None
    """None: nobody has said that the room is encrypted."""
    messages: int = 0
    milliseconds: int = 0
    """Of its rotation period."""
    shared_history: bool = False
    """Whether who joins later may read what was sent before."""
