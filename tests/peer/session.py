"""A logged-in device's way to a homeserver: the requests that tests make, whatever carries them.

Owns: nothing but who it is. `tests.peer.homeserver` makes sessions on a homeserver in memory, `tests.interop` makes
    them on a real one. They are used alike, so that a device that was written for one runs on the other.
Rule: no crypto. What is sent is what the caller gave.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import count
from secrets import token_hex
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import attrs

from tests.peer.names import DeviceId, EventId, JsonObject, RoomId, UserId

API = "/_matrix/client/v3"
MEGOLM = "m.megolm.v1.aes-sha2"

Request: TypeAlias = Callable[[str, str, JsonObject | None], Awaitable[JsonObject]]
"""Method, target (the path and what follows it) and body in; the answer out, or `RequestRefused`."""

WHOLE_TIMELINES = json.dumps({"room": {"timeline": {"limit": 1_000}}}, separators=(",", ":"))
"""A sync filter: without it, a real homeserver leaves out all but a room's last events."""

ONLY_TO_DEVICE = json.dumps(
    {"room": {"rooms": []}, "presence": {"types": []}, "account_data": {"types": []}}, separators=(",", ":")
)
"""A sync filter: what is left are to-device events, and what is said of keys and devices."""


def _part(text: str) -> str:
    """Of a path."""
    return quote(text, safe="")


class RequestRefused(Exception):
    """The homeserver answered, and not with 200."""

    def __init__(self, status: int, body: JsonObject) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body

    @property
    def code(self) -> str | None:
        """``errcode``."""
        return self.body.get("errcode")


@attrs.frozen(kw_only=True)
class Session:
    """One device of one user."""

    user_id: UserId
    device_id: DeviceId
    request: Request = attrs.field(repr=False)
    _transaction: Callable[[], int] = attrs.field(factory=lambda: count(1).__next__, repr=False)
    _started: str = attrs.field(factory=lambda: token_hex(4), repr=False)
    """Another process's session on the same device counts from 1, too."""

    # --- syncing ----------------------------------------------------------------------------------------------------

    async def sync(self, since: str | None, *, timeout_ms: int = 0, only_to_device: bool = False) -> JsonObject:
        """What has come after ``since``; waits for something to come for so long.

        Synapse gives the same answer to the same question for two minutes, if there was anything in it. Another
        ``timeout_ms`` makes it another question.
        """
        query = {"timeout": str(timeout_ms), "filter": ONLY_TO_DEVICE if only_to_device else WHOLE_TIMELINES}
        if since is not None:
            query["since"] = since
        return await self.request("GET", f"{API}/sync?{urlencode(query)}", None)

    # --- rooms ------------------------------------------------------------------------------------------------------

    async def create_room(self, *, invite: Iterable[UserId] = (), encryption: JsonObject | None = None) -> RoomId:
        """A new encrypted room; ``encryption`` is what its settings say beside the algorithm."""
        settings = {"algorithm": MEGOLM, **(encryption or {})}
        body: JsonObject = {
            "preset": "private_chat",
            "invite": list(invite),
            "initial_state": [{"type": "m.room.encryption", "state_key": "", "content": settings}],
        }
        return RoomId((await self.request("POST", f"{API}/createRoom", body))["room_id"])

    async def invite(self, room_id: RoomId, user_id: UserId) -> None:
        """Invite somebody."""
        await self._in_room(room_id, "invite", {"user_id": user_id})

    async def join(self, room_id: RoomId) -> None:
        """Join a room that this user was invited to."""
        await self._in_room(room_id, "join", {})

    async def leave(self, room_id: RoomId) -> None:
        """Leave a room."""
        await self._in_room(room_id, "leave", {})

    async def kick(self, room_id: RoomId, user_id: UserId) -> None:
        """Throw somebody out."""
        await self._in_room(room_id, "kick", {"user_id": user_id})

    async def members(self, room_id: RoomId, memberships: Iterable[str] = ("join", "invite")) -> tuple[UserId, ...]:
        """Who is in a room, or invited to it, in the order of their ids."""
        answer = await self.request("GET", f"{API}/rooms/{_part(room_id)}/members", None)
        wanted = tuple(memberships)
        found = (event for event in answer["chunk"] if event["content"]["membership"] in wanted)
        return tuple(sorted(UserId(event["state_key"]) for event in found))

    async def send(self, room_id: RoomId, event_type: str, content: JsonObject) -> EventId:
        """Send an event as it is."""
        target = f"{API}/rooms/{_part(room_id)}/send/{_part(event_type)}/{self.transaction_id()}"
        return EventId((await self.request("PUT", target, content))["event_id"])

    async def event(self, room_id: RoomId, event_id: EventId) -> JsonObject:
        """An event, as a push helper asks for it."""
        return await self.request("GET", f"{API}/rooms/{_part(room_id)}/event/{_part(event_id)}", None)

    async def send_to_device(self, event_type: str, messages: Mapping[UserId, Mapping[DeviceId, JsonObject]]) -> None:
        """Send as it is; the device ``*`` is all of the user's."""
        target = f"{API}/sendToDevice/{_part(event_type)}/{self.transaction_id()}"
        await self.request("PUT", target, {"messages": messages})

    async def _in_room(self, room_id: RoomId, what: str, body: JsonObject) -> None:
        await self.request("POST", f"{API}/rooms/{_part(room_id)}/{what}", body)

    def transaction_id(self) -> str:
        """One that this session hasn't used."""
        return f"t{self._started}-{self._transaction()}"

    # --- keys -------------------------------------------------------------------------------------------------------

    async def query_keys(self, users: Iterable[UserId]) -> JsonObject:
        """All devices of these users."""
        return await self.request("POST", f"{API}/keys/query", {"device_keys": {user: [] for user in users}})

    async def claim_keys(self, devices: Iterable[tuple[UserId, DeviceId]]) -> JsonObject:
        """A one-time key of each of these devices, as far as there are any."""
        wanted: dict[str, dict[str, str]] = {}
        for user_id, device_id in devices:
            wanted.setdefault(user_id, {})[device_id] = "signed_curve25519"
        return await self.request("POST", f"{API}/keys/claim", {"one_time_keys": wanted})


def encrypted_events(sync: JsonObject) -> list[tuple[RoomId, JsonObject]]:
    """The encrypted events in the timelines of a sync's answer, each with its room."""
    rooms: dict[str, Any] = sync.get("rooms", {}).get("join", {})
    return [
        (RoomId(room_id), event)
        for room_id, room in rooms.items()
        for event in room["timeline"]["events"]
        if event["type"] == "m.room.encrypted"
    ]
