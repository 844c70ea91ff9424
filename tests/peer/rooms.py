"""The rooms that a homeserver in memory keeps.

Owns: each room's members and its timeline, and the stream that both are in.
Rule: everybody in a room sees all of it, from its beginning, from the sync after the join on; nobody is checked for the
    right to invite or to throw out.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from tests.peer.names import JsonObject
from tests.peer.session import RequestRefused


@attrs.define
class Room:
    """One room."""

    room_id: str
    timeline: list[JsonObject] = attrs.field(factory=list[JsonObject])
    members: dict[str, tuple[int, str]] = attrs.field(factory=dict[str, tuple[int, str]])
    """Each user's membership, and the place in the stream where it became so."""

    def membership(self, user_id: str) -> str:
        """``join``, ``invite``, ``leave`` or ``ban``."""
        return self.members.get(user_id, (0, "leave"))[1]


class Rooms:
    """All rooms."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self.rooms: dict[str, Room] = {}
        self.position = 0
        """How many events there have been in all rooms."""
        self._clock = clock or (lambda: 1_700_000_000_000 + self.position)

    def create(self, creator: str, body: JsonObject) -> JsonObject:
        """POST /createRoom."""
        room = Room(f"!{len(self.rooms) + 1}:example.org")
        self.rooms[room.room_id] = room
        self.set_membership(room, creator, creator, "join")
        for state in body.get("initial_state", ()):
            self.add(room, creator, state["type"], state["content"], state_key=state.get("state_key", ""))
        for invited in body.get("invite", ()):
            self.set_membership(room, creator, invited, "invite")
        return {"room_id": room.room_id}

    def of(self, user_id: str, room_id: str) -> Room:
        """A room that the user is in, or invited to."""
        room = self.rooms.get(room_id)
        if room is None or room.membership(user_id) not in {"join", "invite"}:
            raise RequestRefused(403, {"errcode": "M_FORBIDDEN", "error": f"{user_id} isn't in {room_id}"})
        return room

    def set_membership(self, room: Room, sender: str, user_id: str, membership: str) -> None:
        """Let somebody in, or out."""
        self.add(room, sender, "m.room.member", {"membership": membership}, state_key=user_id)
        room.members[user_id] = self.position, membership

    def add(
        self, room: Room, sender: str, event_type: str, content: JsonObject, *, state_key: str | None = None
    ) -> JsonObject:
        """Append an event."""
        self.position += 1
        event: JsonObject = {
            "type": event_type,
            "sender": sender,
            "content": content,
            "event_id": f"${self.position}",
            "origin_server_ts": self._clock(),
        }
        if state_key is not None:
            event["state_key"] = state_key
        room.timeline.append(event)
        return event

    def sharing_with(self, user_id: str) -> set[str]:
        """Everybody who is in a room together with this user, who is one of them."""
        return {user_id}.union(
            *(
                {member for member in room.members if room.membership(member) == "join"}
                for room in self.rooms.values()
                if room.membership(user_id) == "join"
            )
        )

    def since(self, user_id: str, since: int) -> JsonObject:
        """``rooms`` of a sync's answer."""
        answer: JsonObject = {"join": {}, "invite": {}, "leave": {}}
        for room in self.rooms.values():
            changed, membership = room.members.get(user_id, (0, "leave"))
            if membership == "join":
                seen = 0 if changed > since else since
                if events := [event for event in room.timeline if int(event["event_id"][1:]) > seen]:
                    answer["join"][room.room_id] = {"timeline": {"events": events, "limited": False}}
            elif changed > since and membership == "invite":
                answer["invite"][room.room_id] = {"invite_state": {"events": []}}
            elif changed > since:
                answer["leave"][room.room_id] = {"timeline": {"events": []}}
        return answer
