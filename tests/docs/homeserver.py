"""A homeserver in memory: just enough of the client-server API for the documentation's client to talk to.

Owns: devices' keys, their to-device queues, and the timelines of rooms.
Rule: as strict as a real one where the promises of olmstate meet it: another key under a known id is refused, a
    one-time key is handed out once, and a to-device message is gone once the sync after it was acknowledged.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

from olmstate.messages import JsonObject


@attrs.define
class Device:
    """What the server knows of a device."""

    device_keys: JsonObject = attrs.field(factory=dict[str, Any])
    one_time_keys: dict[str, JsonObject] = attrs.field(factory=dict[str, JsonObject])
    fallback_keys: dict[str, JsonObject] = attrs.field(factory=dict[str, JsonObject])
    fallback_used: bool = False
    queue: dict[int, JsonObject] = attrs.field(factory=dict[int, JsonObject])
    """To-device events by their place in the stream."""
    uploads: int = 0


class Homeserver:
    """One server; `session` gives each device a way to talk to it."""

    def __init__(self) -> None:
        self.devices: dict[tuple[str, str], Device] = defaultdict(Device)
        self._timeline: dict[int, tuple[str, JsonObject]] = {}
        self._position = 0

    def session(self, user_id: str, device_id: str) -> Session:
        """A logged-in device."""
        return Session(server=self, user_id=user_id, device_id=device_id)

    def put_in_queue(self, user_id: str, device_id: str, event: JsonObject) -> None:
        """Send a to-device event."""
        self.devices[user_id, device_id].queue[self._next()] = event

    def put_in_room(self, room_id: str, event: JsonObject) -> None:
        """Send a room event."""
        self._timeline[self._next()] = room_id, event

    def since(self, position: int) -> dict[str, list[JsonObject]]:
        """What rooms have got after ``position``."""
        rooms: dict[str, list[JsonObject]] = defaultdict(list)
        for at, (room_id, event) in self._timeline.items():
            if at > position:
                rooms[room_id].append(event)
        return rooms

    @property
    def position(self) -> int:
        """How long the stream is."""
        return self._position

    def _next(self) -> int:
        self._position += 1
        return self._position


@attrs.frozen(kw_only=True)
class Session:
    """A device's HTTP client."""

    server: Homeserver
    user_id: str
    device_id: str

    @property
    def _device(self) -> Device:
        return self.server.devices[self.user_id, self.device_id]

    async def request(self, method: str, target: str, body: JsonObject) -> JsonObject:
        """Answer a request."""
        url = urlsplit(target)
        path = url.path.removeprefix("/_matrix/client/v3")
        if (method, path) == ("POST", "/keys/upload"):
            return self._upload(body)
        if (method, path) == ("POST", "/keys/query"):
            return self._query(body["device_keys"])
        if (method, path) == ("POST", "/keys/claim"):
            return self._claim(body["one_time_keys"])
        if (method, path) == ("GET", "/sync"):
            return self._sync(int(parse_qs(url.query).get("since", ["0"])[0]))
        if method == "PUT" and path.startswith("/sendToDevice/m.room.encrypted/"):
            return self._send_to_device(body["messages"])
        if method == "PUT" and (found := re.fullmatch(r"/rooms/(.+)/send/m\.room\.encrypted/.+", path)):
            return self._send(found[1], body)
        raise LookupError(f"{method} {path}")

    def _upload(self, body: JsonObject) -> JsonObject:
        device = self._device
        device.uploads += 1
        device.device_keys = body["device_keys"]
        for key_id, key in body["one_time_keys"].items():
            assert device.one_time_keys.setdefault(key_id, key) == key, "another key under a known id"
        if body["fallback_keys"]:
            device.fallback_keys, device.fallback_used = body["fallback_keys"], False
        return {"one_time_key_counts": {"signed_curve25519": len(device.one_time_keys)}}

    def _query(self, users: JsonObject) -> JsonObject:
        found: JsonObject = {user: {} for user in users}
        for (user_id, device_id), device in self.server.devices.items():
            if user_id in found:
                found[user_id][device_id] = device.device_keys
        return {"device_keys": found}

    def _claim(self, wanted: JsonObject) -> JsonObject:
        claimed: JsonObject = {}
        for user_id, devices in wanted.items():
            for device_id in devices:
                device = self.server.devices[user_id, device_id]
                if device.one_time_keys:
                    key_id = next(iter(device.one_time_keys))
                    key = device.one_time_keys.pop(key_id)
                else:
                    [(key_id, key)] = device.fallback_keys.items()
                    device.fallback_used = True
                claimed.setdefault(user_id, {})[device_id] = {key_id: key}
        return {"one_time_keys": claimed}

    def _send_to_device(self, messages: JsonObject) -> JsonObject:
        for user_id, devices in messages.items():
            for device_id, content in devices.items():
                event = {"type": "m.room.encrypted", "sender": self.user_id, "content": content}
                self.server.put_in_queue(user_id, device_id, event)
        return {}

    def _send(self, room_id: str, content: JsonObject) -> JsonObject:
        event_id = f"${self.server.position}"
        event = {"type": "m.room.encrypted", "sender": self.user_id, "event_id": event_id, "content": content}
        self.server.put_in_room(room_id, event)
        return {"event_id": event_id}

    def _sync(self, since: int) -> JsonObject:
        device = self._device
        for at in [at for at in device.queue if at <= since]:
            del device.queue[at]
        timelines = {room_id: {"timeline": {"events": events}} for room_id, events in self.server.since(since).items()}
        return {
            "next_batch": str(self.server.position),
            "to_device": {"events": list(device.queue.values())},
            "device_one_time_keys_count": {"signed_curve25519": len(device.one_time_keys)},
            "device_unused_fallback_key_types": [] if device.fallback_used else ["signed_curve25519"],
            "rooms": {"join": timelines},
        }
