"""What it takes to answer a device of our user's that asks for a room key, however many have claimed that key."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from olmstate.actors import Supervisor
from olmstate.actors._room_keys.claims import CLAIMS_A_USER
from olmstate.messages import (
    CreateOlmSessions,
    DecryptToDevice,
    DeviceId,
    DeviceTrust,
    IdentityKeys,
    JsonObject,
    SetDeviceTrust,
)
from tests.cost.longest_step import MOST_CALLS, longest_step
from tests.operations.device import ROOM
from tests.operations.peer import MEGOLM, Peer, Room, add_devices, claimed

USERS = 130


@pytest.fixture
async def requests(alice: Supervisor) -> Sequence[JsonObject]:
    """A verified device asks for a key that many have claimed, again and again."""
    me, room = await alice.ask(IdentityKeys()), Room(Peer(), ROOM)
    two = Peer(me.user_id, DeviceId("TWO"))
    await alice.ask(add_devices(two))
    trusted = SetDeviceTrust(user_id=two.user_id, device_id=two.device_id, trust=DeviceTrust.VERIFIED)
    await alice.ask(trusted)
    await alice.ask(CreateOlmSessions(one_time_keys=claimed([two])))
    for number in range(USERS):
        for _ in range(CLAIMS_A_USER):
            await alice.ask(Peer(f"@m{number}:elsewhere.example").add_room_key(ROOM, room.group))
    body = {"algorithm": MEGOLM, "room_id": ROOM, "session_id": room.session_id}
    content = {"action": "request", "requesting_device_id": two.device_id, "body": body}
    return [
        {"type": "m.room_key_request", "sender": me.user_id, "content": {**content, "request_id": str(number)}}
        for number in range(20)
    ]


async def test_many_claims_on_a_key_are_looked_through_a_little_at_a_time_and_once(
    alice: Supervisor, requests: Sequence[JsonObject]
) -> None:
    async with longest_step() as once:
        await alice.ask(DecryptToDevice(events=(requests[0],)))
    async with longest_step() as many:
        await alice.ask(DecryptToDevice(events=tuple(requests)))
    assert max(once.calls, many.calls) < MOST_CALLS
    assert 4 * MOST_CALLS < once.total
    assert many.total < 2 * once.total
