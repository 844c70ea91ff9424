"""The parts of a Matrix client that touch encryption state, with olmstate behind them.

``request`` is your HTTP client: method, path and JSON body in, JSON out.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import quote, urlencode
from uuid import uuid4

import attrs

from olmstate.actors import Supervisor, encrypted_events
from olmstate.messages import (
    AddDevices,
    CreateOlmSessions,
    DecryptedRoomEvent,
    DecryptionError,
    DecryptRoomEvents,
    DeviceAddress,
    Devices,
    EncryptRoomEvent,
    EventId,
    JsonObject,
    MarkKeysPublished,
    MarkRequestSent,
    MissingSessions,
    PrepareOneTimeKeys,
    ReceiveSync,
    RoomId,
    RoomKeyNotShared,
    RoomKeyReplaced,
    RotationPeriod,
    ShareRoomKey,
    SignedDeviceKeys,
    SyncToken,
    ToDeviceOutcome,
    UserId,
)

Request = Callable[[str, str, JsonObject], Awaitable[JsonObject]]
API = "/_matrix/client/v3"
USUAL = RotationPeriod()


async def upload_keys(supervisor: Supervisor, request: Request) -> None:
    """Publish the device's keys, and the one-time keys that the server lacks."""
    keys = await supervisor.ask(PrepareOneTimeKeys())
    if keys.is_due:
        # perhaps with nothing in it: the answer says how many keys the server has
        body: JsonObject = {
            "device_keys": await supervisor.ask(SignedDeviceKeys()),
            "one_time_keys": keys.one_time_keys,
            "fallback_keys": keys.fallback_keys,
        }
        answer = await request("POST", f"{API}/keys/upload", body)
        await supervisor.ask(
            MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=answer)
        )


@attrs.frozen(kw_only=True)
class Synced:
    """What a sync brought, for this process to work on."""

    read: tuple[DecryptedRoomEvent, ...] = ()
    unread: tuple[tuple[RoomId, JsonObject, DecryptionError], ...] = ()
    """Their room keys may come later, or not at all: the error says which."""
    rotation: tuple[tuple[RoomId, RotationPeriod], ...] = ()
    """Of rooms whose settings were told or have changed."""
    to_device: tuple[ToDeviceOutcome, ...] = ()


async def sync(
    supervisor: Supervisor, request: Request, timeout_ms: int = 30_000
) -> Synced:
    """Wait for something new, take it in, and read the rooms."""
    since = await supervisor.ask(SyncToken())
    query = {"timeout": str(timeout_ms)} | ({"since": since} if since else {})
    response = await request("GET", f"{API}/sync?{urlencode(query)}", {})
    received = await supervisor.ask(ReceiveSync(sync=response, since=since))
    if not received.token_stored:
        return Synced()  # another process has taken it in, and works on it
    encrypted = encrypted_events(response)
    results = await supervisor.ask(DecryptRoomEvents(events=encrypted))
    read = (each for each in results if isinstance(each, DecryptedRoomEvent))
    unread = (
        (*each, error)
        for each, error in zip(encrypted, results, strict=True)
        if isinstance(error, DecryptionError)
    )
    rotation = (
        (room_id, RotationPeriod.from_content(event.get("content", {})))
        for room_id, event in events_of(response)
        if event.get("type") == "m.room.encryption"
    )
    return Synced(
        read=tuple(read),
        unread=tuple(unread),
        rotation=tuple(rotation),
        to_device=received.to_device,
    )


def events_of(response: JsonObject) -> Iterator[tuple[RoomId, JsonObject]]:
    """The rooms' events. A homeserver leaves out whatever is empty."""
    for room_id, room in response.get("rooms", {}).get("join", {}).items():
        for part in ("state", "timeline"):
            for event in room.get(part, {}).get("events", []):
                yield RoomId(room_id), event


async def learn_devices(
    supervisor: Supervisor, request: Request, users: list[UserId]
) -> tuple[DeviceAddress, ...]:
    """Ask the server for the users' devices, and keep those that signed their keys."""
    wanted: JsonObject = {"device_keys": {user: [] for user in users}}
    response = await request("POST", f"{API}/keys/query", wanted)
    await supervisor.ask(AddDevices(response=response))
    devices = await supervisor.ask(Devices(users=tuple(users)))
    return tuple(device.address for device in devices)


async def share_room_key(
    supervisor: Supervisor,
    request: Request,
    room_id: RoomId,
    devices: tuple[DeviceAddress, ...],
    rotation: RotationPeriod,
) -> None:
    """Give the room's key to all devices in it that don't have it."""
    missing = await supervisor.ask(MissingSessions(devices=devices))
    if missing.claim is not None:
        response = await request("POST", f"{API}/keys/claim", missing.claim)
        await supervisor.ask(CreateOlmSessions(one_time_keys=response))
    message = ShareRoomKey(room_id=room_id, devices=devices, rotation=rotation)
    for each in (await supervisor.ask(message)).requests:
        # killed before the answer is marked, the next process sends the same again
        response = await request(each.method, each.path, json.loads(each.body))
        sent = MarkRequestSent(request_id=each.request_id, response=response)
        await supervisor.ask(sent)


async def send(
    supervisor: Supervisor,
    request: Request,
    room_id: RoomId,
    content: JsonObject,
    devices: tuple[DeviceAddress, ...],
    *,
    rotation: RotationPeriod = USUAL,
) -> EventId:
    """Send a message that ``devices``, all those in the room now, can read."""
    message = EncryptRoomEvent(room_id=room_id, type="m.room.message", content=content)
    while True:
        try:
            await share_room_key(supervisor, request, room_id, devices, rotation)
            encrypted = await supervisor.ask(message)
            break
        except (RoomKeyNotShared, RoomKeyReplaced):
            continue  # another process has used it up, or replaced it, in between
    path = f"{API}/rooms/{quote(room_id)}/send/m.room.encrypted/{uuid4()}"
    answer = await request("PUT", path, encrypted.content)
    return EventId(answer["event_id"])
