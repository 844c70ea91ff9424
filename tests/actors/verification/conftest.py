"""Two devices of the library's at one homeserver, each with several processes that take turns at a verification."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors._verification.actor import VerifiedDevices
from olmstate.actors.testing import MemoryDisk, MemoryStore
from olmstate.messages import (
    AcceptVerification,
    ConfirmVerification,
    CreateAccount,
    DeviceId,
    Ed25519Key,
    Identity,
    JsonObject,
    ReceiveSync,
    Request,
    RequestVerification,
    Response,
    RoomId,
    SignedDeviceKeys,
    StartSas,
    SyncToken,
    UpdateDevices,
    UserId,
    UserIdentity,
    Verification,
    Verifications,
    VerificationStage,
)
from tests.peer.homeserver import Homeserver
from tests.peer.session import API
from tests.peer.transport import transport_of

ALICE = UserId("@alice:example.org")
BOB = UserId("@bob:example.org")
WHILE_IT_IS_SENT = 1.0
"""Seconds of virtual time; a request takes none, and a process looks four times a second what another has left."""


class Device:
    """One device, and its processes: each step is done by the next of them."""

    def __init__(self, homeserver: Homeserver, user_id: UserId, device_id: str) -> None:
        self.user_id, self.device_id = user_id, DeviceId(device_id)
        self.session = homeserver.log_in(user_id, device_id)
        self.disk = MemoryDisk()
        self.processes: list[Supervisor] = []
        self.steps = 0
        self.unsent = "nothing"
        """Requests whose path has this in it don't arrive."""
        self._transport = transport_of(self.session)
        self._running: list[tuple[trio.CancelScope, trio.Event]] = []

    async def start(self, nursery: trio.Nursery, processes: int) -> None:
        """Have so many processes, and an account that is published."""
        self._nursery = nursery
        for _ in range(processes):
            self.processes.append(await nursery.start(self._run))
        await self.processes[0].ask(CreateAccount())
        keys = await self.processes[0].ask(SignedDeviceKeys())
        await self.session.request("POST", f"{API}/keys/upload", {"device_keys": keys})

    async def _run(self, task_status: trio.TaskStatus[Supervisor]) -> None:
        store = MemoryStore(self.disk)
        ended = trio.Event()
        try:
            with trio.CancelScope() as scope:
                async with run_supervisor(
                    store,
                    user_id=self.user_id,
                    device_id=self.device_id,
                    options=Options(wall_clock=lambda: round(trio.current_time() * 1000)),
                    transport=self._send,
                ) as supervisor:
                    self._running.append((scope, ended))
                    task_status.started(supervisor)
                    await trio.sleep_forever()
        finally:
            store.presence.close()
            ended.set()

    async def _send(self, request: Request) -> Response:
        if self.unsent in request.path:
            raise ConnectionError
        return await self._transport(request)

    async def replace(self) -> None:
        """Cancel all processes wherever they are, and have as many new ones: nothing is left but what is stored."""
        count = len(self.processes)
        self.processes.clear()
        for scope, _ in self._running:
            scope.cancel()
        for _, ended in self._running:
            await ended.wait()
        self._running.clear()
        for _ in range(count):
            self.processes.append(await self._nursery.start(self._run))

    @property
    def process(self) -> Supervisor:
        """The next process."""
        self.steps += 1
        return self.processes[self.steps % len(self.processes)]

    async def sync(self) -> None:
        """Take in what has come, each event in a process of its own."""
        since = await self.process.ask(SyncToken())
        answer = await self.session.sync(since)
        events = answer["to_device"]["events"]
        for event in events[:-1]:
            one: JsonObject = {"next_batch": since or "0_0", "to_device": {"events": [event]}}
            await self.process.ask(ReceiveSync(sync=one, since=since))
        answer["to_device"]["events"] = events[-1:]
        await self.process.ask(ReceiveSync(sync=answer, since=since))

    async def identity_of(self, user_id: UserId) -> UserIdentity:
        identity = await self.process.ask(Identity(user_id=user_id))
        assert identity is not None
        return identity

    async def flows(self) -> tuple[Verification, ...]:
        return await self.process.ask(Verifications())

    async def flow(self) -> Verification:
        (flow,) = await self.flows()
        return flow

    async def ed25519(self) -> Ed25519Key:
        keys = await self.process.ask(SignedDeviceKeys())
        return Ed25519Key(keys["keys"][f"ed25519:{self.device_id}"])

    async def verified(self, user_id: UserId) -> dict[Ed25519Key, DeviceId]:
        verified = await self.process.ask(VerifiedDevices(user_id=user_id))
        return dict(verified)


@attrs.define
class Two:
    """Alice's device, which asks, and Bob's."""

    homeserver: Homeserver
    alice: Device
    bob: Device
    between_steps: Callable[[], Awaitable[None]] | None = None
    room_id: RoomId = attrs.field(init=False)

    async def deliver(self) -> None:
        """Have everything arrive that is on its way, and all that follows from it."""
        for _ in range(5):
            await trio.sleep(WHILE_IT_IS_SENT)
            for device in (self.alice, self.bob):
                await device.sync()
                await self.pause()

    async def pause(self) -> None:
        if self.between_steps is not None:
            await self.between_steps()

    async def request(self) -> str:
        """Alice asks Bob; the flow's id."""
        await self.alice.process.ask(UpdateDevices(users=(self.bob.user_id,)))
        asked = await self.alice.process.ask(
            RequestVerification(user_id=self.bob.user_id, devices=(self.bob.device_id,))
        )
        await self.deliver()
        return asked.flow_id

    async def compare(self) -> str:
        """Go on until both see the string; Alice starts."""
        flow_id = await self.request()
        await self.bob.process.ask(AcceptVerification(user_id=self.alice.user_id, flow_id=flow_id))
        await self.deliver()
        await self.alice.process.ask(StartSas(user_id=self.bob.user_id, flow_id=flow_id))
        await self.deliver()
        return flow_id

    async def confirm(self, flow_id: str) -> None:
        """Both say that the strings are the same."""
        await self.alice.process.ask(ConfirmVerification(user_id=self.bob.user_id, flow_id=flow_id))
        await self.deliver()
        await self.bob.process.ask(ConfirmVerification(user_id=self.alice.user_id, flow_id=flow_id))
        await self.deliver()

    async def know_each_other(self) -> None:
        """Both query both users."""
        users = (self.alice.user_id, self.bob.user_id)
        for device in (self.alice, self.bob):
            await device.sync()
            await device.process.ask(UpdateDevices(users=users))

    async def stages(self) -> Sequence[VerificationStage]:
        return [(await self.alice.flow()).stage, (await self.bob.flow()).stage]


@asynccontextmanager
async def two_devices(*, processes: int = 1, user_ids: tuple[UserId, UserId] = (ALICE, BOB)) -> AsyncGenerator[Two]:
    """Two devices, of two users in a room or of one."""
    homeserver = Homeserver()
    alice, bob = user_ids
    two = Two(homeserver, Device(homeserver, alice, "ALICEDEVICE"), Device(homeserver, bob, "BOBDEVICE"))
    async with trio.open_nursery() as nursery:
        for device in (two.alice, two.bob):
            await device.start(nursery, processes)
        two.room_id = await two.alice.session.create_room(invite={bob} - {alice})
        if alice != bob:
            await two.bob.session.join(two.room_id)
        yield two
        nursery.cancel_scope.cancel()
