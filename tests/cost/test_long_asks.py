"""Messages that may be asked with very much, or bring it: no step of the work is longer than with little."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from olmstate.actors import Supervisor
from olmstate.actors._room_keys.operations import EVENTS_AT_ONCE
from olmstate.actors._wire.json_parts import AT_ONCE, PART
from olmstate.messages import (
    AddDevices,
    CreateAccount,
    CreateOlmSessions,
    MarkRequestSent,
    Message,
    NoTransport,
    OutgoingRequests,
    ReceiveSync,
)
from tests.cost.conftest import opened
from tests.cost.large_asks import LONG_ASKS, MOVING_IN, OF_LARGE, prepare_large
from tests.cost.longest_step import MOST_CALLS, longest_step

MANY = {
    "AcknowledgeInbox": 1_000,
    "CancelRoomKeyRequests": 200,
    "EncryptForRoom": 400,
    "EncryptForRoom, with a new key": 200,
    "ForgetParkedEvents": 1_000,
    "MissingSessions": 1_500,
    "OutdatedUsers": 2_000,
    "OutgoingRequests": 2_000,
    "ParkEvents": 1_000,
    "ReceiveSync, account data": 4_000,
    "ReceiveSync, device lists": 1_000,
    "ReceiveSync, many rooms": 1_000,
    "ReceiveSync, rooms": 20_000,
    "RequestRoomKeys": 2_000,
    "RoomKeyRequests": 1_000,
    "TrackUsers": 20_000,
}
FEW_LARGE = 40


@pytest.mark.parametrize("name", MANY)
async def test_much_is_dealt_with_a_little_at_a_time(name: str, tmp_path: Path) -> None:
    async with opened(tmp_path) as supervisor:
        await supervisor.ask(CreateAccount())
        message = await LONG_ASKS[name](supervisor, MANY[name])
    async with opened(tmp_path) as supervisor, longest_step() as counted:
        with contextlib.suppress(NoTransport):
            await supervisor.ask(message)
    assert counted.calls < MOST_CALLS
    assert counted.total > 2 * MOST_CALLS


async def test_an_account_is_taken_over_a_little_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as supervisor:
        message = await LONG_ASKS[MOVING_IN](supervisor, 400)
        async with longest_step() as counted:
            await supervisor.ask(message)
    assert counted.calls < MOST_CALLS
    assert counted.total > 2 * MOST_CALLS


@pytest.mark.parametrize("name", OF_LARGE)
async def test_of_what_is_large_less_is_done_at_a_time(name: str, tmp_path: Path) -> None:
    # one call of C encrypts or checks it, so that what differs is how often others had their turn
    steps: list[int] = []
    for large in (False, True):
        async with opened(tmp_path / f"{large}") as supervisor:
            await supervisor.ask(CreateAccount())
            message = await prepare_large(name, supervisor, FEW_LARGE, large=large)
            async with longest_step() as counted:
                await supervisor.ask(message)
        steps.append(counted.steps)
    assert steps[1] >= steps[0] + FEW_LARGE // 8  # either may take three more, as Trio happens to schedule


async def test_of_events_for_which_a_ratchet_goes_far_fewer_are_decrypted_at_a_time(alice: Supervisor) -> None:
    backwards = await LONG_ASKS["DecryptRoomEvents, backwards"](alice, 60)
    async with longest_step(only="decrypt") as counted:
        await alice.ask(backwards)
    assert 60 == counted.total
    assert counted.calls <= EVENTS_AT_ONCE // 2


async def _syncing(_: Supervisor, padding: str) -> Message[Any]:
    return ReceiveSync(sync=json.dumps({"next_batch": "s", "padding": [padding]}))


async def _adding(_: Supervisor, padding: str) -> Message[Any]:
    return AddDevices(response=json.dumps({"device_keys": {}, "padding": [padding]}))


async def _creating(_: Supervisor, padding: str) -> Message[Any]:
    return CreateOlmSessions(one_time_keys=json.dumps({"one_time_keys": {}, "padding": [padding]}))


async def _answering(supervisor: Supervisor, padding: str) -> Message[Any]:
    request, *_ = await supervisor.ask(OutgoingRequests())
    answer = {"one_time_key_counts": {"signed_curve25519": 50}, "padding": [padding]}
    return MarkRequestSent(request_id=request.request_id, response=json.dumps(answer))


@pytest.mark.parametrize("prepare", [_syncing, _adding, _creating, _answering])
async def test_a_large_answer_is_parsed_a_little_at_a_time(
    prepare: Callable[[Supervisor, str], Awaitable[Message[Any]]], alice: Supervisor
) -> None:
    # one call of C parses it at once, which counts as one call
    message = await prepare(alice, "x" * 4 * AT_ONCE)
    async with longest_step() as counted:
        await alice.ask(message)
    assert counted.steps > 4 * AT_ONCE // PART
