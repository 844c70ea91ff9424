"""What real supervisors do on a real store is written down whole, and is right."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import attrs
import pytest
import trio

from olmstate.actors import run_supervisor
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    CreateAccount,
    DecryptRoomEvent,
    DecryptToDevice,
    MissingRoomKey,
    PrepareOneTimeKeys,
    SyncToken,
)
from olmstate.storage import Table, open_store
from tests.faults.checker import check
from tests.faults.history import Entry, FileSink, Kind, Log, read_history
from tests.faults.recording import RecordingStore, RecordingSupervisor, record_stored
from tests.operations.peer import Peer
from tests.peer.key_server import PublishedKeys
from tests.simulation.actions import ACTIONS
from tests.simulation.client import Client
from tests.simulation.world import Baseline, World


@asynccontextmanager
async def recorded(folder: Path, process: str) -> AsyncGenerator[RecordingSupervisor]:
    """A supervisor on the store in ``folder``, which writes down what it does."""
    inner = await open_store(folder / "store", user_id=USER, device_id=DEVICE, key=None)
    log = Log(FileSink(folder, process), process)
    store = RecordingStore(inner, log)
    try:
        async with run_supervisor(store, user_id=USER, device_id=DEVICE) as supervisor, trio.open_nursery() as nursery:
            recording = RecordingSupervisor(supervisor, store, log)
            await nursery.start(recording.listen)
            yield recording
            nursery.cancel_scope.cancel()
        await record_stored(inner, log, inner.info().generation)
    finally:
        await inner.aclose()


async def test_two_supervisors_on_one_store_leave_a_history_that_is_right(tmp_path: Path) -> None:
    async with recorded(tmp_path, "1-a") as one, recorded(tmp_path, "1-b") as other:
        assert await one.ask(SyncToken()) is None
        me = await one.ask(CreateAccount())
        keys = await other.ask(PrepareOneTimeKeys())
        published = PublishedKeys()
        published.take(attrs.asdict(keys))
        base = Baseline(
            rows={},
            me=me,
            peers=tuple(Peer(device_id=name).snapshot() for name in ("BOBDEV", "BOBDEV2")),
            published=published,
        )
        world = World(base, random.Random(1), Log(FileSink(tmp_path, "0-world"), "0-world"))
        said = world.new_room_key(world.peers[0])
        with pytest.raises(MissingRoomKey):
            await one.ask(DecryptRoomEvent(room_id=said.room_id, event=world.events[0].event))
        await Client(other, world).query_devices()
        world.meet(world.peers[0])  # by chance alone, nobody may
        await other.ask(DecryptToDevice(events=(world.peers[0].event(me),)))
        for _ in range(2):
            for _, action in ACTIONS:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(action, Client(one, world))
                    nursery.start_soon(action, Client(other, world))
        world.log.write("calm")
        await Client(one, world).catch_up()
    history = read_history(tmp_path)
    assert [] == check(history)
    assert set(get_args(Kind)) - {"refused", "unknown", "elsewhere", "cancelled"} == {entry.kind for entry in history}
    assert {table.value for table in Table} >= tables_of(history) >= {"account", "sync", "olm_sessions", "devices"}


def tables_of(history: list[Entry]) -> set[str]:
    """The tables that something was written to."""
    return {row[0] for entry in history if entry.kind == "committing" for row in entry.data["rows"]}
