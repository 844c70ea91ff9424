"""Statistics, and the event that tells of others' writes."""

from __future__ import annotations

import pytest
from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.messages import (
    CreateAccount,
    DecryptRoomEvent,
    DeviceIdentity,
    IdentityKeys,
    NoAccount,
    Statistics,
    StoreChanged,
    SyncToken,
)
from olmstate.storage import Table
from tests.operations.device import ROOM
from tests.operations.peer import Peer


async def test_turns_commits_and_commands_are_counted(empty: Supervisor) -> None:
    before = await empty.ask(Statistics())
    assert (0, 0, 0, 0) == (before.turns, before.commits, before.commands, before.generation)

    await empty.ask(CreateAccount())
    with pytest.raises(Exception, match="already"):
        await empty.ask(CreateAccount())

    after = await empty.ask(Statistics())
    assert (2, 1, 2, 1) == (after.turns, after.commits, after.commands, after.generation)
    assert 1 == after.largest_batch


async def test_queries_have_no_turn(empty: Supervisor) -> None:
    with pytest.raises(NoAccount):
        await empty.ask(IdentityKeys())
    await empty.ask(SyncToken())

    assert 0 == (await empty.ask(Statistics())).turns


async def test_whoever_is_idle_holds_no_lock(alice: Supervisor, other: Supervisor) -> None:
    for supervisor in (alice, other):
        statistics = await supervisor.ask(Statistics())
        assert (False, None) == (statistics.lock_held, statistics.lock_holder)


async def test_every_data_type_has_a_cache_whose_use_is_counted(alice: Supervisor, bob: Peer) -> None:
    group = GroupSession()
    await alice.ask(bob.add_room_key(ROOM, group))
    event = bob.room_event(ROOM, group)
    before = (await alice.ask(Statistics())).caches
    for _ in range(3):
        await alice.ask(DecryptRoomEvent(room_id=ROOM, event=event))

    after = (await alice.ask(Statistics())).caches

    assert {table.value for table in Table} == set(after)
    name = Table.INBOUND_GROUP_SESSIONS.value
    assert before[name].hits + 3 == after[name].hits
    assert before[name].misses == after[name].misses


async def test_anothers_write_is_noticed_once_and_drops_only_what_it_wrote(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, bob: Peer
) -> None:
    ours, theirs = GroupSession(), GroupSession()
    await alice.ask(bob.add_room_key(ROOM, ours))
    event = bob.room_event(ROOM, ours)
    await alice.ask(DecryptRoomEvent(room_id=ROOM, event=event))
    before = await alice.ask(Statistics())

    await other.ask(bob.add_room_key(ROOM, theirs))
    for _ in range(2):
        assert me == await alice.ask(IdentityKeys())
        await alice.ask(DecryptRoomEvent(room_id=ROOM, event=event))

    after = await alice.ask(Statistics())
    assert before.foreign_writes + 1 == after.foreign_writes
    assert before.generation + 1 == after.generation == (await other.ask(Statistics())).generation
    name = Table.INBOUND_GROUP_SESSIONS.value
    assert before.caches[name].loaded == after.caches[name].loaded  # it was cached all the time


async def test_subscribers_hear_of_anothers_write_and_not_of_their_own(
    alice: Supervisor, other: Supervisor, bob: Peer
) -> None:
    with alice.subscribe(StoreChanged) as events:
        await alice.ask(bob.add_room_key(ROOM, GroupSession()))
        await other.ask(bob.add_room_key(ROOM, GroupSession()))

        heard = await events.receive()

        assert frozenset({Table.INBOUND_GROUP_SESSIONS.value, Table.EVENTS.value}) == heard.tables
        assert not heard.whole
        assert (await other.ask(Statistics())).generation == heard.generation
        await alice.ask(SyncToken())
        assert 0 == events.statistics().current_buffer_used
