"""A commit that is on the disk before its own call returns: a query in between sees it, and it isn't called foreign."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import MockClock

from olmstate.actors import run_supervisor
from olmstate.actors.testing import MemoryDisk, MemoryStore
from olmstate.messages import CreateAccount, DeviceId, ReceiveSync, Statistics, StoreChanged, SyncToken, UserId
from olmstate.storage import Row, Table, open_store

ALICE, DEVICE = UserId("@alice:example.org"), DeviceId("ALICE")


async def test_a_query_sees_our_commit_before_it_returns_and_calls_it_ours(autojump_clock: MockClock) -> None:
    store = MemoryStore(MemoryDisk(), latency=lambda step: 2.0 if step.operation == "commit" else 0.0)
    async with run_supervisor(store, user_id=ALICE, device_id=DEVICE) as supervisor:
        await supervisor.ask(CreateAccount())
        with supervisor.subscribe(StoreChanged) as changes:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervisor.ask, ReceiveSync(sync={"next_batch": "s1"}))
                await trio.sleep(0.5)
                assert None is await supervisor.ask(SyncToken())
                await trio.sleep(1.0)  # written, and the commit has yet to return
                assert "s1" == await supervisor.ask(SyncToken())
            assert "s1" == await supervisor.ask(SyncToken())
            assert 0 == changes.statistics().current_buffer_used
        assert 0 == (await supervisor.ask(Statistics())).foreign_writes


async def test_the_store_on_disk_knows_its_own_commit_from_another_handles(tmp_path: Path) -> None:
    first = await open_store(tmp_path, user_id=ALICE, device_id=DEVICE, key=None)
    second = await open_store(tmp_path, user_id=ALICE, device_id=DEVICE, key=None)
    rows = {Table.DEVICES: [Row(b"key", b"partition", b"value")]}
    await first.lock.acquire(1.0)
    assert 1 == await first.commit(rows, 0)
    first.lock.release()
    assert first.changes(0).ours
    assert not second.changes(0).ours
    assert not first.changes(1).ours  # nothing new at all
    await second.aclose()
    await first.aclose()
