"""Devices of one user on a homeserver in memory, and others' devices there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.messages import CreateAccount, DeviceId, IdentityKeys, NoAccount, Request, Response, UserId
from tests.operations.peer import Peer
from tests.peer.homeserver import Homeserver
from tests.peer.session import API
from tests.peer.transport import transport_of


@attrs.define(slots=False)
class World:
    """A homeserver, a device's store, and what the device's processes have asked."""

    homeserver: Homeserver = attrs.field(factory=Homeserver)
    disk: MemoryDisk = attrs.field(factory=MemoryDisk)
    asked: list[Request] = attrs.field(factory=list[Request])
    fail: bool = False

    def __attrs_post_init__(self) -> None:
        self._send = transport_of(self.homeserver.log_in(USER, DEVICE))

    async def send(self, request: Request) -> Response:
        self.asked.append(request)
        await trio.sleep(0.1)
        if self.fail:
            raise ConnectionResetError
        return await self._send(request)

    async def log_in(self, user_id: str, device_id: str = "DEV") -> Peer:
        """Another's device, which publishes its keys."""
        peer = Peer(user_id=UserId(user_id), device_id=DeviceId(device_id))
        session = self.homeserver.log_in(user_id, device_id)
        await session.request("POST", f"{API}/keys/upload", {"device_keys": peer.device_keys()})
        return peer

    @asynccontextmanager
    async def process(self, *, transport: bool = True) -> AsyncGenerator[Supervisor]:
        """One of the device's processes."""
        store = MemoryStore(self.disk)
        async with run_supervisor(
            store,
            user_id=USER,
            device_id=DEVICE,
            options=Options(wall_clock=lambda: round(trio.current_time() * 1000)),
            transport=self.send if transport else None,
        ) as supervisor:
            try:
                await supervisor.ask(IdentityKeys())
            except NoAccount:
                await supervisor.ask(CreateAccount())
            yield supervisor
        store.presence.close()

    @property
    def queries(self) -> list[set[str]]:
        """The users of each ``/keys/query``."""
        queries = (each.body for each in self.homeserver.asked if each.target.endswith("/keys/query"))
        return [set(body["device_keys"]) for body in queries if body]


@pytest.fixture
def world() -> World:
    return World()
