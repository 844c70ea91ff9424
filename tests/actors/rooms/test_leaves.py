"""A leave that a sync shows ends the room's session."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from olmstate.actors._room_settings.from_sync import EVENTS_AT_ONCE
from olmstate.actors._rooms.leaves import rooms_with_leaves
from olmstate.actors._wire.steps import at_once
from olmstate.messages import EncryptForRoom, Json, JsonObject, ReceiveSync, RoomId, Statistics, UserId
from tests.actors.world import World

ROOM = RoomId("!room:example.org")
BOB = UserId("@bob:example.org")


def member(membership: Json, before: Json = "join") -> JsonObject:
    event: JsonObject = {"type": "m.room.member", "state_key": BOB, "content": {"membership": membership}}
    return event if before is None else {**event, "unsigned": {"prev_content": {"membership": before}}}


def sync(*events: Json, limited: bool = False, state: Json = None) -> JsonObject:
    room: JsonObject = {"timeline": {"events": list(events), "limited": limited}, "state": state}
    return {"next_batch": "s1", "rooms": {"join": {ROOM: room}}}


@pytest.mark.parametrize(
    ("membership", "before", "limited", "expected"),
    [
        ("leave", "join", False, True),
        ("ban", "join", False, True),
        ("leave", "invite", False, True),
        ("leave", None, False, True),
        ("leave", "knock", False, False),
        ("ban", "leave", False, False),
        ("join", "invite", False, False),
        ("join", "join", False, False),  # another name
        ("invite", "leave", False, False),
        ("knock", "leave", False, False),
        ("join", None, True, False),
        ("invite", None, True, True),
        ("knock", None, True, True),
        ("leave", "knock", True, True),
        ("ban", "leave", True, True),
        (None, "join", False, False),
        (["leave"], "join", False, False),
        ("leave", ["join"], False, False),
    ],
)
def test_what_counts_as_a_leave(membership: Json, before: Json, *, limited: bool, expected: bool) -> None:
    found = at_once(rooms_with_leaves(sync(member(membership, before), limited=limited)))
    assert ((ROOM,) if expected else ()) == found


def test_the_state_before_a_gap_counts_too_and_rooms_that_the_user_left() -> None:
    before = {"events": [member("leave", None)]}
    assert (ROOM,) == at_once(rooms_with_leaves(sync(limited=True, state=before)))
    assert (ROOM,) == at_once(rooms_with_leaves({"rooms": {"leave": {ROOM: {}}}}))


@pytest.mark.parametrize("field", ["state_after", "org.matrix.msc4222.state_after"])
def test_so_does_the_state_behind_it(field: str) -> None:
    """A client that asks for that gets no other, and a leave in the gap went unseen."""
    room: JsonObject = {"timeline": {"events": [], "limited": True}, field: {"events": [member("leave", None)]}}
    assert (ROOM,) == at_once(rooms_with_leaves({"rooms": {"join": {ROOM: room}}}))


@pytest.mark.parametrize(
    "garbage",
    [
        {},
        {"rooms": []},
        {"rooms": {"join": None, "leave": 1}},
        {"rooms": {"join": {ROOM: None}}},
        sync(None, 1, "text", [], {}, {"type": "m.room.member"}, {"type": "m.room.member", "content": 1}),
        sync(state={"events": None}),
        {"rooms": {"join": {ROOM: {"timeline": {"events": {"leave": 1}, "limited": 1}}}}},
    ],
)
def test_what_is_of_another_shape_tells_nothing(garbage: JsonObject) -> None:
    assert () == at_once(rooms_with_leaves(garbage))


@pytest.mark.parametrize("event", [member("join"), {"type": "m.room.message"}])
def test_many_events_are_looked_at_in_steps(event: JsonObject) -> None:
    steps = rooms_with_leaves(sync(*[event] * 10_000))
    assert 10_000 // EVENTS_AT_ONCE == sum(1 for _ in steps)


def test_many_rooms_are_looked_at_in_steps() -> None:
    steps = rooms_with_leaves({"rooms": {"join": {str(number): {} for number in range(10_000)}}})
    assert 10_000 // EVENTS_AT_ONCE == sum(1 for _ in steps)


async def encrypt(world: World, device: Any) -> str:  # noqa: ANN401 - a supervisor
    message = EncryptForRoom(room_id=ROOM, members=(BOB,), type="m.room.message", content={"body": "hello"})
    session: str = (await device.ask(message)).session_id
    return session


async def test_after_a_leave_the_room_has_another_session_and_after_a_join_it_has_not(
    world: World, autojump_clock: MockClock
) -> None:
    await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device, world.process() as other:
        first = await encrypt(world, device)
        await other.ask(ReceiveSync(sync=sync(member("join", "invite")), since="s0"))
        assert first == await encrypt(world, device)
        await other.ask(ReceiveSync(sync=sync(member("leave")), since="s0"))
        assert first != await encrypt(world, device)


async def test_a_leave_in_a_room_without_a_session_changes_nothing(world: World, autojump_clock: MockClock) -> None:
    async with world.process(transport=False) as device:
        await device.ask(ReceiveSync(sync=sync(member("leave")), since="s0"))
        before = (await device.ask(Statistics())).commits
        await device.ask(ReceiveSync(sync=sync(member("leave")), since="s0"))
        assert before == (await device.ask(Statistics())).commits


@pytest.mark.parametrize("lists", [None, [], "text", {"changed": 1, "left": {}}, {"changed": [1]}])
async def test_device_lists_of_another_shape_cost_that_field_alone(world: World, lists: Json) -> None:
    async with world.process(transport=False) as device:
        received = await device.ask(ReceiveSync(sync={"next_batch": "s1", "device_lists": lists}))
        assert received.token_stored
