"""A turn that derives from what is no longer true is turned back and runs again, even if the lock was lost."""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec
import pytest
import trio
from trio.testing import MockClock

from olmstate.actors import Options, Supervisor
from olmstate.actors._devices.actor import DevicesActor
from olmstate.actors._engine.actor import MessageOf
from olmstate.actors._engine.runner import MOST_FENCED, MOST_ROWS
from olmstate.actors._engine.states import State
from olmstate.actors._rooms.actor import Asked, Current, OutboundGroupSessionsActor
from olmstate.actors._wire.steps import Steps
from olmstate.actors.testing import Faults, MemoryDisk
from olmstate.messages import (
    CreateAccount,
    DecryptRoomEvent,
    Devices,
    EncryptRoomEvent,
    IdentityKeys,
    MarkRoomKeyShared,
    Message,
    OutboundRoomKey,
    PrepareRoomKey,
    RoomKeyShare,
    ShareRoomKey,
    Statistics,
    StoreChanged,
    StorePoisoned,
    SyncToken,
)
from olmstate.storage import Fenced, Row, Table
from tests.actors.capabilities import with_actor
from tests.actors.supervised import supervised
from tests.operations.device import ROOM
from tests.operations.peer import Peer, Room, add_devices

R = TypeVar("R")

MESSAGE = EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={"body": "hello"})


async def share(supervisor: Supervisor) -> None:
    await supervisor.ask(CreateAccount())
    made = await supervisor.ask(PrepareRoomKey(room_id=ROOM))
    await supervisor.ask(MarkRoomKeyShared(room_id=ROOM, session_id=made.session_id, devices=()))


async def test_a_turn_that_is_fenced_runs_again_from_what_is_true_now() -> None:
    disk, faults, bob, carol = MemoryDisk(), Faults(), Peer(), Peer("@bob:example.org", "BOB2")
    async with supervised(disk, faults=faults) as supervisor, supervised(disk, pid=2) as other:
        await other.ask(add_devices(bob))
        committed = disk.rows(Table.DEVICES)
        disk.write_from_elsewhere({Table.DEVICES: [msgspec.structs.replace(row, value=None) for row in committed]})
        faults.at("commit", lambda: disk.write_from_elsewhere({Table.DEVICES: committed}))
        added = await supervisor.ask(add_devices(carol))  # bob is gone, says this one: it must know of him
        statistics = await supervisor.ask(Statistics())
    assert (carol.address,) == added.added
    assert (bob.address,) == added.removed
    assert statistics.fenced == 1
    assert statistics.turns == statistics.commits == 1


async def test_an_index_that_another_has_reserved_meanwhile_is_not_used_though_a_query_has_looked_at_it(
    autojump_clock: MockClock,
) -> None:
    # the commit was fenced by the newest generation known, which a query beside the turn had moved on
    disk, faults, room = MemoryDisk(), Faults(), Room(Peer())
    options = Options(capacities={Table.MESSAGE_INDICES: 0}, write_behind=3600)
    async with supervised(disk) as other:
        await share(other)
        await other.ask(room.add_room_key())

    def reserve_from_elsewhere() -> None:
        (row,) = disk.rows(Table.OUTBOUND_GROUP_SESSIONS)
        assert row.value is not None
        session = json.loads(row.value)
        value = json.dumps({**session, "reserved": session["reserved"] + 8}).encode()
        disk.write_from_elsewhere({Table.OUTBOUND_GROUP_SESSIONS: [msgspec.structs.replace(row, value=value)]})

    async with supervised(disk, faults=faults, latency=lambda _: 1, options=options) as supervisor:
        with supervisor.subscribe(StoreChanged):  # so that somebody looks while the turn is under way
            await supervisor.ask(IdentityKeys())
            await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=room.send()))
            faults.at("read", lambda: faults.at("read", reserve_from_elsewhere))  # once it is encrypted
            encrypted = await supervisor.ask(MESSAGE)
        statistics = await supervisor.ask(Statistics())
    assert encrypted.message_index == 8
    assert statistics.fenced == 1


@pytest.mark.parametrize(
    "message",
    [PrepareRoomKey(room_id=ROOM), ShareRoomKey(room_id=ROOM, devices=(Peer().address,))],
    ids=["room-key", "share-room-key"],
)
async def test_a_session_that_another_forgets_in_the_midst_of_a_turn_turns_it_back_and_no_more(
    message: Message[OutboundRoomKey | RoomKeyShare], monkeypatch: pytest.MonkeyPatch
) -> None:
    # there was a session, and a moment later none to export: an AssertionError took the supervisor down
    disk = MemoryDisk()

    class Interrupted(OutboundGroupSessionsActor):
        async def ask(self, message: MessageOf[Asked, R]) -> R:
            reply = await super().ask(message)
            rows = disk.rows(Table.OUTBOUND_GROUP_SESSIONS)
            asked: object = message
            if isinstance(asked, Current) and rows:
                disk.write_from_elsewhere(
                    {Table.OUTBOUND_GROUP_SESSIONS: [msgspec.structs.replace(row, value=None) for row in rows]}
                )
                await supervisor.ask(SyncToken())  # so that it is seen
            return reply

    async with supervised(disk) as other:
        await share(other)
        before = (await other.ask(PrepareRoomKey(room_id=ROOM))).session_id
    monkeypatch.setattr("olmstate.actors._open.CAPABILITIES", with_actor(OutboundGroupSessionsActor, Interrupted))
    async with supervised(disk) as supervisor:
        assert before != (await supervisor.ask(message)).session_id
        assert (await supervisor.ask(Statistics())).fenced == 1


async def test_others_get_their_turn_between_the_making_of_many_rows_and_their_commit_which_knows_what_they_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk, carol = MemoryDisk(), Peer("@carol:example.org")
    async with supervised(disk) as other:
        await other.ask(add_devices(carol))
        committed = disk.rows(Table.DEVICES)
        disk.write_from_elsewhere({Table.DEVICES: [msgspec.structs.replace(row, value=None) for row in committed]})
    made = False

    class Noted(DevicesActor):
        def changed_rows(self) -> Steps[dict[Table, list[Row]]]:
            nonlocal made
            rows = yield from super().changed_rows()
            made = True
            return rows

    class WriteFromElsewhere(trio.abc.Instrument):
        def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - it is the supervisor's
            if made:
                trio.lowlevel.remove_instrument(self)
                disk.write_from_elsewhere({Table.DEVICES: committed})

    monkeypatch.setattr("olmstate.actors._open.CAPABILITIES", with_actor(DevicesActor, Noted))
    many = [Peer(device_id=f"BOB{number}") for number in range(MOST_ROWS + 1)]
    async with supervised(disk) as supervisor:
        trio.lowlevel.add_instrument(WriteFromElsewhere())
        added = await supervisor.ask(add_devices(*many))
        statistics = await supervisor.ask(Statistics())
        assert (carol.keys,) == await supervisor.ask(Devices(user_id=carol.user_id))
    assert {peer.address for peer in many} == set(added.added)
    assert len(disk.rows(Table.DEVICES)) == len(many) + 1
    assert (1, 1) == (statistics.fenced, statistics.commits)


async def test_a_turn_that_is_turned_back_again_and_again_is_given_up_and_nothing_leaves() -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults) as supervisor:
        for _ in range(MOST_FENCED):
            faults.at("commit", Fenced())
        with pytest.raises(StorePoisoned, match="others commit"):
            await supervisor.ask(CreateAccount())
        assert supervisor.state is State.POISONED
        with pytest.raises(StorePoisoned, match="others commit"):
            await supervisor.ask(SyncToken())
    assert disk.generation == 0


async def test_a_turn_may_be_turned_back_all_times_but_one() -> None:
    disk, faults = MemoryDisk(), Faults()
    async with supervised(disk, faults=faults) as supervisor:
        for _ in range(MOST_FENCED - 1):
            faults.at("commit", Fenced())
        await supervisor.ask(CreateAccount())
        assert (await supervisor.ask(Statistics())).fenced == MOST_FENCED - 1
    assert disk.generation == 1


async def test_a_commit_that_a_query_sees_before_the_turn_does_is_our_own(autojump_clock: MockClock) -> None:
    # it was counted and told as another's: who answers StoreChanged with a command never came to rest
    disk = MemoryDisk()
    async with supervised(disk, latency=lambda _: 1) as supervisor, trio.open_nursery() as nursery:
        with supervisor.subscribe(StoreChanged) as events:  # the watch looks all the time
            nursery.start_soon(supervisor.ask, CreateAccount())
            await trio.sleep(60)
            with pytest.raises(trio.WouldBlock):
                events.receive_nowait()
        assert (await supervisor.ask(Statistics())).foreign_writes == 0


async def test_a_foreign_commit_that_is_seen_while_ours_is_under_way_is_told_once_ours_is_turned_back(
    autojump_clock: MockClock,
) -> None:
    disk, faults, bob = MemoryDisk(), Faults(), Peer()
    async with supervised(disk, faults=faults, latency=lambda _: 1) as supervisor:
        await supervisor.ask(Devices(user_id=bob.user_id))
        with supervisor.subscribe(StoreChanged) as events:
            faults.at("commit", disk.write_from_elsewhere)
            await supervisor.ask(CreateAccount())
            assert StoreChanged(generation=1, tables=frozenset(), whole=False) == events.receive_nowait()
            with pytest.raises(trio.WouldBlock):
                events.receive_nowait()
        assert (await supervisor.ask(Statistics())).foreign_writes == 1
