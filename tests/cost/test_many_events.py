"""Thousands of room events at once: no step of the work is longer than with a few."""

from __future__ import annotations

from pathlib import Path

import pytest

from olmstate.actors import Supervisor
from olmstate.messages import CreateAccount, DecryptRoomEvents, ImportRoomKeys, JsonObject
from tests.bench.device import ROOM as BENCH_ROOM
from tests.bench.device import encrypted_events, exported_sessions, share
from tests.cost.conftest import opened
from tests.cost.longest_step import MOST_CALLS, longest_step


async def test_events_are_decrypted_a_few_at_a_time(alice: Supervisor) -> None:
    await share(alice)
    events = tuple((BENCH_ROOM, event) for event in await encrypted_events(alice, 1_000))
    async with longest_step() as counted:
        await alice.ask(DecryptRoomEvents(events=events))
    assert counted.calls < MOST_CALLS
    assert counted.total > 4 * MOST_CALLS


async def test_room_keys_are_loaded_a_few_at_a_time(tmp_path: Path) -> None:
    keys, events = exported_sessions(400)
    async with opened(tmp_path) as alice:
        await alice.ask(CreateAccount())
        await alice.ask(ImportRoomKeys(keys=tuple(keys)))
    async with opened(tmp_path) as alice, longest_step() as counted:
        await alice.ask(DecryptRoomEvents(events=tuple((BENCH_ROOM, event) for event in events)))
    assert counted.calls < MOST_CALLS
    assert counted.total > 4 * MOST_CALLS


@pytest.mark.parametrize("size", [1_000, 60_000])
async def test_large_events_are_decrypted_fewer_at_a_time(alice: Supervisor, size: int) -> None:
    event: JsonObject = {"sender": "@b:c", "content": {"ciphertext": "A" * size, "session_id": "no session"}}
    async with longest_step() as counted:
        await alice.ask(DecryptRoomEvents(events=((BENCH_ROOM, event),) * 1000))
    # each is refused at once, so that what differs is how often others had their turn
    assert counted.steps > 1000 * (1 + size // 4096) // 48
