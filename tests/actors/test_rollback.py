"""A turn that failed leaves nothing behind."""

from __future__ import annotations

import pytest

from olmstate.actors import run_supervisor
from olmstate.actors.testing import DEVICE, USER, Faults, MemoryDisk, MemoryStore
from olmstate.messages import CreateAccount, DecryptRoomEvent, MissingRoomKey, StoreFull
from tests.actors.peers import Peer, Room


async def test_what_a_failed_turn_has_changed_is_not_written_by_the_next_one() -> None:
    # rolling back was a notice in a list, and an idle actor's rows were collected before it had looked at its list
    disk, faults, room = MemoryDisk(), Faults(), Room(Peer())
    async with run_supervisor(MemoryStore(disk, faults=faults), user_id=USER, device_id=DEVICE) as supervisor:
        faults.at("commit", StoreFull())
        with pytest.raises(StoreFull):
            await supervisor.ask(room.room_key())
        await supervisor.ask(CreateAccount())
    async with run_supervisor(MemoryStore(disk), user_id=USER, device_id=DEVICE) as another:
        with pytest.raises(MissingRoomKey):
            await another.ask(DecryptRoomEvent(room_id=room.room_id, event=room.send()))
