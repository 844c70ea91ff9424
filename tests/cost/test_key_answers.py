"""What it takes to answer a device of our user's that asks for room keys, however many have claimed these."""

from __future__ import annotations

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


async def asks_of_another(
    alice: Supervisor, *, sessions: int, users: int, olm_sessions: bool = True
) -> list[JsonObject]:
    """A verified device asks for keys, each of which many users have claimed as often as anybody can."""
    me = await alice.ask(IdentityKeys())
    two = Peer(me.user_id, DeviceId("TWO"))
    await alice.ask(add_devices(two))
    trusted = SetDeviceTrust(user_id=two.user_id, device_id=two.device_id, trust=DeviceTrust.VERIFIED)
    await alice.ask(trusted)
    if olm_sessions:
        await alice.ask(CreateOlmSessions(one_time_keys=claimed([two])))
    asks: list[JsonObject] = []
    for room in [Room(Peer(), ROOM) for _ in range(sessions)]:
        for claim in range(users * CLAIMS_A_USER):
            await alice.ask(Peer(f"@m{claim % users}:elsewhere.example").add_room_key(ROOM, room.group))
        body = {"algorithm": MEGOLM, "room_id": ROOM, "session_id": room.session_id}
        content = {"action": "request", "requesting_device_id": two.device_id, "body": body}
        content["request_id"] = room.session_id
        asks.append({"type": "m.room_key_request", "sender": me.user_id, "content": content})
    return asks


async def test_many_claims_on_a_key_are_looked_through_a_little_at_a_time_and_once(alice: Supervisor) -> None:
    (first,) = await asks_of_another(alice, sessions=1, users=130)
    again = [{**first, "content": {**first["content"], "request_id": str(number)}} for number in range(20)]
    async with longest_step() as once:
        await alice.ask(DecryptToDevice(events=(first,)))
    async with longest_step() as many:
        await alice.ask(DecryptToDevice(events=tuple(again)))
    assert max(once.calls, many.calls) < MOST_CALLS
    assert 4 * MOST_CALLS < once.total
    assert many.total < 2 * once.total


async def test_requests_that_wait_for_an_olm_session_are_kept_a_little_at_a_time(alice: Supervisor) -> None:
    (event,) = await asks_of_another(alice, sessions=1, users=1, olm_sessions=False)
    again = [{**event, "content": {**event["content"], "request_id": f"{number}"}} for number in range(1000)]
    async with longest_step() as counted:
        await alice.ask(DecryptToDevice(events=tuple(again)))
    assert counted.calls < MOST_CALLS


async def test_keys_that_many_have_claimed_are_sent_a_little_at_a_time(alice: Supervisor) -> None:
    asks = await asks_of_another(alice, sessions=12, users=4)
    async with longest_step() as counted:
        await alice.ask(DecryptToDevice(events=tuple(asks)))
    assert counted.calls < MOST_CALLS
    assert 4 * MOST_CALLS < counted.total
