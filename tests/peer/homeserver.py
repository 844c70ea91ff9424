"""A homeserver in memory: the client-server API as far as end-to-end encryption goes, without HTTP.

Owns: who is logged in, to-device messages on their way, and what has been asked for; keys and rooms are
    `tests.peer.key_server`'s and `tests.peer.rooms`'.
Rule: as strict as a real one where it matters: a to-device message is delivered until a sync acknowledges it, at most a
    hundred at a time, and then never again; what was sent under a transaction id is sent once. `tests.interop` runs the
    same devices on this one and on Synapse.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import attrs

from tests.peer.key_server import KeyServer, PublishedKeys
from tests.peer.names import DeviceId, JsonObject, UserId
from tests.peer.rooms import Rooms
from tests.peer.session import API, RequestRefused, Session


@attrs.frozen(kw_only=True)
class Asked:
    """A request that the homeserver has answered."""

    user_id: str
    device_id: str
    method: str
    target: str
    body: JsonObject | None = attrs.field(repr=False)
    answer: JsonObject = attrs.field(repr=False)


@attrs.define
class _Login:
    queue: list[tuple[int, JsonObject]] = attrs.field(factory=list[tuple[int, JsonObject]])
    """To-device events by their place in the stream."""
    sent: dict[tuple[str, ...], JsonObject] = attrs.field(factory=dict[tuple[str, ...], JsonObject])
    """The answers to what had a transaction id, which is the last part of what was asked for."""
    transactions: dict[str, str] = attrs.field(factory=dict[str, str])
    """Transaction ids of what this device has sent to rooms, by event id."""
    sharing: dict[int, set[str]] = attrs.field(factory=dict[int, set[str]])
    """Who shared a room with the user at each of its syncs, by the sync's mark."""


class _Mark(NamedTuple):
    """Where two streams were when a sync was answered."""

    rooms: int
    changes: int


class Homeserver:
    """One server. `log_in` gives a device its session, on which everything else is asked for."""

    TO_DEVICE_LIMIT: ClassVar = 100

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self.keys = KeyServer()
        self.rooms = Rooms(clock)
        self.asked: list[Asked] = []
        self._logins: dict[tuple[str, str], _Login] = {}
        self._account_data: dict[tuple[str, str], JsonObject] = {}
        self._position = 0
        self._marks = [_Mark(0, 0)]
        """One for each sync that was answered, and one for the beginning."""

    def log_in(self, user_id: str, device_id: str) -> Session:
        """A new device."""
        self._logins[user_id, device_id] = _Login()
        self.keys.devices[user_id, device_id] = PublishedKeys()
        return self.session_of(user_id, device_id)

    def session_of(self, user_id: str, device_id: str) -> Session:
        """A device that has logged in."""
        request = partial(self._request, user_id, device_id)
        return Session(user_id=UserId(user_id), device_id=DeviceId(device_id), request=request)

    def log_out(self, session: Session) -> None:
        """The device is gone; its user goes on."""
        del self._logins[session.user_id, session.device_id]
        if self.keys.devices.pop((session.user_id, session.device_id)).device_keys:
            self.keys.changes.append(session.user_id)

    def queued_for(self, session: Session) -> list[JsonObject]:
        """To-device events that wait for a device."""
        return [event for _, event in self._logins[session.user_id, session.device_id].queue]

    async def _request(
        self, user_id: str, device_id: str, method: str, target: str, body: JsonObject | None
    ) -> JsonObject:
        body = json.loads(json.dumps(body))  # what was sent can't be changed any more, and is what JSON can say
        url = urlsplit(target)
        if (user_id, device_id) not in self._logins:
            raise RequestRefused(401, {"errcode": "M_UNKNOWN_TOKEN", "error": "logged out"})
        parts = tuple(unquote(part) for part in url.path.removeprefix(f"{API}/").split("/"))
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        answer = self._answer(user_id, device_id, (method, *parts), query, body or {})
        answer = copy.deepcopy(answer)
        asked = Asked(user_id=user_id, device_id=device_id, method=method, target=target, body=body, answer=answer)
        self.asked.append(asked)
        return answer

    def _answer(  # noqa: C901, PLR0912 - a table of what can be asked for
        self, user_id: str, device_id: str, asked: tuple[str, ...], query: dict[str, str], body: JsonObject
    ) -> JsonObject:
        match asked:
            case ("GET", "account", "whoami"):
                return {"user_id": user_id, "device_id": device_id}
            case ("POST", "keys", "upload"):
                return self.keys.upload(user_id, device_id, body)
            case ("POST", "keys", "query"):
                return self.keys.query(user_id, body)
            case ("POST", "keys", "claim"):
                return self.keys.claim(body)
            case ("GET", "keys", "changes"):
                since, until = _token(query["from"])[1], _token(query["to"])[1]
                return self._device_lists(self._logins[user_id, device_id], since, until)
            case ("POST", "keys", "device_signing", "upload"):
                return self.keys.upload_identity(user_id, body)
            case ("POST", "keys", "signatures", "upload"):
                return self.keys.upload_signatures(body)
            case ("GET", "sync"):
                return self._sync(user_id, device_id, query.get("since"))
            case ("PUT", "sendToDevice", event_type, _):
                send = partial(self._send_to_device, user_id, event_type, body["messages"])
                return self._once(user_id, device_id, asked, send)
            case ("POST", "createRoom"):
                return self.rooms.create(user_id, body)
            case ("POST", "rooms", room_id, ("invite" | "join" | "leave" | "kick" | "ban") as what):
                room = self.rooms.of(user_id, room_id)
                membership = "leave" if what == "kick" else what
                self.rooms.set_membership(room, user_id, body.get("user_id", user_id), membership)
                return {}
            case ("GET", "rooms", room_id, "members"):
                room = self.rooms.of(user_id, room_id)
                memberships = {member: membership for member, (_, membership) in room.members.items()}
                return {"chunk": [{"state_key": m, "content": {"membership": at}} for m, at in memberships.items()]}
            case ("GET", "rooms", room_id, "event", event_id):
                timeline = self.rooms.of(user_id, room_id).timeline
                return next(event for event in timeline if event["event_id"] == event_id)
            case ("PUT", "rooms", room_id, "send", _, _):
                send = partial(self._send, (user_id, device_id), room_id, asked, body)
                return self._once(user_id, device_id, asked, send)
            case ("PUT", "user", _, "account_data", data_type):
                self._account_data[user_id, data_type] = body
                return {}
            case ("GET", "user", _, "account_data", data_type) if (user_id, data_type) in self._account_data:
                return self._account_data[user_id, data_type]
            case _:
                raise RequestRefused(404, {"errcode": "M_NOT_FOUND", "error": " ".join(asked)})

    def _once(self, user_id: str, device_id: str, asked: tuple[str, ...], send: partial[JsonObject]) -> JsonObject:
        sent = self._logins[user_id, device_id].sent
        if asked not in sent:
            sent[asked] = send()
        return sent[asked]

    def _send(self, sender: tuple[str, str], room_id: str, asked: tuple[str, ...], content: JsonObject) -> JsonObject:
        user_id, _ = sender
        event = self.rooms.add(self.rooms.of(user_id, room_id), user_id, asked[-2], content)
        self._logins[sender].transactions[event["event_id"]] = asked[-1]
        return {"event_id": event["event_id"]}

    def _send_to_device(self, sender: str, event_type: str, messages: dict[str, dict[str, Any]]) -> JsonObject:
        for user_id, devices in messages.items():
            for device_id, content in devices.items():
                self._position += 1
                event: JsonObject = {"type": event_type, "sender": sender, "content": content}
                for (owner, of), login in self._logins.items():
                    if owner == user_id and device_id in {"*", of}:
                        login.queue.append((self._position, event))
        return {}

    # --- syncing ----------------------------------------------------------------------------------------------------

    def _sync(self, user_id: str, device_id: str, since: str | None) -> JsonObject:
        login = self._logins[user_id, device_id]
        seen, mark = _token(since)
        login.queue = [(at, event) for at, event in login.queue if at > seen]
        delivered = login.queue[: self.TO_DEVICE_LIMIT]
        self._marks.append(_Mark(self.rooms.position, len(self.keys.changes)))
        next_mark = len(self._marks) - 1
        keys = self.keys.devices[user_id, device_id]
        login.sharing[next_mark] = self.rooms.sharing_with(user_id)
        answer: JsonObject = {
            "next_batch": f"{delivered[-1][0] if delivered else seen}_{next_mark}",
            "to_device": {"events": [event for _, event in delivered]},
            "device_one_time_keys_count": keys.counts,
            "device_unused_fallback_key_types": keys.unused_fallback_key_types,
            "rooms": _with_transactions(self.rooms.since(user_id, self._marks[mark].rooms), login.transactions),
        }
        if since is not None:
            answer["device_lists"] = self._device_lists(login, mark, next_mark)
        return answer

    def _device_lists(self, login: _Login, since: int, until: int) -> JsonObject:
        before, after = login.sharing.get(since, set[str]()), login.sharing[until]
        changed = set(self.keys.changes[self._marks[since].changes : self._marks[until].changes])
        return {"changed": sorted(changed & after | after - before), "left": sorted(before - after)}


def _with_transactions(rooms: JsonObject, transactions: dict[str, str]) -> JsonObject:
    """A device sees under which id it has sent an event itself."""
    rooms = copy.deepcopy(rooms)
    for room in rooms["join"].values():
        for event in room["timeline"]["events"]:
            if event["event_id"] in transactions:
                event["unsigned"] = {"transaction_id": transactions[event["event_id"]]}
    return rooms


def _token(token: str | None) -> tuple[int, int]:
    """The place in the to-device stream, and the number of the mark, that a ``next_batch`` stands for."""
    place, mark = (token or "0_0").split("_")
    return int(place), int(mark)
