"""Scenarios of room keys that our user's devices ask each other for."""

from __future__ import annotations

from olmstate.actors.testing import USER
from olmstate.messages import (
    AddDevices,
    CancelRoomKeyRequests,
    CreateOlmSessions,
    DecryptRoomEvent,
    DecryptToDevice,
    DeviceId,
    DeviceTrust,
    JsonObject,
    MegolmSessionId,
    OutgoingRequests,
    RequestKind,
    RequestRoomKeys,
    RoomId,
    RoomKeyRequest,
    RoomKeyRequests,
    RoomKeysRequested,
    SetDeviceTrust,
    UserId,
)
from tests.operations.peer import Peer, keys_query
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario, add_a_room_key
from tests.simulation.world import ROOMS

MISSING = ROOMS[0], MegolmSessionId("missing")


async def other_device(client: Client) -> Peer:
    """A verified one of our user's."""
    other = Peer(UserId(USER), DeviceId("TWO"))
    await client.supervisor.ask(AddDevices(response=keys_query(other)))
    await client.supervisor.ask(
        SetDeviceTrust(user_id=other.user_id, device_id=other.device_id, trust=DeviceTrust.VERIFIED)
    )
    return other


async def bodies(client: Client) -> bytes:
    requests = await client.supervisor.ask(OutgoingRequests())
    return b"".join(each.body for each in requests if each.kind is RequestKind.TO_DEVICE)


async def request_room_keys(client: Client) -> Prepared:
    """There is a device to ask."""
    other = await other_device(client)

    def right(reply: RoomKeysRequested) -> bool:
        return (other.device_id,) == reply.devices

    async def it_is_asked(client: Client) -> None:
        (request,) = await client.supervisor.ask(RoomKeyRequests())
        assert request.request_id.encode() in await bodies(client)

    return Prepared(RequestRoomKeys(sessions=(MISSING,)), it_is_asked, right)


async def cancel_room_key_requests(client: Client) -> Prepared:
    """There is one."""
    await other_device(client)
    await client.supervisor.ask(RequestRoomKeys(sessions=(MISSING,)))

    async def it_is_over(client: Client) -> None:
        assert () == await client.supervisor.ask(RoomKeyRequests())

    return Prepared(CancelRoomKeyRequests(sessions=(MISSING,)), it_is_over)


async def room_key_requests(client: Client) -> Prepared:
    """There is one."""
    await other_device(client)
    await client.supervisor.ask(RequestRoomKeys(sessions=(MISSING,)))

    def right(reply: tuple[RoomKeyRequest, ...]) -> bool:
        return [MISSING] == [(each.room_id, each.session_id) for each in reply]

    return Prepared(RoomKeyRequests(), right=right, elsewhere=add_a_room_key(client))


async def be_refused_a_room_key(client: Client) -> Prepared:
    """The other device lacks it, too."""
    other = await other_device(client)
    await client.supervisor.ask(RequestRoomKeys(sessions=(MISSING,)))
    content = {"room_id": MISSING[0], "session_id": MISSING[1], "sender_key": other.curve25519, "code": "m.unavailable"}
    message = DecryptToDevice(events=({"type": "m.room_key.withheld", "sender": USER, "content": content},))

    async def it_is_known(client: Client) -> None:
        (request,) = await client.supervisor.ask(RoomKeyRequests())
        assert {other.device_id: "m.unavailable"} == request.refused

    return Prepared(message, it_is_known, elsewhere=Elsewhere(message))


async def be_forwarded_a_room_key(client: Client) -> Prepared:
    """It was asked for, and the other device has it."""
    other = await other_device(client)
    key = client.world.new_room_key(client.world.peers[0])
    event = key.events[0]
    await client.supervisor.ask(RequestRoomKeys(events=((key.room_id, event),)))
    client.world.meet(other)
    content = {**key.export(), "sender_claimed_ed25519_key": key.maker.ed25519}
    message = DecryptToDevice(events=(other.event(client.world.me, "m.forwarded_room_key", content),))

    async def it_is_read(client: Client) -> None:
        decrypted = await client.supervisor.ask(DecryptRoomEvent(room_id=key.room_id, event=event))
        assert decrypted.encryption_info.forwarded
        assert () == await client.supervisor.ask(RoomKeyRequests())

    return Prepared(message, it_is_read, elsewhere=Elsewhere(message))


def _request(room_id: RoomId, session_id: str) -> JsonObject:
    body = {"algorithm": "m.megolm.v1.aes-sha2", "room_id": room_id, "session_id": session_id}
    content = {"action": "request", "requesting_device_id": "TWO", "request_id": "1", "body": body}
    return {"type": "m.room_key_request", "sender": USER, "content": content}


async def be_asked_for_a_room_key(client: Client) -> Prepared:
    """There is an Olm session."""
    other = await other_device(client)
    claimed: JsonObject = {other.user_id: {other.device_id: other.one_time_key()}}
    await client.supervisor.ask(CreateOlmSessions(one_time_keys=claimed))
    key = client.world.new_room_key(client.world.peers[0])
    await client.supervisor.ask(key.add_room_key())

    async def it_is_sent(client: Client) -> None:
        assert other.curve25519.encode() in await bodies(client)

    return Prepared(DecryptToDevice(events=(_request(key.room_id, key.session_id),)), it_is_sent)


async def be_asked_without_a_session(client: Client) -> Prepared:
    """A key of the device must be claimed first."""
    await other_device(client)
    key = client.world.new_room_key(client.world.peers[0])
    await client.supervisor.ask(key.add_room_key())

    async def a_key_is_claimed(client: Client) -> None:
        requests = await client.supervisor.ask(OutgoingRequests())
        assert any(each.kind is RequestKind.KEYS_CLAIM and b"TWO" in each.body for each in requests)

    return Prepared(DecryptToDevice(events=(_request(key.room_id, key.session_id),)), a_key_is_claimed)


SCENARIOS = (
    Scenario(prepare=request_room_keys),
    Scenario(prepare=cancel_room_key_requests),
    Scenario(prepare=room_key_requests),
    Scenario(prepare=be_refused_a_room_key),
    Scenario(prepare=be_forwarded_a_room_key),
    Scenario(prepare=be_asked_for_a_room_key),
    Scenario(prepare=be_asked_without_a_session),
)
