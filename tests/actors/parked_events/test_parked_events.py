"""Room events that wait for their keys: over restarts, in all processes, and never more than there is room for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock
from vodozemac import GroupSession, InboundGroupSession

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors._parked_events import actor as parked_events
from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.messages import (
    DecryptRoomEvent,
    DecryptToDevice,
    EventId,
    EventsReadable,
    ForgetParkedEvents,
    ImportRoomKeys,
    JsonObject,
    MissingRoomKey,
    ParkedEvent,
    ParkedEvents,
    ParkEvents,
    PrepareAccount,
    RoomId,
    RoomKeyWithheld,
    UnknownMessageIndex,
)
from tests.operations.peer import Peer, exported

ROOM, OTHER = RoomId("!room:example.org"), RoomId("!other:example.org")


@asynccontextmanager
async def process(disk: MemoryDisk) -> AsyncGenerator[Supervisor]:
    options = Options(wall_clock=lambda: round(trio.current_time() * 1000))
    async with run_supervisor(MemoryStore(disk), user_id=USER, device_id=DEVICE, options=options) as supervisor:
        await supervisor.ask(PrepareAccount())
        yield supervisor


@pytest.fixture
async def device(disk: MemoryDisk, autojump_clock: MockClock) -> AsyncGenerator[Supervisor]:
    async with process(disk) as supervisor:
        yield supervisor


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def bob() -> Peer:
    return Peer()


def said(bob: Peer, group: GroupSession, event_id: str, room_id: RoomId = ROOM) -> tuple[RoomId, JsonObject]:
    return room_id, bob.room_event(room_id, group, event_id=event_id)


def name(event_id: str, room_id: RoomId = ROOM) -> tuple[RoomId, EventId]:
    return room_id, EventId(event_id)


def heard(events: trio.MemoryReceiveChannel[EventsReadable]) -> list[tuple[tuple[RoomId, EventId], ...]]:
    found: list[tuple[tuple[RoomId, EventId], ...]] = []
    while events.statistics().current_buffer_used:
        found.append(events.receive_nowait().events)
    return found


def causes(parked: tuple[ParkedEvent, ...]) -> dict[str, type[Exception] | None]:
    return {each.event_id: None if each.cause is None else type(each.cause) for each in parked}


async def test_what_is_parked_can_be_listed_after_a_restart_and_in_other_processes(
    disk: MemoryDisk, bob: Peer, autojump_clock: MockClock
) -> None:
    group = GroupSession()
    events = said(bob, group, "$one"), said(bob, group, "$two")
    async with process(disk) as one, process(disk) as two:
        parked = await one.ask(ParkEvents(events=events))
        assert (name("$one"), name("$two")) == parked.parked
        assert ((), (), ()) == (parked.readable, parked.rejected, parked.dropped)
        listed = await two.ask(ParkedEvents())
    async with process(disk) as later:
        assert {"$one": MissingRoomKey, "$two": MissingRoomKey} == causes(await later.ask(ParkedEvents()))
    assert [event for _, event in events] == [each.event for each in listed]
    assert [0, 1] == [each.message_index for each in listed]


async def test_whoever_takes_in_the_key_tells_of_the_events_that_can_be_read(
    disk: MemoryDisk, bob: Peer, autojump_clock: MockClock
) -> None:
    group, other = GroupSession(), GroupSession()
    key = bob.add_room_key(ROOM, group)
    async with process(disk) as one, process(disk) as two:
        await one.ask(ParkEvents(events=(said(bob, group, "$one"), said(bob, other, "$other"))))
        with two.subscribe(EventsReadable) as events:
            await two.ask(key)
            assert [(name("$one"),)] == heard(events)
        for each in (one, two):
            (parked,) = await each.ask(ParkedEvents(readable=True))
            assert ("$one", None) == (parked.event_id, parked.cause)
            read = await each.ask(DecryptRoomEvent(room_id=parked.room_id, event=parked.event))
            assert {"body": "$one"} == read.content
        await one.ask(ForgetParkedEvents(events=(name("$one"), name("$never"))))
        assert {"$other": MissingRoomKey} == causes(await two.ask(ParkedEvents()))


async def test_an_event_whose_key_is_there_is_not_parked(device: Supervisor, bob: Peer) -> None:
    group = GroupSession()
    key = bob.add_room_key(ROOM, group)
    event = said(bob, group, "$one")
    await device.ask(key)
    with device.subscribe(EventsReadable) as events:
        parked = await device.ask(ParkEvents(events=(event,)))
        assert ((), (name("$one"),)) == (parked.parked, parked.readable)
        assert [] == heard(events)
    assert () == await device.ask(ParkedEvents())


async def test_an_event_before_the_key_waits_for_an_earlier_one(device: Supervisor, bob: Peer) -> None:
    group = GroupSession()
    early = InboundGroupSession(group.session_key)
    before = said(bob, group, "$before")
    late = bob.add_room_key(ROOM, group)
    after = said(bob, group, "$after")
    await device.ask(ParkEvents(events=(before, after)))
    with device.subscribe(EventsReadable) as events:
        await device.ask(late)
        assert [(name("$after"),)] == heard(events)
        assert {"$before": UnknownMessageIndex, "$after": None} == causes(await device.ask(ParkedEvents()))
        await device.ask(ImportRoomKeys(keys=(exported(bob, ROOM, early),)))
        assert [(name("$before"),)] == heard(events)
        await device.ask(late)
        assert [] == heard(events)


async def test_a_notice_is_the_cause_until_the_key_comes_all_the_same(device: Supervisor, bob: Peer) -> None:
    group = GroupSession()
    key = bob.add_room_key(ROOM, group)
    await device.ask(ParkEvents(events=(said(bob, group, "$one"),)))
    content = {"room_id": ROOM, "session_id": group.session_id, "code": "m.unverified", "sender_key": bob.curve25519}
    notice = {"type": "m.room_key.withheld", "sender": bob.user_id, "content": content}
    await device.ask(DecryptToDevice(events=({**notice, "sender": "@mallory:example.org"},)))
    assert {"$one": MissingRoomKey} == causes(await device.ask(ParkedEvents()))
    await device.ask(DecryptToDevice(events=(notice,)))
    assert {"$one": RoomKeyWithheld} == causes(await device.ask(ParkedEvents()))
    await device.ask(key)
    assert {"$one": None} == causes(await device.ask(ParkedEvents()))


async def test_what_was_withheld_before_the_key_begins_is_the_cause_with_its_reason(
    device: Supervisor, bob: Peer
) -> None:
    group = GroupSession()
    before = said(bob, group, "$before")
    key = bob.add_room_key(ROOM, group)
    content = {"room_id": ROOM, "session_id": group.session_id, "code": "m.unverified", "reason": "not yet"}
    await device.ask(ParkEvents(events=(before,)))
    notice = {"type": "m.room_key.withheld", "sender": bob.user_id, "content": content}
    await device.ask(DecryptToDevice(events=(notice,)))
    for asked, first_known_index in ((None, None), (key, 1)):
        if asked is not None:
            await device.ask(asked)
        (parked,) = await device.ask(ParkedEvents())
        assert isinstance(parked.cause, RoomKeyWithheld)
        assert ("m.unverified", "not yet", first_known_index) == (
            parked.cause.code,
            parked.cause.reason,
            parked.cause.first_known_index,
        )


async def test_the_oldest_go_when_there_are_too_many(
    device: Supervisor, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked_events, "MOST_EVENTS", 3)
    events = [said(bob, GroupSession(), f"${number}") for number in range(5)]
    first = await device.ask(ParkEvents(events=tuple(events[:3])))
    second = await device.ask(ParkEvents(events=tuple(events[1:])))
    assert ((), (name("$0"), name("$1"))) == (first.dropped, second.dropped)
    assert tuple(name(f"${number}") for number in (2, 3, 4)) == second.parked
    assert ["$2", "$3", "$4"] == [each.event_id for each in await device.ask(ParkedEvents())]


async def test_the_oldest_go_when_they_are_too_large(
    device: Supervisor, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked_events, "MOST_BYTES", 6_000)
    for event_id in ("$one", "$two", "$three"):
        room_id, event = said(bob, GroupSession(), event_id)
        await device.ask(ParkEvents(events=((room_id, {**event, "unsigned": {"x": "x" * 2_000}}),)))
    assert ["$two", "$three"] == [each.event_id for each in await device.ask(ParkedEvents())]


async def test_nobodys_events_go_for_those_of_whoever_sends_many(
    device: Supervisor, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest went, whoever had sent them: any member of a room could have the others' be forgotten."""
    monkeypatch.setattr(parked_events, "MOST_EVENTS", 4)
    mallory = Peer("@mallory:elsewhere.example")
    await device.ask(ParkEvents(events=(said(bob, GroupSession(), "$bob"),)))
    many = tuple(said(mallory, GroupSession(), f"${number}") for number in range(20))
    parked = await device.ask(ParkEvents(events=many))
    assert tuple(name(f"${number}") for number in range(17)) == parked.dropped
    assert ["$bob", "$17", "$18", "$19"] == [each.event_id for each in await device.ask(ParkedEvents())]


async def test_nobodys_events_go_for_those_of_many_users_of_one_homeserver(
    device: Supervisor, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked_events, "MOST_EVENTS", 4)
    many = [Peer(f"@{number}:elsewhere.example") for number in range(20)]
    await device.ask(ParkEvents(events=(said(bob, GroupSession(), "$bob"),)))
    await device.ask(ParkEvents(events=tuple(said(each, GroupSession(), f"${each.user_id}") for each in many)))
    assert "$bob" in {each.event_id for each in await device.ask(ParkedEvents())}


async def test_rooms_are_told_apart(device: Supervisor, bob: Peer) -> None:
    group = GroupSession()
    await device.ask(ParkEvents(events=(said(bob, group, "$one"), said(bob, group, "$one", OTHER))))
    assert [OTHER] == [each.room_id for each in await device.ask(ParkedEvents(room_id=OTHER))]
    await device.ask(ForgetParkedEvents(events=(name("$one"),)))
    assert [OTHER] == [each.room_id for each in await device.ask(ParkedEvents())]


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "m.room.message"},
        {"event_id": 7},
        {"event_id": None},
        {"content": []},
        {"content": {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "!", "session_id": "s"}},
        {"content": {"algorithm": "m.olm.v1.curve25519-aes-sha2", "ciphertext": "", "session_id": "s"}},
        {"unsigned": {"x": float("nan")}},
        {"unsigned": {"x": {1}}},
        {"unsigned": {"x": "x" * 300_000}},
    ],
)
async def test_what_is_no_encrypted_event_harms_nothing(device: Supervisor, bob: Peer, wrong: JsonObject) -> None:
    room_id, event = said(bob, GroupSession(), "$good")
    parked = await device.ask(ParkEvents(events=((room_id, {**event, "event_id": "$bad", **wrong}), (room_id, event))))
    assert (name("$good"),) == parked.parked
    (error,) = parked.rejected
    assert "xxx" not in str(error)
    assert ["$good"] == [each.event_id for each in await device.ask(ParkedEvents())]


async def test_an_event_is_parked_as_it_came_whatever_text_is_in_it(device: Supervisor, bob: Peer) -> None:
    room_id, event = said(bob, GroupSession(), "$one")
    event = {**event, "unsigned": {"text": "\ud800 \u00e4"}}
    await device.ask(ParkEvents(events=((room_id, event),)))
    (parked,) = await device.ask(ParkedEvents())
    assert event == parked.event
