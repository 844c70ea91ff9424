"""More of what can be asked with an input of any size: what syncs tell, parked events, and lists of users.

As `tests.cost.asks`, for the tests alone: the benchmark has none of these, which all take a millisecond or two.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.messages import (
    EventId,
    ForgetParkedEvents,
    IdentityKeys,
    JsonObject,
    MegolmSessionId,
    Message,
    ParkedEvents,
    ParkEvents,
    ReceiveSync,
    RequestRoomKeys,
    RoomId,
    TrackUsers,
    UserId,
    Verifications,
)
from tests.bench.people import MEGOLM, people
from tests.cost.asks import ASKS, Prepare

_numbers = itertools.count()
_first = itertools.count(10_000_000, 10_000)
ROOM = RoomId("!room:example.org")


def _users(size: int) -> tuple[UserId, ...]:
    return tuple(person.user_id for person in people(size, next(_first)))


def _sync(**parts: Any) -> ReceiveSync:  # noqa: ANN401 - of a response
    return ReceiveSync(sync={"next_batch": f"s{next(_numbers)}", **parts})


def _unread(size: int) -> list[JsonObject]:
    """Events of sessions that nobody has, each of its own."""
    events: list[JsonObject] = []
    for _ in range(size):
        group = GroupSession()
        content = {
            "algorithm": MEGOLM,
            "session_id": group.session_id,
            "ciphertext": group.encrypt(b"{}").to_base64(),
        }
        event_id = f"$unread{next(_numbers)}"
        events.append({"type": "m.room.encrypted", "event_id": event_id, "sender": "@b:e.org", "content": content})
    return events


async def _parking(_: Supervisor, size: int) -> Message[Any]:
    return ParkEvents(events=tuple((ROOM, event) for event in _unread(size)))


async def _listing_parked(supervisor: Supervisor, size: int) -> Message[Any]:
    await supervisor.ask(await _parking(supervisor, size))
    return ParkedEvents()


async def _forgetting(supervisor: Supervisor, size: int) -> Message[Any]:
    events = _unread(size)
    await supervisor.ask(ParkEvents(events=tuple((ROOM, event) for event in events)))
    return ForgetParkedEvents(events=tuple((ROOM, EventId(event["event_id"])) for event in events))


async def _tracking(_: Supervisor, size: int) -> Message[Any]:
    return TrackUsers(users=_users(size))


async def _changed_devices(supervisor: Supervisor, size: int) -> Message[Any]:
    users = _users(size)
    await supervisor.ask(TrackUsers(users=users))
    return _sync(device_lists={"changed": list(users)})


async def _requesting_keys(_: Supervisor, size: int) -> Message[Any]:
    return RequestRoomKeys(sessions=tuple((ROOM, MegolmSessionId(f"{next(_numbers)}")) for _ in range(size)))


async def _rooms_settings(_: Supervisor, size: int) -> Message[Any]:
    settings = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": MEGOLM}}
    rooms = {f"!{next(_numbers)}:example.org": {"state": {"events": [settings]}} for _ in range(size)}
    return _sync(rooms={"join": rooms})


async def _verification_requests(_: Supervisor, size: int) -> Message[Any]:
    return _sync(to_device={"events": [_verification_request(user_id) for user_id in _users(size)]})


def _verification_request(user_id: UserId) -> JsonObject:
    content = {
        "from_device": "DEV",
        "methods": ["m.sas.v1"],
        "transaction_id": f"{next(_numbers)}",
        "timestamp": 2_000_000_000_000,
    }
    return {"type": "m.key.verification.request", "sender": user_id, "content": content}


async def _verifications(supervisor: Supervisor, size: int) -> Message[Any]:
    await supervisor.ask(await _verification_requests(supervisor, size))
    return Verifications()


async def _notices(_: Supervisor, size: int) -> Message[Any]:
    events = [
        {
            "type": "m.room_key.withheld",
            "sender": "@bob:example.org",
            "content": {
                "room_id": ROOM,
                "session_id": f"{next(_numbers)}",
                "code": "m.unverified",
                "algorithm": MEGOLM,
            },
        }
        for _ in range(size)
    ]
    return _sync(to_device={"events": events})


async def _key_requests(supervisor: Supervisor, size: int) -> Message[Any]:
    own = await supervisor.ask(IdentityKeys())
    events = [
        {
            "type": "m.room_key_request",
            "sender": own.user_id,
            "content": {
                "action": "request",
                "requesting_device_id": "OTHER",
                "request_id": f"{next(_numbers)}",
                "body": {"room_id": ROOM, "session_id": f"{next(_numbers)}", "algorithm": MEGOLM},
            },
        }
        for _ in range(size)
    ]
    return _sync(to_device={"events": events})


async def _account_data(_: Supervisor, size: int) -> Message[Any]:
    events = [{"type": f"m.secret_storage.key.{next(_numbers)}", "content": {"name": "x"}} for _ in range(size)]
    return _sync(account_data={"events": events})


ALL_ASKS: Mapping[str, Prepare] = {
    **ASKS,
    "ForgetParkedEvents": _forgetting,
    "ParkEvents": _parking,
    "ParkedEvents": _listing_parked,
    "ReceiveSync, account data": _account_data,
    "ReceiveSync, changed devices": _changed_devices,
    "ReceiveSync, key requests": _key_requests,
    "ReceiveSync, notices": _notices,
    "ReceiveSync, rooms' settings": _rooms_settings,
    "ReceiveSync, verification requests": _verification_requests,
    "RequestRoomKeys": _requesting_keys,
    "TrackUsers": _tracking,
    "Verifications": _verifications,
}
