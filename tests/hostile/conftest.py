"""The device under test and those around it, as in `tests.operations`; here some of them lie.

`bob` is the honest one. What the homeserver can do is done to `server` and to what the device is handed; Mallory is a
user elsewhere, who is in the same rooms.
"""

from __future__ import annotations

import pytest

from olmstate.actors import Supervisor
from olmstate.messages import DeviceId, DeviceIdentity
from tests.hostile.people import MALLORY, Us
from tests.operations.conftest import alice, bob, clock, device, empty, friend, me, other, server
from tests.operations.device import KeyServer
from tests.operations.peer import Peer

__all__ = ["alice", "bob", "clock", "device", "empty", "friend", "mallory", "me", "other", "server"]


@pytest.fixture
def mallory() -> Peer:
    """A device whose keys the device under test hasn't been told."""
    return Peer(MALLORY, DeviceId("MALLORYDEV"))


@pytest.fixture
def us(alice: Supervisor, me: DeviceIdentity, server: KeyServer) -> Us:
    """The device under test."""
    return Us(alice, me, server)
