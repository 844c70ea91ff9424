"""A device under test, of which every test has a new one on a real store, and the people around it.

Rule: nothing happens by itself. What is written behind waits for the next turn, and the wall clock stands still until
a test moves it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import attrs
import pytest

from olmstate.actors import Options, Supervisor, open_supervisor
from olmstate.messages import AddDevices, CreateAccount, DeviceIdentity, IdentityKeys
from tests.operations.device import ALICE, ALICE_DEVICE, KEY, Clock, KeyServer, meet
from tests.operations.peer import Peer, keys_query


@attrs.frozen
class Device:
    """Opens supervisors of the device under test."""

    folder: Path
    clock: Clock

    def open(self, folder: Path | None = None) -> AbstractAsyncContextManager[Supervisor]:
        """One more."""
        options = Options(write_behind=1e9, wall_clock=self.clock)
        return open_supervisor(folder or self.folder, user_id=ALICE, device_id=ALICE_DEVICE, key=KEY, options=options)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def device(tmp_path: Path, clock: Clock) -> Device:
    return Device(tmp_path / "store", clock)


@pytest.fixture
async def empty(device: Device) -> AsyncIterator[Supervisor]:
    """A supervisor on a store without an account."""
    async with device.open() as supervisor:
        yield supervisor


@pytest.fixture
async def alice(empty: Supervisor) -> Supervisor:
    """A supervisor on a store with a new account."""
    await empty.ask(CreateAccount())
    return empty


@pytest.fixture
async def other(alice: Supervisor, device: Device) -> AsyncIterator[Supervisor]:
    """Another supervisor on the same store."""
    async with device.open() as supervisor:
        yield supervisor


@pytest.fixture
async def me(alice: Supervisor) -> DeviceIdentity:
    """Who the device under test is."""
    return await alice.ask(IdentityKeys())


@pytest.fixture
def server() -> KeyServer:
    """A homeserver, as far as keys are concerned."""
    return KeyServer()


@pytest.fixture
async def bob(alice: Supervisor) -> Peer:
    """A device whose keys are known, and nothing else."""
    peer = Peer()
    await alice.ask(AddDevices(response=keys_query(peer)))
    return peer


@pytest.fixture
async def friend(alice: Supervisor, bob: Peer, server: KeyServer) -> Peer:
    """A device with an Olm session that both sides have used."""
    await meet(alice, bob, server)
    return bob
