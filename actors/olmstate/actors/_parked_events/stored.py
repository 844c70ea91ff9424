"""What the parked events actor stores."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.messages import EventId, MegolmSessionId, RoomId
from olmstate.storage import Table


class ParkedEventRecord(Record, kw_only=True, frozen=True):
    """What is known of a parked event; the event itself is a row of its own, since it may be large."""

    table: ClassVar[Table] = Table.PARKED_EVENTS

    room_id: RoomId
    event_id: EventId
    session_id: MegolmSessionId
    sender: str | None
    message_index: int
    parked: int
    """Milliseconds since 1970."""
    number: int
    """Of the event in its store: they are listed, and dropped, in this order."""
    size: int
    """Bytes of its row."""
    readable: bool = False
    withheld: str | None = None
    """The code of the notice, if there is one."""
    withheld_reason: str | None = None
    """Its text."""
    first_known_index: int | None = None
    """Of the key that there is, if it begins later."""


class ParkedContentRecord(Record, kw_only=True, frozen=True):
    """A parked event as it came."""

    table: ClassVar[Table] = Table.PARKED_CONTENTS

    event: str
    """JSON, in ASCII."""
