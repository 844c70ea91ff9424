"""Two devices of the library's at one homeserver, each with several processes that take turns at a verification."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import quote

import attrs
import trio

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors._verification.actor import VerifiedDevices
from olmstate.actors.testing import MemoryDisk, MemoryStore
from olmstate.messages import (
    AcceptVerification,
    CancelVerification,
    ConfirmVerification,
    CreateAccount,
    DeviceId,
    Ed25519Key,
    EncryptForRoom,
    EventId,
    Identity,
    JsonObject,
    MarkVerificationMessageSent,
    ReceiveSync,
    ReceiveVerificationEvent,
    Request,
    RequestVerification,
    Response,
    RoomId,
    ScanQrCode,
    ShowQrCode,
    SignedDeviceKeys,
    StartSas,
    SyncToken,
    UpdateDevices,
    UserId,
    UserIdentity,
    Verification,
    VerificationMessage,
    VerificationMessages,
    VerificationMethod,
    Verifications,
    VerificationStage,
)
from tests.operations.transport import transport_of
from tests.peer.homeserver import Homeserver
from tests.peer.session import API

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

    async def replace(self, *, after: float = 0) -> None:
        """Cancel all processes wherever they are, and have as many new ones: nothing is left but what is stored.

        For ``after`` seconds there is none.
        """
        count = len(self.processes)
        self.processes.clear()
        for scope, _ in self._running:
            scope.cancel()
        for _, ended in self._running:
            await ended.wait()
        self._running.clear()
        await trio.sleep(after)
        for _ in range(count):
            self.processes.append(await self._nursery.start(self._run))

    @property
    def process(self) -> Supervisor:
        """The next process."""
        self.steps += 1
        return self.processes[self.steps % len(self.processes)]

    async def sync(self) -> int:
        """Take in what has come, each event in a process of its own, and send what is to be sent to rooms.

        How many events and messages there were.
        """
        since = await self.process.ask(SyncToken())
        answer = await self.session.sync(since)
        events = answer["to_device"]["events"]
        for event in events[:-1]:
            one: JsonObject = {"next_batch": since or "0_0", "to_device": {"events": [event]}}
            await self.process.ask(ReceiveSync(sync=one, since=since))
        answer["to_device"]["events"] = events[-1:]
        await self.process.ask(ReceiveSync(sync=answer, since=since))
        came = len(events)
        for room_id, room in answer["rooms"]["join"].items():
            for event in room["timeline"]["events"]:
                came += 1
                if event["type"] == "m.room.encrypted" or event["type"].startswith(("m.key.", "m.room.message")):
                    await self.process.ask(ReceiveVerificationEvent(room_id=RoomId(room_id), event=event))
        return came + await self.send_to_rooms()

    async def send_to_rooms(self) -> int:
        """As a program does; each message from another process."""
        count = 0
        while messages := await self.process.ask(VerificationMessages()):
            for message in messages:
                event_id = await self.send_to_room(message)
                sent = MarkVerificationMessageSent(transaction_id=message.transaction_id, event_id=event_id)
                await self.process.ask(sent)
                count += 1
        return count

    async def send_to_room(self, message: VerificationMessage) -> EventId:
        members = await self.session.members(message.room_id)
        encrypt = EncryptForRoom(room_id=message.room_id, members=members, type=message.type, content=message.content)
        encrypted = (await self.process.ask(encrypt)).content
        target = f"{API}/rooms/{quote(message.room_id)}/send/m.room.encrypted/{message.transaction_id}"
        return EventId((await self.session.request("PUT", target, encrypted))["event_id"])

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


Wish: TypeAlias = AcceptVerification | StartSas | ShowQrCode | ScanQrCode | ConfirmVerification | CancelVerification


@attrs.define
class Two:
    """Alice's device, which asks, and Bob's."""

    homeserver: Homeserver
    alice: Device
    bob: Device
    between_steps: Callable[[], Awaitable[None]] | None = None
    room_id: RoomId = attrs.field(init=False)
    methods: tuple[VerificationMethod, ...] = tuple(VerificationMethod)
    """What both can do."""

    async def deliver(self) -> None:
        """Have everything arrive that is on its way, and all that follows from it."""
        while True:
            await trio.sleep(WHILE_IT_IS_SENT)
            came = 0
            for device in (self.alice, self.bob):
                came += await device.sync()
                await self.pause()
            if not came:
                return

    async def pause(self) -> None:
        if self.between_steps is not None:
            await self.between_steps()

    async def replace_both(self) -> None:
        """End all processes of both devices; others go on."""
        for device in (self.alice, self.bob):
            await device.replace()

    async def request(self, *, in_room: bool = False) -> str:
        """Alice asks Bob; the flow's id."""
        await self.alice.process.ask(UpdateDevices(users=(self.bob.user_id,)))
        request = RequestVerification(
            user_id=self.bob.user_id,
            devices=() if in_room else (self.bob.device_id,),
            room_id=self.room_id if in_room else None,
            methods=self.methods,
        )
        asked = await self.alice.process.ask(request)
        await self.deliver()
        return asked.flow_id

    async def ready(self, *, in_room: bool = False) -> str:
        """Go on until both are there."""
        flow_id = await self.request(in_room=in_room)
        await self.bob_does(AcceptVerification, methods=self.methods)
        return flow_id

    async def alice_does(self, wish: type[Wish], **fields: Any) -> Verification:  # noqa: ANN401 - a message's
        """Alice's user does something with her only flow."""
        return await self._do(self.alice, wish, **fields)

    async def bob_does(self, wish: type[Wish], **fields: Any) -> Verification:  # noqa: ANN401 - a message's
        """The same of Bob's."""
        return await self._do(self.bob, wish, **fields)

    async def _do(self, device: Device, wish: type[Wish], **fields: Any) -> Verification:  # noqa: ANN401 - a message's
        flow = await device.flow()
        done = await device.process.ask(wish(user_id=flow.user_id, flow_id=flow.flow_id, **fields))
        await self.deliver()
        return done

    async def compare(self, *, in_room: bool = False) -> str:
        """Go on until both see the string; Alice starts."""
        flow_id = await self.ready(in_room=in_room)
        await self.alice_does(StartSas)
        return flow_id

    async def confirm(self) -> None:
        """Both say that the strings are the same."""
        await self.alice_does(ConfirmVerification)
        await self.bob_does(ConfirmVerification)

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
    homeserver = Homeserver(lambda: round(trio.current_time() * 1000))
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
