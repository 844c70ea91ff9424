"""Messages that may be asked with very much, or bring it: no step of the work is longer than with little."""

from __future__ import annotations

from pathlib import Path

import pytest

from olmstate.messages import CreateAccount
from tests.cost.asks import ASKS
from tests.cost.conftest import opened
from tests.cost.longest_step import MOST_CALLS, longest_step

MANY = {
    "CancelRoomKeyRequests": 200,
    "ForgetParkedEvents": 1_000,
    "OutdatedUsers": 2_000,
    "OutgoingRequests": 2_000,
    "ParkEvents": 1_000,
    "ReceiveSync, account data": 4_000,
    "ReceiveSync, device lists": 1_000,
    "ReceiveSync, many rooms": 1_000,
    "ReceiveSync, rooms": 20_000,
    "RequestRoomKeys": 500,
    "RoomKeyRequests": 1_000,
    "TrackUsers": 2_000,
}


@pytest.mark.parametrize("name", MANY)
async def test_much_is_dealt_with_a_little_at_a_time(name: str, tmp_path: Path) -> None:
    async with opened(tmp_path) as supervisor:
        await supervisor.ask(CreateAccount())
        message = await ASKS[name](supervisor, MANY[name])
    async with opened(tmp_path) as supervisor, longest_step() as counted:
        await supervisor.ask(message)
    assert counted.calls < MOST_CALLS
    assert counted.total > 2 * MOST_CALLS
