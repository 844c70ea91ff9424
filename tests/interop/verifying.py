"""A device of ours, each step of which another of three processes does, that verifies with an OlmMachine, or another.

Owns: `Ours`, and `Two`. From device to device or in an encrypted room, in memory or on Synapse, with the same words.
Rule: what either side's user does is the test's. All requests are sent for our device by hand, so that nothing happens
at a time of its own.
"""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import attrs

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors.testing import MemoryDisk, MemoryStore
from olmstate.messages import (
    AcceptVerification,
    BootstrapCrossSigning,
    CreateAccount,
    EncryptForRoom,
    EventId,
    Identity,
    IdentityState,
    MarkRequestSent,
    MarkVerificationMessageSent,
    Message,
    NoTransport,
    OutgoingRequests,
    ReceiveSync,
    ReceiveVerificationEvent,
    RequestVerification,
    RoomId,
    ScanQrCode,
    ShowQrCode,
    SignedDeviceKeys,
    StartSas,
    SyncToken,
    UpdateDevices,
    UserId,
    Verification,
    VerificationMessage,
    VerificationMessages,
    VerificationMethod,
    Verifications,
    VerificationStage,
)
from tests.interop.homeserver import Homeserver as RealHomeserver
from tests.interop.program import Program
from tests.interop.rust_device import RustDevice, rust_device
from tests.operations.transport import transport_of
from tests.peer.homeserver import Homeserver
from tests.peer.session import API, Session, encrypted_events

PROCESSES = 3
METHODS = tuple(VerificationMethod)
R = TypeVar("R")


@attrs.define(kw_only=True)
class Ours:
    """A device of ours."""

    session: Session
    processes: list[Supervisor] = attrs.field(factory=list[Supervisor])
    steps: int = 0
    later: int = 0
    """Milliseconds that our clock is ahead."""

    def wall_clock(self) -> int:
        """Ours, in milliseconds since 1970."""
        return _wall_clock() + self.later

    @property
    def process(self) -> Supervisor:
        """The next one."""
        self.steps += 1
        return self.processes[self.steps % PROCESSES]

    async def receive(self) -> int:
        """Take in what has come, and send what is to be sent to rooms; how many events and messages there were."""
        process = self.process
        since = await process.ask(SyncToken())
        sync = await self.session.sync(since)
        await process.ask(ReceiveSync(sync=sync, since=since))
        in_rooms = encrypted_events(sync)
        for room_id, event in in_rooms:
            await self.ask(ReceiveVerificationEvent(room_id=room_id, event=event))
        count = len(in_rooms) + len(sync.get("to_device", {}).get("events", ()))
        while messages := await self.process.ask(VerificationMessages()):
            for message in messages:
                event_id = await self._send_to_room(message)
                await self.process.ask(
                    MarkVerificationMessageSent(transaction_id=message.transaction_id, event_id=event_id)
                )
                count += 1
        return count

    async def _send_to_room(self, message: VerificationMessage) -> EventId:
        members = await self.session.members(message.room_id)
        encrypt = EncryptForRoom(room_id=message.room_id, members=members, type=message.type, content=message.content)
        encrypted = await self.ask(encrypt)
        target = f"{API}/rooms/{quote(message.room_id)}/send/m.room.encrypted/{message.transaction_id}"
        return EventId((await self.session.request("PUT", target, encrypted.content))["event_id"])

    async def send(self) -> int:
        """Send all requests; how many there were."""
        send, count = transport_of(self.session), 0
        for process in self.processes:
            while requests := await process.ask(OutgoingRequests()):
                for request in requests:
                    response = await send(request)
                    assert 200 == response.status
                    await process.ask(MarkRequestSent(request_id=request.request_id, response=response.body))
                    count += 1
        return count

    async def ask(self, message: Message[R]) -> R:
        """Ask the next process, and send what that takes."""
        process = self.process
        while True:
            try:
                return await process.ask(message)
            except NoTransport:
                await self.send()

    async def flow(self) -> Verification:
        (flow,) = await self.process.ask(Verifications())
        return flow

    async def open(self, stack: AsyncExitStack) -> None:
        """Until the stack ends, with an account whose keys are uploaded."""
        disk = MemoryDisk()
        for _ in range(PROCESSES):
            store = MemoryStore(disk)
            stack.callback(store.presence.close)
            running = run_supervisor(
                store,
                user_id=self.session.user_id,
                device_id=self.session.device_id,
                options=Options(wall_clock=self.wall_clock),
            )
            self.processes.append(await stack.enter_async_context(running))
        await self.process.ask(CreateAccount())
        keys = await self.process.ask(SignedDeviceKeys())
        await self.session.request("POST", f"{API}/keys/upload", {"device_keys": keys})


@attrs.define(kw_only=True)
class Two(Ours):
    """Ours and theirs."""

    theirs: RustDevice
    room_id: RoomId | None = None
    """Where it is done; None: from device to device."""
    flow_id: str = ""
    """Ours."""
    their_flow_id: str = ""

    @property
    def user_id(self) -> UserId:
        """Theirs."""
        return self.theirs.session.user_id

    async def sync(self) -> None:
        """Have everything arrive, and all that follows from it."""
        for _ in range(3):
            await self.send()
            await self.theirs.sync()
            await self.receive()

    # --- what both do -----------------------------------------------------------------------------------------------

    async def we_do(self, wish: Callable[..., Message[Verification]], **fields: object) -> Verification:
        done = await self.process.ask(wish(user_id=self.user_id, flow_id=self.flow_id, **fields))
        await self.sync()
        return done

    async def they_do(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        asked = {"user_id": self.session.user_id, "flow_id": self.their_flow_id, **arguments}
        answer = await self.theirs.do(command, **asked)
        await self.sync()
        return answer

    async def their(self, what: str) -> Any:  # noqa: ANN401 - JSON
        state = await self.theirs.ask("verification_state", user_id=self.session.user_id, flow_id=self.their_flow_id)
        return state[what]

    async def begin(self, *, we_request: bool) -> None:
        """Until both are ready."""
        if we_request:
            devices = () if self.room_id else (self.theirs.session.device_id,)
            message = RequestVerification(user_id=self.user_id, devices=devices, room_id=self.room_id, methods=METHODS)
            self.flow_id = (await self.process.ask(message)).flow_id
            await self.sync()
            self.their_flow_id = (await self.flow()).event_id or self.flow_id
            await self.they_do("accept_verification")
        else:
            self.flow_id = self.their_flow_id = await (
                self._they_ask_in_room(self.room_id) if self.room_id else self._they_ask()
            )
            await self.sync()
            await self.we_do(AcceptVerification, methods=METHODS)
        assert VerificationStage.READY is (await self.flow()).stage
        assert "ready" == (await self.their("request"))["phase"]

    async def _they_ask(self) -> str:
        ours = self.session
        asked = await self.theirs.do("request_verification", user_id=ours.user_id, device_id=ours.device_id)
        return str(asked["flow_id"])

    async def _they_ask_in_room(self, room_id: RoomId) -> str:
        asked = {"user_id": self.session.user_id}
        content = await self.theirs.ask("request_content_for_room", **asked)
        event_id = await self.theirs.send_content(room_id, content)
        await self.theirs.ask("request_in_room", room_id=room_id, event_id=event_id, **asked)
        return event_id

    async def compare(self, *, we_start: bool) -> None:
        """Until both show the same."""
        if we_start:
            await self.we_do(StartSas)
            await self.they_do("sas_accept")
        else:
            await self.they_do("sas_start")
        await self.see_the_same()

    async def see_the_same(self) -> None:
        theirs, ours = await self.their("sas"), await self.flow()
        assert ours.emoji is not None
        assert ours.decimals is not None
        assert theirs["emoji"] == [emoji.name for emoji in ours.emoji]
        assert theirs["decimals"] == list(ours.decimals)

    async def show_and_scan(self, *, we_show: bool) -> None:
        """Until one has scanned the other's code."""
        if we_show:
            shown = await self.we_do(ShowQrCode)
            assert shown.qr_code is not None
            await self.they_do("qr_scan", data=b64encode(shown.qr_code).decode())
            assert VerificationStage.SCANNED is (await self.flow()).stage
        else:
            data = (await self.they_do("qr_show"))["data"]
            await self.we_do(ScanQrCode, data=b64decode(data))
            assert VerificationStage.CONFIRMED is (await self.flow()).stage

    async def are_done(self) -> None:
        flow = await self.flow()
        assert (VerificationStage.DONE, None) == (flow.stage, flow.cancel_code)
        assert "done" == (await self.their("request"))["phase"]

    async def have_cancelled(self, code: str) -> None:
        flow, request = await self.flow(), await self.their("request")
        assert (VerificationStage.CANCELLED, code) == (flow.stage, flow.cancel_code)
        assert ("cancelled", code) == (request["phase"], request["cancel"]["code"])

    async def identity_state(self, user_id: UserId) -> IdentityState | None:
        """As a query tells now."""
        await self.sync()
        await self.ask(UpdateDevices(users=(self.session.user_id, self.user_id)))
        identity = await self.process.ask(Identity(user_id=user_id))
        return None if identity is None else identity.state


async def sessions(homeserver: RealHomeserver | None, *, one_user: bool) -> tuple[Session, Session]:
    """Two new logins, of two users or of one; without a homeserver, on a new one in memory."""
    if homeserver is not None:
        ours = await homeserver.register("ours")
        return ours, await (homeserver.log_in(ours.user_id) if one_user else homeserver.register("theirs"))
    number = time.time_ns()  # machines outlive a test in their program
    server, alice = Homeserver(_wall_clock), f"@alice{number}:example.org"
    return server.log_in(alice, "OURS"), server.log_in(alice if one_user else f"@bob{number}:example.org", "THEIRS")


@asynccontextmanager
async def meeting(
    rust: Program,
    homeserver: RealHomeserver | None = None,
    *,
    one_user: bool = False,
    we_have_identity: bool = True,
    they_have_identity: bool = True,
    in_room: bool = False,
) -> AsyncGenerator[Two]:
    """Two devices that know each other: of two users in a room, or of one."""
    session, their_session = await sessions(homeserver, one_user=one_user)
    async with AsyncExitStack() as stack:
        theirs = await rust_device(rust, their_session)
        two = Two(session=session, theirs=theirs)
        await two.open(stack)
        if we_have_identity:
            await two.ask(BootstrapCrossSigning())
        if they_have_identity:
            await theirs.do("bootstrap_cross_signing")
        # without a room in common nobody hears that keys have changed
        room_id = await session.create_room(invite=() if one_user else (two.user_id,))
        if not one_user:
            await theirs.session.join(room_id)
        await theirs.track(session.user_id, two.user_id)
        await two.ask(UpdateDevices(users=(session.user_id, two.user_id)))
        await two.sync()
        two.room_id = room_id if in_room else None
        yield two


def _wall_clock() -> int:
    return time.time_ns() // 10**6
