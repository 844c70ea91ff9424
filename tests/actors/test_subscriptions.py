"""Subscribers hear of what was committed, in its order, whatever happens to caches, actors and other subscribers."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from olmstate.actors import Options
from olmstate.actors._engine.stream import Told
from olmstate.actors._engine.subscriptions import BUFFER, Subscriptions
from olmstate.actors.testing import Faults, MemoryDisk
from olmstate.messages import (
    CreateAccount,
    DecryptRoomEvent,
    DevicesChanged,
    Event,
    RoomKeyImportProgress,
    RoomKeysReceived,
    StoreChanged,
    StoreFull,
    SyncToken,
    ToDeviceDelayed,
)
from olmstate.storage import Fenced, Row, Table
from tests.actors.supervised import runner_of, supervised
from tests.operations.peer import Peer, Room, add_devices


def progress(done: int) -> RoomKeyImportProgress:
    return RoomKeyImportProgress(done=done, total=9)


def alone() -> Subscriptions:
    """Of a process that is alone, and has just begun."""

    async def read(after: int) -> Told:
        raise AssertionError(after)

    return Subscriptions(read, pause=1)


def received(channel: trio.MemoryReceiveChannel[Event]) -> list[Event]:
    events: list[Event] = []
    while channel.statistics().current_buffer_used:
        events.append(channel.receive_nowait())
    return events


# --- alone --------------------------------------------------------------------------------------------------


async def test_a_subscriber_gets_the_events_of_its_types_in_their_order() -> None:
    subscriptions = alone()
    with subscriptions.subscribe(RoomKeyImportProgress, RoomKeysReceived) as events:
        subscriptions.publish(progress(1))
        subscriptions.publish(DevicesChanged(added=(), removed=()))
        subscriptions.publish(RoomKeysReceived(room_keys=()))
        subscriptions.publish(progress(2))
        assert [progress(1), RoomKeysReceived(room_keys=()), progress(2)] == received(events)


async def test_a_subscriber_to_event_gets_all_and_one_to_nothing_gets_none() -> None:
    subscriptions = alone()
    nothing: list[type[Event]] = []
    with subscriptions.subscribe(Event) as everything, subscriptions.subscribe(*nothing) as none:
        subscriptions.publish(progress(1))
        assert [progress(1)] == received(everything)
        assert received(none) == []


async def test_publishing_never_waits_for_a_slow_subscriber() -> None:
    subscriptions = alone()
    with subscriptions.subscribe(Event) as slow:
        for done in range(10 * BUFFER):
            subscriptions.publish(progress(done))
        assert slow.statistics().current_buffer_used == BUFFER


async def test_a_subscriber_that_has_closed_its_channel_harms_nobody() -> None:
    # publishing to it raised, and the supervisor fell
    subscriptions = alone()
    with subscriptions.subscribe(Event) as gone, subscriptions.subscribe(Event) as there:
        gone.close()
        subscriptions.publish(progress(1))
        assert [progress(1)] == received(there)


async def test_what_is_published_after_the_end_is_lost() -> None:
    subscriptions = alone()
    with subscriptions.subscribe(Event) as events:
        subscriptions.publish(progress(1))
        subscriptions.close()
        subscriptions.publish(progress(2))
        assert [progress(1)] == [event async for event in events]


async def test_whoever_subscribes_after_the_end_hears_that_it_is_the_end() -> None:
    # it waited for ever: only those who had come before were told
    subscriptions = alone()
    subscriptions.close()
    with subscriptions.subscribe(Event) as events:
        subscriptions.publish(progress(1))
        assert [] == [event async for event in events]


async def test_nothing_is_kept_of_a_subscriber_that_has_left() -> None:
    subscriptions = alone()
    with subscriptions.subscribe(StoreChanged):
        assert subscriptions.wanted(StoreChanged)
        assert not subscriptions.wanted(DevicesChanged)
    assert not subscriptions.wanted(StoreChanged)


async def test_waiting_for_a_change_ends_when_somebody_comes_or_goes() -> None:
    subscriptions = alone()
    woken: list[str] = []

    async def wait(name: str) -> None:
        await subscriptions.wait_changed()
        woken.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "comes")
        await wait_all_tasks_blocked()
        with subscriptions.subscribe(Event):
            await wait_all_tasks_blocked()
            assert woken == ["comes"]
            nursery.start_soon(wait, "goes")
            await wait_all_tasks_blocked()
    assert woken == ["comes", "goes"]


# --- of a supervisor ----------------------------------------------------------------------------------------


async def test_events_come_after_the_commit_that_caused_them() -> None:
    disk, bob = MemoryDisk(), Peer()
    async with supervised(disk) as supervisor:
        with supervisor.subscribe(DevicesChanged) as events:
            await supervisor.ask(add_devices(bob))
            assert disk.generation == 1
            assert [DevicesChanged(added=(bob.address,), removed=())] == received(events)


async def test_a_turn_that_fails_causes_no_events() -> None:
    faults, bob = Faults(), Peer()
    async with supervised(MemoryDisk(), faults=faults) as supervisor:
        with supervisor.subscribe(Event) as events:
            faults.at("commit", StoreFull())
            with pytest.raises(StoreFull):
                await supervisor.ask(add_devices(bob))
            assert received(events) == []


async def test_a_turn_that_runs_again_causes_its_events_once() -> None:
    faults, bob = Faults(), Peer()
    async with supervised(MemoryDisk(), faults=faults) as supervisor:
        with supervisor.subscribe(DevicesChanged) as events:
            faults.at("commit", Fenced())
            await supervisor.ask(add_devices(bob))
            assert len(received(events)) == 1


async def test_a_subscription_survives_invalidations_and_failed_turns() -> None:
    disk, faults, bob, room = MemoryDisk(), Faults(), Peer(), Room(Peer())
    async with supervised(disk, faults=faults) as supervisor:
        with supervisor.subscribe(DevicesChanged, RoomKeysReceived) as events:
            await supervisor.ask(room.add_room_key())
            disk.write_from_elsewhere(keys_known=False)
            await supervisor.ask(DecryptRoomEvent(room_id=room.room_id, event=room.send()))
            faults.at("commit", StoreFull())
            with pytest.raises(StoreFull):
                await supervisor.ask(CreateAccount())
            await supervisor.ask(add_devices(bob))
            assert [RoomKeysReceived, DevicesChanged] == [type(event) for event in received(events)]


async def test_an_iteration_over_events_ends_with_the_supervisor() -> None:
    bob = Peer()
    async with supervised(MemoryDisk()) as supervisor:
        with supervisor.subscribe(DevicesChanged) as events:
            await supervisor.ask(add_devices(bob))
            await runner_of(supervisor).close()
            assert len([event async for event in events]) == 1


@pytest.mark.parametrize(
    ("told", "event"),
    [
        (True, StoreChanged(generation=1, tables=frozenset({"devices"}), whole=False)),
        (False, StoreChanged(generation=1, tables=frozenset(table.value for table in Table), whole=True)),
    ],
)
async def test_another_process_is_seen_to_write_though_nobody_asks(
    told: bool,  # noqa: FBT001 - whether it can be told what it wrote
    event: StoreChanged,
    autojump_clock: MockClock,
) -> None:
    disk = MemoryDisk()
    async with supervised(disk) as supervisor:
        with supervisor.subscribe(StoreChanged) as events:
            await trio.sleep(1)
            disk.write_from_elsewhere({Table.DEVICES: [Row(b"key", b"partition", b"value")]}, keys_known=told)
            assert event == await events.receive()
            await trio.sleep(1)
            assert received(events) == []


async def test_nobody_looks_for_writes_that_nobody_wants_to_hear_of(autojump_clock: MockClock) -> None:
    faults = Faults()
    async with supervised(MemoryDisk(), faults=faults, options=Options(watch=0.1)) as supervisor:
        await supervisor.ask(SyncToken())
        with supervisor.subscribe(RoomKeyImportProgress, ToDeviceDelayed):
            looks = len(faults.steps)
            await trio.sleep(60)
            assert len(faults.steps) == looks


async def test_a_look_that_fails_is_made_again(autojump_clock: MockClock) -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults) as supervisor:
        with supervisor.subscribe(StoreChanged) as events:
            await trio.sleep(1)
            disk.write_from_elsewhere()
            faults.at("look", StoreFull())
            assert (await events.receive()).generation == 1
