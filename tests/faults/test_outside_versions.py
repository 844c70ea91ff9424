"""Trouble from outside: two versions of olmstate use one store, and the newer one migrates it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from olmstate.messages import RotateRoomKey, SchemaTooNew
from tests.faults.client import BUSY, SHARED, open_client, send
from tests.faults.cores import desks
from tests.faults.next_version import next_version
from tests.faults.world import World


@pytest.mark.parametrize("first", ["older", "newer"])
def test_two_versions_that_open_a_store_at_once_lose_and_reuse_nothing(
    first: str, world: World, memory_folder: Path
) -> None:
    with desks(memory_folder, 2) as ((_, older), (_, newer)):
        older.start(world.store, world.journal, "send")
        newer.start(world.store, world.journal, "send", next_version=True)
        for process in (older, newer) if first == "older" else (newer, older):
            process.let_go()
        assert older.wait() == 0
        assert newer.wait() == 0
    with next_version():
        world.live()


async def test_a_process_that_has_the_store_open_when_it_is_migrated_is_refused_from_then_on(
    world: World, memory_folder: Path
) -> None:
    homeserver = world.homeserver()
    with desks(memory_folder, 1) as ((_, newer),):
        async with open_client(world.store, homeserver) as (supervisor, _):
            await send(supervisor, homeserver, SHARED, 1)
            newer.start(world.store, world.journal, "send", next_version=True)
            assert await trio.to_thread.run_sync(newer.go) == 0
            with pytest.raises(SchemaTooNew):
                await supervisor.ask(RotateRoomKey(room_id=BUSY))
            with pytest.raises(SchemaTooNew):
                await send(supervisor, homeserver, SHARED, 1)
    world.homeserver().judge()
