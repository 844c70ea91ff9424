"""Verifications of a device of ours, a process a step, with matrix-rust-sdk's, on a homeserver in memory."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors._verification.actor import VerifiedDevices
from olmstate.actors.testing import MemoryDisk, MemoryStore
from olmstate.messages import (
    AcceptVerification,
    CancelVerification,
    ConfirmVerification,
    CreateAccount,
    MarkRequestSent,
    OutgoingRequests,
    ReceiveSync,
    RequestVerification,
    SignedDeviceKeys,
    StartSas,
    SyncToken,
    TrackUsers,
    Verification,
    Verifications,
    VerificationStage,
)
from tests.interop.program import Program
from tests.interop.rust_device import RustDevice, rust_device
from tests.peer.homeserver import Homeserver
from tests.peer.session import API, Session
from tests.peer.transport import transport_of

PROCESSES = 3


class Two:
    """A device of ours, each step of which another process does, and an OlmMachine of another user."""

    def __init__(self, session: Session, processes: list[Supervisor], theirs: RustDevice) -> None:
        self.session, self.processes, self.theirs = session, processes, theirs
        self.flow_id = ""
        self.steps = 0

    @property
    def process(self) -> Supervisor:
        """The next one."""
        self.steps += 1
        return self.processes[self.steps % PROCESSES]

    async def sync(self) -> None:
        """Have everything arrive, and all that follows from it."""
        for _ in range(3):
            await self._send()
            await self.theirs.sync()
            process = self.process
            since = await process.ask(SyncToken())
            await process.ask(ReceiveSync(sync=await self.session.sync(since), since=since))

    async def _send(self) -> None:
        send = transport_of(self.session)
        for process in self.processes:
            while requests := await process.ask(OutgoingRequests()):
                for request in requests:
                    response = await send(request)
                    assert 200 == response.status
                    await process.ask(MarkRequestSent(request_id=request.request_id, response=response.body))

    async def they_do(self, command: str, **arguments: object) -> None:
        await self.theirs.do(command, user_id=self.session.user_id, flow_id=self.flow_id, **arguments)
        await self.sync()

    async def their(self, what: str) -> Any:  # noqa: ANN401 - JSON
        state = await self.theirs.ask("verification_state", user_id=self.session.user_id, flow_id=self.flow_id)
        return state[what]

    async def flow(self) -> Verification:
        (flow,) = await self.process.ask(Verifications())
        return flow

    async def begin(self, *, we_request: bool) -> None:
        """Until both are ready."""
        theirs, ours = self.theirs.session, self.session
        if we_request:
            message = RequestVerification(user_id=theirs.user_id, devices=(theirs.device_id,))
            self.flow_id = (await self.process.ask(message)).flow_id
            await self.sync()
            await self.they_do("accept_verification")
        else:
            asked = await self.theirs.do("request_verification", user_id=ours.user_id, device_id=ours.device_id)
            self.flow_id = asked["flow_id"]
            await self.sync()
            await self.process.ask(AcceptVerification(user_id=theirs.user_id, flow_id=self.flow_id))
            await self.sync()
        assert VerificationStage.READY is (await self.flow()).stage
        assert "ready" == (await self.their("request"))["phase"]

    async def compare(self, *, we_start: bool) -> None:
        """Until both show the same."""
        if we_start:
            await self.process.ask(StartSas(user_id=self.theirs.session.user_id, flow_id=self.flow_id))
            await self.sync()
            await self.they_do("sas_accept")
        else:
            await self.they_do("sas_start")
        theirs, ours = await self.their("sas"), await self.flow()
        assert ours.emoji is not None
        assert ours.decimals is not None
        assert theirs["emoji"] == [emoji.name for emoji in ours.emoji]
        assert theirs["decimals"] == list(ours.decimals)


@asynccontextmanager
async def two_users(rust: Program) -> AsyncGenerator[Two]:
    """Each knows the other's device."""
    number = time.time_ns()  # machines outlive a test in their program
    server, disk = Homeserver(), MemoryDisk()
    session = server.log_in(f"@alice{number}:example.org", "ALICEDEVICE")
    async with AsyncExitStack() as stack:
        processes: list[Supervisor] = []
        for _ in range(PROCESSES):
            store = MemoryStore(disk)
            stack.callback(store.presence.close)
            running = run_supervisor(
                store,
                user_id=session.user_id,
                device_id=session.device_id,
                options=Options(wall_clock=lambda: time.time_ns() // 10**6),
            )
            processes.append(await stack.enter_async_context(running))
        await processes[0].ask(CreateAccount())
        keys = await processes[0].ask(SignedDeviceKeys())
        await session.request("POST", f"{API}/keys/upload", {"device_keys": keys})
        theirs = await rust_device(rust, server.log_in(f"@bob{number}:example.org", "BOBDEVICE"))
        await theirs.track(session.user_id, theirs.session.user_id)
        await processes[0].ask(TrackUsers(users=(theirs.session.user_id,)))
        two = Two(session, processes, theirs)
        await two.sync()
        yield two


@pytest.mark.parametrize("we_request", [False, True])
@pytest.mark.parametrize("we_start", [False, True])
@pytest.mark.parametrize("we_confirm_first", [False, True])
async def test_emoji_are_the_same_and_both_verify(
    rust: Program, *, we_request: bool, we_start: bool, we_confirm_first: bool
) -> None:
    async with two_users(rust) as two:
        user_id = two.theirs.session.user_id
        await two.begin(we_request=we_request)
        await two.compare(we_start=we_start)
        confirm = ConfirmVerification(user_id=user_id, flow_id=two.flow_id)
        if we_confirm_first:
            await two.process.ask(confirm)
            await two.sync()
        await two.they_do("sas_confirm")
        if not we_confirm_first:
            await two.process.ask(confirm)
            await two.sync()
        assert VerificationStage.DONE is (await two.flow()).stage
        assert "done" == (await two.their("request"))["phase"]
        verified = await two.process.ask(VerifiedDevices(user_id=user_id))
        assert {two.theirs.identity["ed25519"]: two.theirs.session.device_id} == verified


@pytest.mark.parametrize("mismatch", [False, True])
async def test_what_we_cancel_is_cancelled_on_both_sides(rust: Program, *, mismatch: bool) -> None:
    async with two_users(rust) as two:
        await two.begin(we_request=True)
        await two.compare(we_start=True)
        user_id = two.theirs.session.user_id
        await two.process.ask(CancelVerification(user_id=user_id, flow_id=two.flow_id, mismatch=mismatch))
        await two.sync()
        code = "m.mismatched_sas" if mismatch else "m.user"
        assert (VerificationStage.CANCELLED, code) == ((await two.flow()).stage, (await two.flow()).cancel_code)
        assert ("cancelled", code) == (
            (await two.their("request"))["phase"],
            (await two.their("request"))["cancel"]["code"],
        )
