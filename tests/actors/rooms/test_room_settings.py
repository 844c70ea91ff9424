"""What a room says of its encryption: taken from syncs, never downgraded, and when it replaces the room's key."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors._room_settings.actor import Told
from olmstate.actors._room_settings.from_sync import settings_in
from olmstate.actors._wire.steps import at_once
from olmstate.messages import (
    EncryptedRoomEvent,
    EncryptForRoom,
    EncryptionSettings,
    Json,
    JsonObject,
    PrepareRoomKey,
    ReceiveSync,
    RoomId,
    RoomSettings,
    RotationPeriod,
    SetRoomSettings,
    Statistics,
    SyncToken,
    UnsupportedAlgorithm,
    UserId,
)
from tests.actors.world import World

ROOM = RoomId("!room:example.org")
BOB = UserId("@bob:example.org")
CAROL = UserId("@carol:example.org")
MEGOLM = "m.megolm.v1.aes-sha2"
HELLO: JsonObject = {"body": "hello"}
SHORT = RotationPeriod(messages=2)


def state(event_type: str, content: Json, state_key: str = "") -> JsonObject:
    return {"type": event_type, "state_key": state_key, "content": content}


def encryption(algorithm: str = MEGOLM, **rotation: Json) -> JsonObject:
    return state("m.room.encryption", {"algorithm": algorithm, **rotation})


def visible(visibility: Json) -> JsonObject:
    return state("m.room.history_visibility", {"history_visibility": visibility})


def member(user: UserId, membership: str, before: str | None = None, name: str = "name") -> JsonObject:
    event = state("m.room.member", {"membership": membership, "displayname": name}, user)
    return event if before is None else {**event, "unsigned": {"prev_content": {"membership": before}}}


def sync_of(*events: Json, before: tuple[Json, ...] = (), after: tuple[Json, ...] = ()) -> JsonObject:
    parts = {"timeline": events, "state": before, "state_after": after}
    return {"rooms": {"join": {ROOM: {part: {"events": list(events)} for part, events in parts.items()}}}}


async def told(device: Supervisor, *events: JsonObject) -> None:
    since = await device.ask(SyncToken())
    await device.ask(ReceiveSync(sync={"next_batch": f"{since}+", **sync_of(*events)}, since=since))


async def settings(device: Supervisor) -> EncryptionSettings | None:
    return await device.ask(RoomSettings(room_id=ROOM))


async def send(device: Supervisor, *members: UserId) -> EncryptedRoomEvent:
    members = members or (BOB,)
    return await device.ask(EncryptForRoom(room_id=ROOM, members=members, type="m.room.message", content=HELLO))


@pytest.mark.parametrize(
    ("sync", "expected"),
    [
        ({}, {}),
        ({"rooms": {"join": {ROOM: None}}}, {}),
        (sync_of(None, {"type": "m.room.encryption", "content": {"algorithm": MEGOLM}}), {}),
        (sync_of(encryption("m.other")), {}),
        (sync_of(encryption(), encryption("m.other")), {ROOM: Told(rotation=RotationPeriod())}),
        (sync_of(state("m.room.encryption", [])), {}),
        (sync_of({**encryption(), "state_key": "x"}), {}),
        (sync_of(encryption(rotation_period_msgs=2)), {ROOM: Told(rotation=SHORT)}),
        (sync_of(encryption(rotation_period_msgs="2")), {ROOM: Told(rotation=RotationPeriod())}),
        (
            sync_of(visible("world_readable"), before=(visible("joined"), encryption())),
            {ROOM: Told(rotation=RotationPeriod(), shared_history=True)},
        ),
        (
            # in the place of the state before, and newer than what is in the timeline
            sync_of(visible("joined"), after=(visible("world_readable"), encryption(rotation_period_msgs=2))),
            {ROOM: Told(rotation=SHORT, shared_history=True)},
        ),
        (sync_of(visible("joined")), {ROOM: Told(shared_history=False)}),
        (sync_of(visible("custom")), {ROOM: Told(shared_history=False)}),
        (sync_of(visible(["shared"])), {}),
    ],
    ids=str,
)
def test_what_a_sync_tells(sync: JsonObject, expected: dict[RoomId, Told]) -> None:
    assert expected == at_once(settings_in(sync))


async def test_a_room_that_is_encrypted_stays_so_and_the_last_rotation_period_counts(world: World) -> None:
    async with world.process(transport=False) as device, world.process(transport=False) as other:
        await told(device, visible("shared"))
        assert None is await settings(device)
        await told(device, encryption(rotation_period_msgs=2))
        expected = EncryptionSettings(rotation=SHORT, shared_history=True)
        for refused in (encryption("m.other"), state("m.room.encryption", {}), state("m.room.encryption", None)):
            await told(device, refused)
            assert expected == await settings(device) == await settings(other)
        await told(other, encryption(rotation_period_ms=7_000_000))
        expected = attrs.evolve(expected, rotation=RotationPeriod(milliseconds=7_000_000))
        assert expected == await settings(device)


async def test_what_is_said_by_hand_is_checked_and_stored(world: World) -> None:
    right = EncryptionSettings.from_content({"algorithm": MEGOLM, "rotation_period_msgs": 2})
    async with world.process(transport=False) as device:
        await device.ask(SetRoomSettings(room_id=ROOM, settings=right))
        for algorithm in ("", "m.other", None):
            wrong = EncryptionSettings.from_content({"algorithm": algorithm}, {"history_visibility": "shared"})
            assert wrong.shared_history
            with pytest.raises(UnsupportedAlgorithm):
                await device.ask(SetRoomSettings(room_id=ROOM, settings=wrong))
        before = (await device.ask(Statistics())).commits
        await device.ask(SetRoomSettings(room_id=ROOM, settings=right))
        assert before == (await device.ask(Statistics())).commits
    async with world.process(transport=False) as device:
        assert right == await settings(device)


async def test_the_rooms_rotation_period_counts_where_none_is_given(world: World, autojump_clock: MockClock) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device, world.process() as other:
        await told(other, encryption(rotation_period_msgs=2))
        events = [await send(device) for _ in range(4)]
        assert 2 == len({event.session_id for event in events})
        assert [HELLO] * 4 == [await bob.read(event) for event in events]


Change = tuple[str, list[JsonObject], bool]
CHANGES: list[Change] = [
    ("rotation", [encryption(rotation_period_msgs=50)], True),
    ("the same rotation", [encryption()], False),
    ("history shared", [visible("shared")], True),
    ("history as private as before", [visible("invited")], False),
    ("a join", [member(CAROL, "join", "invite")], False),
    ("an invitation", [member(CAROL, "invite")], False),
    ("a display name", [member(BOB, "join", "join", "another name")], False),
    ("another topic", [state("m.room.topic", {"topic": "x"})], False),
    ("a leave", [member(BOB, "leave", "join")], True),
]


@pytest.mark.parametrize(("events", "replaced"), [each[1:] for each in CHANGES], ids=[each[0] for each in CHANGES])
async def test_what_replaces_a_rooms_key_and_what_does_not(
    world: World, autojump_clock: MockClock, events: list[JsonObject], *, replaced: bool
) -> None:
    await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device, world.process() as other:
        await told(other, encryption(), visible("joined"))
        first = await send(device)
        await told(other, *events)
        second = await send(device)
        assert replaced == (first.session_id != second.session_id)
        assert second.session_id == (await send(other)).session_id


async def test_neither_a_restart_nor_a_new_device_nor_one_who_joins_replaces_a_rooms_key(
    world: World, autojump_clock: MockClock
) -> None:
    await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        await told(device, encryption())
        session_id = (await send(device)).session_id
    async with world.process() as device:
        assert session_id == (await send(device)).session_id
        new = await world.log_in(BOB, "NEW", one_time_keys=1)
        carol = await world.log_in(CAROL, one_time_keys=1)
        since = await device.ask(SyncToken())
        lists: Any = {"changed": [BOB]}
        await device.ask(ReceiveSync(sync={"next_batch": "next", "device_lists": lists}, since=since))
        event = await send(device, BOB, CAROL)
        assert session_id == event.session_id
        assert [HELLO, HELLO] == [await new.read(event), await carol.read(event)]


async def test_the_key_of_a_room_with_shared_history_says_so_under_both_names(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    async with world.process() as device:
        await told(device, encryption(), visible("shared"))
        event = await send(device)
        await bob.read(event)
        content = bob.contents[event.session_id]
        assert content["shared_history"] is content["m.shared_history"] is True
        exported = await device.ask(PrepareRoomKey(room_id=ROOM))
        assert exported.shared_history
        await told(device, visible("joined"))
        event = await send(device)
        await bob.read(event)
        assert not any("shared_history" in name for name in bob.contents[event.session_id])
