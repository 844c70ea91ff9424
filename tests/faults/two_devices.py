"""Two devices, each on a store of its own: whoever starts them goes on where they were left.

Owns: `Player`, and `play_on`. All of it is in one folder: both stores, and the homeserver.
Rule: what is done next is worked out from what the stores say, never remembered, so that the same function begins
something and goes on with it after its processes were killed.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import attrs

from olmstate.actors import Supervisor, open_supervisor
from olmstate.messages import (
    CreateAccount,
    DeviceAddress,
    JsonObject,
    MarkRequestSent,
    Message,
    NoTransport,
    OutgoingRequests,
    ReceiveSync,
    SignedDeviceKeys,
    SyncToken,
    UpdateDevices,
)
from tests.operations.transport import transport_of
from tests.peer.homeserver import Homeserver
from tests.peer.session import API, Session

R = TypeVar("R")
KEY = bytes(32)
SERVER = "homeserver"
"""A file."""


def _wall_clock() -> int:
    return time.time_ns() // 10**6


def _session(folder: Path, device: DeviceAddress) -> Session:
    """A login whose homeserver is a file: what it has answered, it still knows when everybody was killed."""

    async def request(method: str, target: str, body: JsonObject | None) -> JsonObject:
        file = folder / SERVER
        server: Homeserver = pickle.loads(file.read_bytes())  # noqa: S301 - our own
        answer = await server.session_of(device.user_id, device.device_id).request(method, target, body)
        write(file, pickle.dumps(server))
        return answer

    return Session(user_id=device.user_id, device_id=device.device_id, request=request)


def write(file: Path, data: bytes) -> None:
    """All or nothing, whenever the process is killed."""
    new = file.with_suffix(".new")
    new.write_bytes(data)
    new.replace(file)


@attrs.define(kw_only=True)
class Player:
    """One device, while its process lives."""

    supervisor: Supervisor
    session: Session
    other: DeviceAddress
    folder: Path

    async def ask(self, message: Message[R]) -> R:
        """Ask, and send what that takes."""
        while True:
            try:
                return await self.supervisor.ask(message)
            except NoTransport:
                await self.send()

    async def send(self) -> int:
        """Send what there is; how many requests."""
        send, count = transport_of(self.session), 0
        while requests := await self.supervisor.ask(OutgoingRequests()):
            for request in requests:
                response = await send(request)
                await self.supervisor.ask(MarkRequestSent(request_id=request.request_id, response=response.body))
                count += 1
        return count

    async def sync(self) -> int:
        """Take in what has come; how many events."""
        since = await self.supervisor.ask(SyncToken())
        answer = await self.session.sync(since)
        await self.supervisor.ask(ReceiveSync(sync=answer, since=since))
        return len(answer["to_device"]["events"])


Devices = tuple[DeviceAddress, DeviceAddress]


@asynccontextmanager
async def player_on(folder: Path, device: DeviceAddress, devices: Devices) -> AsyncGenerator[Player]:
    """One device of the two, in this process."""
    user_id, device_id = device.user_id, device.device_id
    (other,) = (each for each in devices if each != device)
    async with open_supervisor(folder / device_id, user_id=user_id, device_id=device_id, key=KEY) as supervisor:
        yield Player(supervisor=supervisor, session=_session(folder, device), other=other, folder=folder)


@asynccontextmanager
async def _players(folder: Path, devices: Devices) -> AsyncGenerator[Sequence[Player]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(player_on(folder, device, devices)) for device in devices]


@asynccontextmanager
async def new_players(folder: Path, devices: Devices) -> AsyncGenerator[Sequence[Player]]:
    """Two devices with accounts that are published; behind the block, they know each other."""
    folder.mkdir(parents=True)
    server = Homeserver(_wall_clock)
    for device in devices:
        server.log_in(device.user_id, device.device_id)
    (folder / SERVER).write_bytes(pickle.dumps(server))
    async with _players(folder, devices) as players:
        for player in players:
            await player.supervisor.ask(CreateAccount())
            keys = await player.supervisor.ask(SignedDeviceKeys())
            await player.session.request("POST", f"{API}/keys/upload", {"device_keys": keys})
        yield players
        for player in players:
            await player.ask(UpdateDevices(users=tuple({device.user_id: None for device in devices})))
            await player.send()
            await player.sync()


async def play_on(
    folder: Path,
    devices: Devices,
    act: Callable[[Player], Awaitable[bool]],
    check: Callable[[Player], Awaitable[None]],
) -> None:
    """Have both act, until nothing happens any more, and look at what has come of it."""
    async with _players(folder, devices) as players:
        moved = True
        while moved:
            moved = False
            for player in players:
                sent, came, acted = await player.send(), await player.sync(), await act(player)
                moved = moved or bool(sent or came or acted)
        for player in players:
            await check(player)


def files(folder: Path, devices: Devices) -> list[Path]:
    """What changes of both stores."""
    stores = [folder / device.device_id for device in devices]
    return [path for store in stores for path in (store, *store.iterdir())]
