"""A turn is written whole or not at all, whatever happens beside it."""

from __future__ import annotations

import pytest

from olmstate.actors._room_keys.actor import AddRoomKeys
from olmstate.actors.testing import ActorsUnderTest, Faults, MemoryDisk, MemoryStore, run_actor
from olmstate.messages import CreateAccount, DecryptRoomEvent, MissingRoomKey, StoreFull, StoreUnavailable
from tests.actors.peers import new_room_key
from tests.actors.supervised import supervised
from tests.operations.peer import Peer, Room


async def test_what_a_failed_turn_has_changed_is_not_written_by_the_next_one() -> None:
    # rolling back was a notice in a list, and an idle actor's rows were collected before it had looked at its list
    disk, faults, room = MemoryDisk(), Faults(), Room(Peer())
    async with supervised(disk, faults=faults) as supervisor:
        faults.at("commit", StoreFull())
        with pytest.raises(StoreFull):
            await supervisor.ask(room.add_room_key())
        await supervisor.ask(CreateAccount())
    async with supervised(disk) as another:
        with pytest.raises(MissingRoomKey):
            await another.ask(DecryptRoomEvent(room_id=room.room_id, event=room.send()))


async def test_a_query_that_the_store_fails_takes_nothing_away_from_the_turn_beside_it() -> None:
    # the actor dropped what the turn had changed as well, and the turn was committed without it
    disk, faults, room, other = MemoryDisk(), Faults(), Room(Peer()), Room(Peer())
    actors = ActorsUnderTest(MemoryStore(disk, faults=faults))
    async with run_actor(actors.inbound_group_sessions) as inbound:
        await inbound.ask(AddRoomKeys(room_keys=(new_room_key(room),)))
        faults.at("read", StoreUnavailable(reason="I/O error"))
        with pytest.raises(StoreUnavailable):
            await inbound.ask(DecryptRoomEvent(room_id=other.room_id, event=other.send()))
        await actors.commit()
        decrypted = await inbound.ask(DecryptRoomEvent(room_id=room.room_id, event=room.send({"body": "kept"})))
    assert decrypted.content == {"body": "kept"}


async def test_a_query_that_the_store_fails_leaves_no_clean_copy_behind() -> None:
    disk, faults, room, other = MemoryDisk(), Faults(), Room(Peer()), Room(Peer())
    actors = ActorsUnderTest(MemoryStore(disk, faults=faults))
    async with run_actor(actors.inbound_group_sessions) as inbound:
        await inbound.ask(AddRoomKeys(room_keys=(new_room_key(room),)))
        await actors.commit()
        faults.at("read", StoreUnavailable(reason="I/O error"))
        with pytest.raises(StoreUnavailable):
            await inbound.ask(DecryptRoomEvent(room_id=other.room_id, event=other.send()))
        before = inbound.statistics()["inbound_group_sessions"]
        await inbound.ask(DecryptRoomEvent(room_id=room.room_id, event=room.send()))
        after = inbound.statistics()["inbound_group_sessions"]
    assert before.cached == 0
    assert after.loaded == before.loaded + 1
