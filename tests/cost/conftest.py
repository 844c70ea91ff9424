"""A device whose work is counted. Nothing happens by itself: what is written behind waits for the next turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from olmstate.actors import Options, Supervisor, open_supervisor
from olmstate.messages import CreateAccount
from tests.operations.device import ALICE, ALICE_DEVICE, KEY


def opened(folder: Path) -> AbstractAsyncContextManager[Supervisor]:
    """A supervisor on the store in a folder."""
    options = Options(write_behind=3600.0)
    return open_supervisor(folder / "store", user_id=ALICE, device_id=ALICE_DEVICE, key=KEY, options=options)


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[Supervisor]:
    """A supervisor on a real store with a new account."""
    async with opened(tmp_path) as supervisor:
        await supervisor.ask(CreateAccount())
        yield supervisor
