"""What all devices in these tests have in common, whoever made them."""

from __future__ import annotations

from typing import Protocol

import attrs

from olmstate.messages import EventId, JsonObject, MegolmSessionId, RoomId
from tests.peer.session import Session


@attrs.frozen(kw_only=True)
class Heard:
    """A message that a device could read."""

    room_id: RoomId
    sender: str
    type: str
    content: JsonObject
    session_id: MegolmSessionId
    """What it was encrypted with."""


@attrs.define
class Ears:
    """What a device has read, and what it couldn't."""

    heard: dict[EventId, Heard] = attrs.field(factory=dict[EventId, Heard])
    unread: dict[EventId, str] = attrs.field(factory=dict[EventId, str])
    """Why, in the device's own words. It is tried again at each sync."""

    def hear(self, event_id: EventId, heard: Heard) -> None:
        """It could be read."""
        self.heard[event_id] = heard
        self.unread.pop(event_id, None)

    @property
    def bodies(self) -> dict[EventId, str]:
        """The text of each message that could be read."""
        return {event_id: heard.content["body"] for event_id, heard in self.heard.items()}


class Device(Protocol):
    """A device of a user on a homeserver: olmstate's, matrix-nio's, or an OlmMachine's."""

    @property
    def session(self) -> Session:
        """Its login."""
        ...

    @property
    def ears(self) -> Ears:
        """What it has read."""
        ...

    async def sync(self) -> None:
        """Take in all that is new, read it, and make the requests that follow from it."""
        ...

    async def send(self, room_id: RoomId, body: str) -> EventId:
        """Send a text that everybody's devices in the room can read."""
        ...

    async def rotate(self, room_id: RoomId) -> None:
        """Use a new session in the room from now on."""
        ...


def text(body: str) -> JsonObject:
    """``content`` of a text message."""
    return {"msgtype": "m.text", "body": body}
