"""Events reach subscribers in every process, in the order of their commits; who was away gets what it missed."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.actors import Options, Supervisor
from olmstate.actors._capabilities import CAPABILITIES
from olmstate.actors._engine import stream, subscriptions
from olmstate.actors._engine.records import dumps
from olmstate.actors._engine.stream import SUMMARY, EventRecord, EventsRecord, StreamReader, row_key, to_record
from olmstate.actors._engine.subscriptions import BUFFER
from olmstate.actors.testing import Faults, MemoryDisk, MemoryStore
from olmstate.messages import (
    DeviceAddress,
    DeviceId,
    DevicesChanged,
    DeviceTrust,
    DeviceTrustChanged,
    Ed25519Key,
    Event,
    EventId,
    EventsReadable,
    IdentitiesChanged,
    InboxReceived,
    Lagged,
    MegolmSessionId,
    OneTimeKeysLow,
    OwnDeviceReplaced,
    PrivateCrossSigningKeys,
    PrivateCrossSigningKeysChanged,
    PrivateKey,
    RequestGivenUp,
    RequestId,
    RequestKind,
    RoomId,
    RoomKeyImportProgress,
    RoomKeyRequestRefused,
    RoomKeysReceived,
    RoomKeysWithheld,
    SecretOrigin,
    SecretRefusal,
    SecretRefused,
    SecretsReceived,
    SharedEvent,
    StoreCorrupt,
    StoreUnavailable,
    UserId,
    VerificationChanged,
    VerificationStage,
)
from olmstate.storage import START, Row, Table
from tests.actors.supervised import runner_of, supervised
from tests.operations.peer import Peer, Room, add_devices

BOB = UserId("@bob:example.org")
SHARED = [event for each in CAPABILITIES for event in each.events]
EXAMPLES: list[SharedEvent] = [
    RoomKeysReceived(room_keys=((RoomId("!room:\ud800"), MegolmSessionId("a session")),)),
    RoomKeysWithheld(
        room_keys=((RoomId("!room:example.org"), MegolmSessionId("a session"), BOB, "m.unverified"),),
    ),
    OneTimeKeysLow(count=3),
    RoomKeyRequestRefused(
        room_id=RoomId("!room:example.org"),
        session_id=MegolmSessionId("a session"),
        device_id=DeviceId("BOB"),
        code="m.unavailable",
    ),
    InboxReceived(events=((7, "org.example.event"),), lost=1),
    SecretsReceived(secrets=(("org.example.secret", RequestId("a request")),)),
    SecretRefused(name="m.cross_signing.master", device_id=DeviceId("BOB"), reason=SecretRefusal.MISMATCHED),
    EventsReadable(events=((RoomId("!room:example.org"), EventId("$event")),)),
    DevicesChanged(added=(DeviceAddress(user_id=BOB, device_id=DeviceId("BOB")),), removed=()),
    OwnDeviceReplaced(user_id=BOB, device_id=DeviceId("BOB"), claimed_ed25519=Ed25519Key("a key")),
    OwnDeviceReplaced(user_id=BOB, device_id=DeviceId("BOB"), claimed_ed25519=None),
    DeviceTrustChanged(user_id=BOB, device_id=DeviceId("BOB"), trust=DeviceTrust.BLOCKED),
    IdentitiesChanged(users=(BOB,), refused=(BOB,)),
    PrivateCrossSigningKeysChanged(
        keys=PrivateCrossSigningKeys(
            master=PrivateKey(origin=SecretOrigin.IMPORTED, matches=True),
            self_signing=None,
            user_signing=PrivateKey(origin=SecretOrigin.MADE_HERE, matches=None),
            published=True,
            pending=False,
        )
    ),
    RequestGivenUp(kind=RequestKind.KEYS_UPLOAD, status=400, errcode="M_UNKNOWN", error=None),
    RequestGivenUp(kind=RequestKind.KEYS_QUERY, status=400, errcode="M_UNKNOWN", error=None, users=(BOB,)),
    RequestGivenUp(
        kind=RequestKind.TO_DEVICE,
        status=413,
        errcode=None,
        error=None,
        event_type="m.room_key",
        devices=(DeviceAddress(user_id=BOB, device_id=DeviceId("BOB")),),
    ),
    VerificationChanged(user_id=BOB, flow_id="a flow", stage=VerificationStage.DONE),
]


def received(channel: trio.MemoryReceiveChannel[Event]) -> list[Event]:
    events: list[Event] = []
    while channel.statistics().current_buffer_used:
        events.append(channel.receive_nowait())
    return events


async def change(supervisor: Supervisor, *names: str) -> list[DevicesChanged]:
    """Have a device of each name be new, a commit each; the events that this causes."""
    peers = [Peer(f"@{name}:example.org") for name in names]
    for peer in peers:
        await supervisor.ask(add_devices(peer))
    return [DevicesChanged(added=(peer.address,), removed=()) for peer in peers]


# --- their stored form --------------------------------------------------------------------------------------


def subclasses(cls: type[SharedEvent]) -> set[type[SharedEvent]]:
    return {cls}.union(*(subclasses(each) for each in cls.__subclasses__()))


def test_each_shared_event_is_some_capabilitys_and_has_an_example() -> None:
    ours = {each for each in subclasses(SharedEvent) if each.__module__.startswith("olmstate.")} - {SharedEvent}
    assert ours == set(SHARED)
    assert len(ours) == len(SHARED)
    assert ours == {type(event) for event in EXAMPLES}


async def read(disk: MemoryDisk, shared: Iterable[type[SharedEvent]] = SHARED, after: int = 0) -> list[SharedEvent]:
    told = await StreamReader(MemoryStore(disk), shared).read(after)
    return [event for _, events in told.commits for event in events]


def stored(generation: int, *events: EventRecord) -> Row:
    return Row(row_key(generation), row_key(generation), dumps(EventsRecord(events=events)))


async def test_what_is_read_is_what_was_published() -> None:
    disk = MemoryDisk()
    disk.write_from_elsewhere({Table.EVENTS: [stored(1, *map(to_record, EXAMPLES))]})
    assert await read(disk) == EXAMPLES


async def test_an_event_of_a_later_version_is_passed_over_and_a_damaged_one_is_not() -> None:
    disk = MemoryDisk()
    disk.write_from_elsewhere({Table.EVENTS: [stored(1, EventRecord(event="Unheard"), to_record(EXAMPLES[1]))]})
    assert await read(disk) == [EXAMPLES[1]]
    disk.write_from_elsewhere({Table.EVENTS: [stored(2, EventRecord(event="DevicesChanged", fields={"added": 1}))]})
    with pytest.raises(StoreCorrupt):
        await read(disk)


# --- across processes ---------------------------------------------------------------------------------------


async def test_another_process_hears_the_same_events_in_the_same_order(autojump_clock: MockClock) -> None:
    disk, room = MemoryDisk(), Room(Peer())
    async with supervised(disk) as writer, supervised(disk, pid=2) as other:
        with (
            other.subscribe(DevicesChanged, RoomKeysReceived) as elsewhere,
            writer.subscribe(DevicesChanged, RoomKeysReceived) as here,
        ):
            await trio.sleep(1)
            await change(writer, "carol")
            await writer.ask(room.add_room_key())
            assert received(elsewhere) == []
            events = [await elsewhere.receive() for _ in range(2)]
            assert events == received(here)
            assert [DevicesChanged, RoomKeysReceived] == [type(event) for event in events]
            assert [1, 2] == [event.position for event in events]


async def test_events_of_both_come_in_the_order_of_their_commits(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    async with supervised(disk) as one, supervised(disk, pid=2) as two:
        with one.subscribe(DevicesChanged) as at_one, two.subscribe(DevicesChanged) as at_two:
            await trio.sleep(1)
            expected: list[DevicesChanged] = []
            for number in range(3):
                expected += await change(one, f"a{number}")
                expected += await change(two, f"b{number}")
            # whoever writes has heard of what was committed before
            assert expected == received(at_two)
            await trio.sleep(1)
            assert expected == received(at_one)
            assert received(at_two) == []


async def test_a_watcher_reads_nothing_while_nothing_happens_and_never_writes(autojump_clock: MockClock) -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk) as writer, supervised(disk, pid=2, faults=faults) as watcher:
        with watcher.subscribe(DevicesChanged) as events:
            await trio.sleep(1)
            faults.steps.clear()
            await trio.sleep(60)
            assert {"look"} == {step.operation for step in faults.steps}
            await change(writer, "carol")
            await events.receive()
            await trio.sleep(60)
            assert {"look", "page", "read"} == {step.operation for step in faults.steps}
            assert 2 == sum(step.operation != "look" for step in faults.steps)
    assert 1 == disk.generation


async def test_commits_without_events_cost_whoever_makes_them_no_reading(autojump_clock: MockClock) -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults) as writer:
        with writer.subscribe(DevicesChanged) as events:
            await change(writer, "carol", "dora")
            await trio.sleep(1)
            assert not [step for step in faults.steps if step.operation == "page"]
            assert 2 == len(received(events))


async def test_what_cannot_be_read_is_read_again(autojump_clock: MockClock) -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk) as writer, supervised(disk, pid=2, faults=faults) as watcher:
        with watcher.subscribe(DevicesChanged) as events:
            await trio.sleep(1)
            faults.at("page", StoreUnavailable(reason="no such file"))
            expected = await change(writer, "carol")
            assert expected == [await events.receive()]


async def test_an_event_that_no_capability_names_is_its_askers_bug() -> None:
    @attrs.frozen(kw_only=True)
    class Foreign(SharedEvent):
        pass

    disk = MemoryDisk()
    async with supervised(disk) as supervisor:
        actor = runner_of(supervisor).actors[stream.StreamActor]
        with pytest.raises(Exception, match="a bug"):
            await actor.ask(stream.StoreEvents(events=(Foreign(),)))
    assert disk.generation == 0


# --- since a position ---------------------------------------------------------------------------------------


async def test_who_gives_its_position_gets_what_it_missed_and_then_what_comes(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    async with supervised(disk) as writer:
        with writer.subscribe(DevicesChanged) as events:
            await change(writer, "a")
            position = events.receive_nowait().position
        missed = await change(writer, "b", "c")
    async with supervised(disk) as late:
        with late.subscribe(DevicesChanged, Lagged, since=position) as again:
            came = [await again.receive() for _ in range(2)]
            assert missed == came
            assert await change(late, "d") == [await again.receive()]
            await trio.sleep(1)
            assert received(again) == []


async def test_who_stops_among_the_events_of_one_commit_hears_all_of_them_again(autojump_clock: MockClock) -> None:
    disk, room = MemoryDisk(), Room(Peer())
    async with supervised(disk) as writer:
        with writer.subscribe(DevicesChanged, RoomKeysReceived) as events:
            async with trio.open_nursery() as nursery:  # in one turn
                nursery.start_soon(writer.ask, add_devices(Peer()))
                nursery.start_soon(writer.ask, room.add_room_key())
            first, last = received(events)
            assert isinstance(first, SharedEvent)
            assert isinstance(last, SharedEvent)
            assert (0, 1) == (first.position, last.position)
        with writer.subscribe(DevicesChanged, RoomKeysReceived, Lagged, since=first.position) as again:
            assert [first, last] == [await again.receive(), await again.receive()]
        with writer.subscribe(DevicesChanged, RoomKeysReceived, Lagged, since=last.position) as nothing:
            await trio.sleep(1)
            assert received(nothing) == []


async def test_a_position_counts_by_the_types_that_a_subscriber_hears() -> None:
    disk, room = MemoryDisk(), Room(Peer())
    async with supervised(disk) as writer:
        with writer.subscribe(DevicesChanged) as some, writer.subscribe(RoomKeysReceived) as others:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.ask, add_devices(Peer()))
                nursery.start_soon(writer.ask, room.add_room_key())
            assert [1, 1] == [some.receive_nowait().position, others.receive_nowait().position]


async def test_many_missed_events_come_page_by_page(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "COMMITS_A_PAGE", 2)
    disk = MemoryDisk()
    async with supervised(disk) as writer:
        missed = await change(writer, *"abcdefg")
        with writer.subscribe(DevicesChanged, Lagged, since=0) as events:
            assert missed == [await events.receive() for _ in missed]


async def test_a_position_without_lagged_is_refused() -> None:
    async with supervised(MemoryDisk()) as supervisor:
        with (
            pytest.raises(ValueError, match="must subscribe to Lagged"),
            supervisor.subscribe(DevicesChanged, since=0),
        ):
            pass


# --- slow, and away for too long ----------------------------------------------------------------------------


async def test_a_slow_subscriber_loses_nothing_and_holds_up_nobody(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "BUFFER", 16)
    disk = MemoryDisk()
    async with supervised(disk) as writer:
        with writer.subscribe(DevicesChanged) as slow, writer.subscribe(DevicesChanged) as quick:
            expected: list[DevicesChanged] = []
            for number in range(3):
                names = [f"{number}-{each}" for each in range(8)]
                expected += await change(writer, *names)
                await wait_all_tasks_blocked()
                assert len(received(quick)) == len(names)
            assert slow.statistics().current_buffer_used == 16
            heard = [await slow.receive() for _ in expected]
            assert expected == heard
            assert [*range(1, len(expected) + 1)] == [event.position for event in heard]
            await wait_all_tasks_blocked()
            # and now it is as quick as the others again
            assert await change(writer, "last") == received(slow)


async def test_who_was_away_for_too_long_is_told_so(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEPT", 4)
    monkeypatch.setattr(stream, "TRIMMED_AT_ONCE", 2)
    disk = MemoryDisk()
    async with supervised(disk) as writer:
        events = await change(writer, *"abcdefghij")
        rows = [row.generation for row in disk.rows(Table.EVENTS) if row.key != SUMMARY]
        assert 4 <= len(rows) <= 7
        with writer.subscribe(DevicesChanged, Lagged, since=1) as late:
            lagged = await late.receive()
            assert isinstance(lagged, Lagged)
            assert rows[0] - 1 == lagged.position
            kept = events[rows[0] - 1 :]
            assert kept == [await late.receive() for _ in kept]
        with writer.subscribe(DevicesChanged, Lagged, since=lagged.position) as on_time:
            assert kept == [await on_time.receive() for _ in kept]


async def test_a_position_of_another_store_is_told_so(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    async with supervised(disk) as writer:
        await change(writer, "a")
        with writer.subscribe(DevicesChanged, Lagged, since=99) as events:
            assert Lagged(position=1) == await events.receive()
            assert await change(writer, "b") == [await events.receive()]


async def test_a_restored_store_knows_nothing_of_before(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    async with supervised(disk) as writer:
        await change(writer, "a", "b")
    restored = MemoryDisk()
    restored.generation = restored.restored_generation = disk.generation
    async with supervised(restored) as late:
        with late.subscribe(DevicesChanged, Lagged, since=1) as events:
            assert Lagged(position=2) == await events.receive()


async def test_who_misses_what_only_this_process_hears_is_told_so(autojump_clock: MockClock) -> None:
    async with supervised(MemoryDisk()) as supervisor:
        with supervisor.subscribe(RoomKeyImportProgress, Lagged) as slow:
            for done in range(BUFFER + 1):
                runner_of(supervisor).publish(RoomKeyImportProgress(done=done, total=BUFFER))
            assert BUFFER == len(received(slow))
            assert Lagged(position=None) == await slow.receive()


async def test_whoever_subscribes_before_anything_is_known_is_told_from_then_on(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    async with supervised(disk, options=Options(watch=0.1)) as writer, supervised(disk, pid=2) as other:
        await change(writer, "a")
        with other.subscribe(DevicesChanged) as events:
            await trio.sleep(1)
            assert await change(writer, "b") == [await events.receive()]


async def test_rows_of_events_are_in_the_order_of_generations() -> None:
    disk = MemoryDisk()
    async with supervised(disk) as writer:
        await change(writer, *"abc")
    rows = await MemoryStore(disk).page(Table.EVENTS, START, 9)
    assert [SUMMARY, row_key(1), row_key(2), row_key(3)] == [row.key for row in rows]
    assert [3, 1, 2, 3] == [row.generation for row in rows]
