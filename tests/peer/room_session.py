"""A Megolm session of a peer's, with all that there ever is of it: its room key, its events, its exports.

Owns: `RoomSession`. What a test knows of it beside that belongs to a subclass.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs
from vodozemac import GroupSession, InboundGroupSession, SessionKey

from tests.peer.device import PeerDevice, exported
from tests.peer.names import Json, JsonObject, MegolmSessionId, RoomId

P = TypeVar("P", bound=PeerDevice)


@attrs.define(eq=False)
class RoomSession(Generic[P]):
    """Somebody's session in a room."""

    maker: P
    room_id: RoomId = attrs.field(default=RoomId("!room:example.org"))
    group: GroupSession = attrs.field(factory=GroupSession, init=False)
    room_key: JsonObject = attrs.field(init=False)
    """``content`` of its ``m.room_key``, from the first index on."""
    inbound: InboundGroupSession = attrs.field(init=False)
    """From the first index on."""
    events: list[JsonObject] = attrs.field(factory=list[JsonObject], init=False)
    """What was sent with it, by index."""

    def __attrs_post_init__(self) -> None:
        self.room_key = self.maker.room_key(self.room_id, self.group)
        self.inbound = InboundGroupSession(SessionKey(self.room_key["session_key"]))

    @property
    def key(self) -> tuple[RoomId, MegolmSessionId]:
        """Room and session: what it is known by."""
        return self.room_id, self.session_id

    @property
    def session_id(self) -> MegolmSessionId:
        """The session's."""
        return MegolmSessionId(self.group.session_id)

    def send(self, content: Json = None, *, event_id: str | None = None, **changes: Json) -> JsonObject:
        """The next event of the room; ``changes`` are of its payload."""
        event_id = event_id or f"${self.session_id} {len(self.events)}"
        self.events.append(self.maker.room_event(self.room_id, self.group, content, event_id=event_id, **changes))
        return self.events[-1]

    def export(self, index: int | None = None) -> JsonObject:
        """The key as a key file of its maker's has it, from the first index on if none is given."""
        return exported(self.maker, self.room_id, self.inbound, index)
