"""The parts of a Matrix client that touch encryption state, with olmstate behind them.

``request`` is your HTTP client: method, path and JSON body in, JSON out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    CreateOlmSessions,
    DecryptedRoomEvent,
    DecryptRoomEvents,
    DeviceAddress,
    Devices,
    EncryptRoomEvent,
    EventId,
    JsonObject,
    MarkKeysPublished,
    MarkRoomKeyShared,
    PrepareOneTimeKeys,
    ReceiveSync,
    RoomId,
    RoomKeyNotShared,
    RoomKeyReplaced,
    RoomKeyShare,
    ShareRoomKey,
    SignedDeviceKeys,
    SyncToken,
    UserId,
)

Request = Callable[[str, str, JsonObject], Awaitable[JsonObject]]
API = "/_matrix/client/v3"


async def upload_keys(supervisor: Supervisor, request: Request) -> None:
    """Publish the device's keys, and the one-time keys that the server lacks."""
    keys = await supervisor.ask(PrepareOneTimeKeys())
    if keys.is_due:  # perhaps with nothing in it: the answer says how many keys the server has
        body: JsonObject = {
            "device_keys": await supervisor.ask(SignedDeviceKeys()),
            "one_time_keys": keys.one_time_keys,
            "fallback_keys": keys.fallback_keys,
        }
        answer = await request("POST", f"{API}/keys/upload", body)
        await supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=answer))


async def sync(supervisor: Supervisor, request: Request) -> list[DecryptedRoomEvent]:
    """One sync: take in what came for the device, then read the rooms."""
    since = await supervisor.ask(SyncToken())
    response = await request("GET", f"{API}/sync" + (f"?since={since}" if since else ""), {})
    await supervisor.ask(ReceiveSync(sync=response, since=since))
    events = tuple(
        (RoomId(room_id), event)
        for room_id, room in response["rooms"]["join"].items()
        for event in room["timeline"]["events"]
        if event["type"] == "m.room.encrypted"
    )
    results = await supervisor.ask(DecryptRoomEvents(events=events))
    return [result for result in results if isinstance(result, DecryptedRoomEvent)]


async def learn_devices(
    supervisor: Supervisor, request: Request, users: list[UserId]
) -> tuple[DeviceAddress, ...]:
    """Ask the server for the users' devices, and keep those that signed their keys."""
    response = await request("POST", f"{API}/keys/query", {"device_keys": {user: [] for user in users}})
    await supervisor.ask(AddDevices(response=response))
    devices = [device for user in users for device in await supervisor.ask(Devices(user_id=user))]
    return tuple(DeviceAddress(user_id=device.user_id, device_id=device.device_id) for device in devices)


async def share_room_key(
    supervisor: Supervisor,
    request: Request,
    room_id: RoomId,
    devices: tuple[DeviceAddress, ...],
) -> None:
    """Give the room's key to all devices in it that don't have it."""
    share = await supervisor.ask(ShareRoomKey(room_id=room_id, devices=devices))
    if share.missing:
        await claim_keys(supervisor, request, share.missing)
        await deliver(supervisor, request, room_id, share)
        share = await supervisor.ask(ShareRoomKey(room_id=room_id, devices=devices))
    await deliver(supervisor, request, room_id, share)


async def claim_keys(supervisor: Supervisor, request: Request, devices: tuple[DeviceAddress, ...]) -> None:
    """Start Olm sessions with devices."""
    wanted: dict[str, dict[str, str]] = {}
    for device in devices:
        wanted.setdefault(device.user_id, {})[device.device_id] = "signed_curve25519"
    response = await request("POST", f"{API}/keys/claim", {"one_time_keys": wanted})
    await supervisor.ask(CreateOlmSessions(one_time_keys=response))


async def deliver(supervisor: Supervisor, request: Request, room_id: RoomId, share: RoomKeyShare) -> None:
    """Send the room key, and only then say that it was shared."""
    for messages in share.requests:
        await request("PUT", f"{API}/sendToDevice/m.room.encrypted/{uuid4()}", {"messages": messages})
    done = MarkRoomKeyShared(room_id=room_id, session_id=share.session_id, devices=share.recipients)
    await supervisor.ask(done)


async def send(
    supervisor: Supervisor,
    request: Request,
    room_id: RoomId,
    content: JsonObject,
    devices: tuple[DeviceAddress, ...],
) -> EventId:
    """Send a message that ``devices``, all those in the room now, can read."""
    message = EncryptRoomEvent(room_id=room_id, type="m.room.message", content=content)
    while True:
        try:
            await share_room_key(supervisor, request, room_id, devices)
            encrypted = await supervisor.ask(message)
            break
        except (RoomKeyNotShared, RoomKeyReplaced):
            continue  # another process has used the session up, or replaced it, in between
    answer = await request("PUT", f"{API}/rooms/{room_id}/send/m.room.encrypted/{uuid4()}", encrypted.content)
    return EventId(answer["event_id"])
