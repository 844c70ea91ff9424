"""Messages about parked events: room events that can't be decrypted yet, kept until their keys come.

An app that has no place of its own for such events parks them. They outlive the process, any process can list them, and
whichever process takes in a key tells which of them can be read now.
"""

from __future__ import annotations

import attrs

from ._errors import DecryptionError, MalformedMessage
from ._events import SharedEvent
from ._field_types import checked
from ._ids import EventId, JsonObject, MegolmSessionId, RoomId
from ._message import Command, Query


@attrs.frozen(kw_only=True)
class ParkedEvent:
    """A room event that could not be decrypted when it was parked."""

    room_id: RoomId
    event_id: EventId
    session_id: MegolmSessionId
    message_index: int
    """As its ciphertext says."""
    parked: int
    """When: milliseconds since 1970."""
    cause: DecryptionError | None
    """Why it can't be decrypted: `MissingRoomKey`, `RoomKeyWithheld` or `UnknownMessageIndex`. None: its key is there
    by now. A key that only others have sent, as theirs, is missing: it doesn't count for this event's sender."""
    event: JsonObject = attrs.field(repr=False)
    """As it was parked."""


@attrs.frozen(kw_only=True)
class EventsParked:
    """What became of events that were to be parked."""

    parked: tuple[tuple[RoomId, EventId], ...]
    """They wait for their keys; among them those that had been parked before."""
    readable: tuple[tuple[RoomId, EventId], ...]
    """Their keys are there: they were not parked. The key may have come since you tried."""
    rejected: tuple[MalformedMessage, ...]
    """Why others were not parked: no encrypted event with an ``event_id``, or one of more than 256 KiB."""
    dropped: tuple[tuple[RoomId, EventId], ...]
    """There was no room for all: these are parked no more. They had waited the longest of the sender who has the most
    there, so that nobody can have another's events go by sending many."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ParkEvents(Command[EventsParked]):
    """Keep room events until their keys come. At most 1,000 are kept, and 8 MiB of them: see `EventsParked.dropped`.

    Once a key is there, `EventsReadable` tells of its events. They stay parked until you have read them and
    `ForgetParkedEvents`.

    Returns:
        EventsParked
    """

    events: tuple[tuple[RoomId, JsonObject], ...] = attrs.field(repr=False)
    """As in `DecryptRoomEvents`."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ParkedEvents(Query[tuple[ParkedEvent, ...]]):
    """Parked events, in the order in which they were parked.

    Returns:
        tuple[ParkedEvent, ...]
    """

    room_id: RoomId | None = None
    """Only this room's."""
    readable: bool = False
    """Only those whose keys are there by now."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ForgetParkedEvents(Command[None]):
    """Park these no more; of others, nothing happens.

    Returns:
        None
    """

    events: tuple[tuple[RoomId, EventId], ...]


@attrs.frozen(kw_only=True)
class EventsReadable(SharedEvent):
    """The keys of these parked events have come: decrypt them, and `ForgetParkedEvents`."""

    events: tuple[tuple[RoomId, EventId], ...]
