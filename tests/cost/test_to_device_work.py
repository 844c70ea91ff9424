"""Work that a stranger causes with to-device events: short steps, a budget, and nothing is lost by it."""

from __future__ import annotations

import trio

from olmstate.actors import Supervisor
from olmstate.actors._room_keys.actor import MOST_NOTICES
from olmstate.actors._to_device import work
from olmstate.actors._to_device.turns import EVENTS_A_TURN
from olmstate.messages import (
    AddDevices,
    DecryptedToDevice,
    DecryptToDevice,
    JsonObject,
    PlainToDevice,
    ReceiveSync,
    ReplayedToDevice,
    RoomId,
    RoomKeysReceived,
    Statistics,
    SyncToken,
    ToDeviceDelayed,
    UndecryptableToDevice,
    UnknownOlmSession,
    UserId,
)
from tests.cost.asks import ASKS, forged_events, letters, with_many_sessions
from tests.cost.longest_step import MOST_CALLS, longest_step
from tests.operations.peer import MEGOLM
from tests.peer.forged import FAR

FLOOD = 60
ROOM = RoomId("!room:example.org")
MALLORY = UserId("@mallory:elsewhere.example")
ATTEMPTS_A_SLICE = 1 + work.SLICE // (1 + FAR // work.STEPS_A_UNIT)
NOTHING = AddDevices(response={"device_keys": {}})


async def turns(supervisor: Supervisor) -> int:
    return (await supervisor.ask(Statistics())).turns


async def test_messages_that_no_session_decrypts_are_tried_a_few_times_at_a_time(alice: Supervisor) -> None:
    events = await forged_events(alice, FLOOD)
    async with longest_step(only="decrypt") as counted:
        outcomes = await alice.ask(DecryptToDevice(events=tuple(events)))
    assert 10 * FLOOD <= counted.total  # each on each session
    assert counted.calls <= ATTEMPTS_A_SLICE
    assert {UnknownOlmSession} == {
        type(outcome.error) for outcome in outcomes if isinstance(outcome, UndecryptableToDevice)
    }


async def test_many_events_of_many_devices_are_taken_in_a_few_at_a_time(alice: Supervisor) -> None:
    for name in (
        "DecryptToDevice, of many devices",
        "DecryptToDevice, on one session",
        "ReceiveSync, to-device events",
    ):
        message = await ASKS[name](alice, 200)
        async with longest_step() as counted:
            await alice.ask(message)
        assert counted.calls < MOST_CALLS
        assert counted.total > 4 * MOST_CALLS


async def test_usual_events_are_taken_in_in_one_turn(alice: Supervisor) -> None:
    message = await ASKS["ReceiveSync, to-device events"](alice, 100)
    before = await turns(alice)
    await alice.ask(message)
    assert 1 == await turns(alice) - before


async def test_who_floods_waits_for_turns_of_its_own_and_others_do_not(alice: Supervisor) -> None:
    flood, others = await forged_events(alice, FLOOD), await letters(alice, 10, senders=10)
    order: list[str] = []

    async def ask_something() -> None:
        await alice.ask(NOTHING)
        order.append("another command")

    before = await turns(alice)
    with alice.subscribe(ToDeviceDelayed, RoomKeysReceived) as published:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_something)
            outcomes = await alice.ask(DecryptToDevice(events=(*flood, *others)))
            order.append("the flood")
        said = [type(event) for event in (published.receive_nowait(), published.receive_nowait())]
    assert {ToDeviceDelayed, RoomKeysReceived} == set(said)
    assert ["another command", "the flood"] == order
    assert [UndecryptableToDevice] * FLOOD + [DecryptedToDevice] * 10 == [type(outcome) for outcome in outcomes]
    units = FLOOD * 10 * (1 + FAR // work.STEPS_A_UNIT)
    assert await turns(alice) - before >= units // (2 * work.SENDER)


async def test_who_floods_under_anothers_key_does_not_have_its_owner_wait(alice: Supervisor) -> None:
    """It did: what names a device's key was counted as that device's work, whoever had sent it."""
    owner = await with_many_sessions(alice)
    flood = [{**event, "sender": MALLORY} for event in await forged_events(alice, FLOOD, owner)]
    with alice.subscribe(ToDeviceDelayed, RoomKeysReceived) as published:
        outcomes = await alice.ask(DecryptToDevice(events=(*flood, *owner.room_keys(ROOM, 1))))
        told = [published.receive_nowait() for _ in range(published.statistics().current_buffer_used)]
    assert isinstance(outcomes[-1], DecryptedToDevice)
    assert [RoomKeysReceived, ToDeviceDelayed] == [type(event) for event in told]
    assert [MALLORY] == [event.claimed_sender for event in told if isinstance(event, ToDeviceDelayed)]


async def test_a_true_message_behind_a_flood_of_its_device_is_decrypted(alice: Supervisor) -> None:
    flood = await forged_events(alice, FLOOD)
    true_ones = await letters(alice, 3, senders=1)
    # as if the flood were of the same device
    for event in flood:
        event["sender"] = true_ones[0]["sender"]
        event["content"]["sender_key"] = true_ones[0]["content"]["sender_key"]
    outcomes = await alice.ask(DecryptToDevice(events=(true_ones[0], *flood, *true_ones[1:])))
    assert [DecryptedToDevice] * 3 == [type(outcomes[at]) for at in (0, -2, -1)]


async def test_notices_for_which_there_is_no_room_are_looked_through_a_little_at_a_time(alice: Supervisor) -> None:
    content = {"algorithm": MEGOLM, "room_id": ROOM, "sender_key": "theirs", "code": "m.unverified"}
    event = {"type": "m.room_key.withheld", "sender": MALLORY}
    events = [{**event, "content": {**content, "session_id": f"{number}"}} for number in range(MOST_NOTICES + 50)]
    async with longest_step() as counted:
        await alice.ask(DecryptToDevice(events=tuple(events)))
    assert counted.calls < MOST_CALLS


async def test_the_token_is_stored_with_the_last_of_what_it_acknowledges(alice: Supervisor) -> None:
    flood, others = await forged_events(alice, FLOOD), await letters(alice, 2, senders=2)
    sync = ReceiveSync(sync={"next_batch": "s1", "to_device": {"events": [*others, *flood]}})
    with alice.subscribe(ToDeviceDelayed) as delayed, trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.ask, sync)
            await delayed.receive()
            scope.cancel()
    assert await alice.ask(SyncToken()) is None  # so that the server sends all of it again

    received = await alice.ask(sync)

    assert ("s1", True) == (await alice.ask(SyncToken()), received.token_stored)
    assert [ReplayedToDevice] * 2 == [type(outcome) for outcome in received.to_device[:2]]
    assert FLOOD == sum(isinstance(outcome, UndecryptableToDevice) for outcome in received.to_device)


async def test_more_events_than_a_turn_takes_keep_their_order(alice: Supervisor) -> None:
    events: list[JsonObject] = [{"type": "m.test", "content": {"n": n}} for n in range(EVENTS_A_TURN + 50)]
    received = await alice.ask(ReceiveSync(sync={"next_batch": "s1", "to_device": {"events": events}}))
    assert events == [outcome.event for outcome in received.to_device if isinstance(outcome, PlainToDevice)]
    assert received.token_stored
