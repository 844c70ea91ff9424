"""Contents of ``m.room_key_request``, in the name of our own user's devices: whom a key is sent to by them."""

from __future__ import annotations

import json
from collections.abc import Iterable

from olmstate.messages import (
    AddDevices,
    DecryptToDevice,
    DeviceId,
    DeviceTrust,
    IdentityKeys,
    Json,
    OutgoingRequests,
    PrepareOneTimeKeys,
    RequestKind,
    SetDeviceTrust,
    UserId,
)
from tests.faults.fuzz.device import ROOM, Device, friend, lived, on_device, recording
from tests.faults.fuzz.target import Target, dump, parse
from tests.operations.peer import Peer, keys_query


def _seeds() -> Iterable[bytes]:
    body = {"algorithm": "m.megolm.v1.aes-sha2", "room_id": ROOM, "session_id": lived().group.session_id}
    request = {"action": "request", "requesting_device_id": "VERIFIED", "request_id": "1", "body": body}
    yield dump(request)
    yield dump({**request, "requesting_device_id": "UNKNOWN"})
    yield dump({**request, "requesting_device_id": "UNVERIFIED"})
    yield dump({**request, "body": {**body, "session_id": "none"}})
    yield dump({"action": "request_cancellation", "requesting_device_id": "VERIFIED", "request_id": "1"})


def _run(data: bytes) -> None:
    content = parse(data)
    user_id = UserId(recording().user_id)

    async def receive(device: Device) -> None:
        ask = device.supervisor.ask
        verified, unverified = _mate(user_id, "verified"), _mate(user_id, "unverified")
        await ask(AddDevices(response=keys_query(verified, unverified)))
        await ask(SetDeviceTrust(user_id=user_id, device_id=verified.device_id, trust=DeviceTrust.VERIFIED))
        own, keys = await ask(IdentityKeys()), await ask(PrepareOneTimeKeys())
        verified.start_session(own, next(iter((keys.one_time_keys or keys.fallback_keys).values())))
        hello = verified.event(own)
        request = {"type": "m.room_key_request", "content": content}
        events = [{**request, "sender": sender} for sender in (user_id, "@bob:rec.test")]
        await ask(DecryptToDevice(events=(hello, *events)))
        for target, messages in await _sent(device):
            assert {user_id} >= set(messages), "a key, or a refusal, goes to another user"
            if "m.room.encrypted" in target:
                assert {verified.device_id} == set(messages[user_id])
                payload = verified.read(messages[user_id][verified.device_id])
                assert "m.forwarded_room_key" == payload["type"]
                assert content["body"]["session_id"] == payload["content"]["session_id"]

    on_device(receive)


def _mate(user_id: UserId, name: str) -> Peer:
    mate = friend(name)
    mate.user_id, mate.device_id = user_id, DeviceId(name.upper())
    return mate


async def _sent(device: Device) -> list[tuple[str, Json]]:
    """What waits to be sent to devices."""
    requests = await device.supervisor.ask(OutgoingRequests())
    return [(each.path, json.loads(each.body)["messages"]) for each in requests if each.kind is RequestKind.TO_DEVICE]


TARGET = Target(seeds=_seeds, run=_run)
