"""Two devices that verify each other, each on a store of its own: whoever starts them goes on where they were left.

Owns: `play`. All of it is in one folder: both stores, the homeserver, the method, and the QR code that is shown.
Rule: what is done next is worked out from what the stores say, never remembered, so that the same function begins a
verification and goes on with one whose processes were killed.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs

from olmstate.actors import Supervisor, open_supervisor
from olmstate.messages import (
    AcceptVerification,
    BootstrapCrossSigning,
    ConfirmVerification,
    CreateAccount,
    DeviceId,
    Identity,
    IdentityState,
    JsonObject,
    MarkRequestSent,
    Message,
    NoTransport,
    OutgoingRequests,
    ReceiveSync,
    RequestVerification,
    ScanQrCode,
    ShowQrCode,
    SignedDeviceKeys,
    StartSas,
    SyncToken,
    UpdateDevices,
    UserId,
    Verification,
    VerificationMethod,
    Verifications,
    VerificationStage,
)
from tests.operations.transport import transport_of
from tests.peer.homeserver import Homeserver
from tests.peer.session import API, Session

ALICE, BOB = UserId("@alice:example.org"), UserId("@bob:example.org")
R = TypeVar("R")
KEY = bytes(32)
SERVER, METHOD, CODE = "homeserver", "method", "code"
"""Files."""


def _wall_clock() -> int:
    return time.time_ns() // 10**6


def _session(folder: Path, user_id: UserId) -> Session:
    """A login whose homeserver is a file: what it has answered, it still knows when everybody was killed."""

    async def request(method: str, target: str, body: JsonObject | None) -> JsonObject:
        file = folder / SERVER
        server: Homeserver = pickle.loads(file.read_bytes())  # noqa: S301 - our own
        answer = await server.session_of(user_id, _device_id(user_id)).request(method, target, body)
        _write(file, pickle.dumps(server))
        return answer

    return Session(user_id=user_id, device_id=_device_id(user_id), request=request)


def _write(file: Path, data: bytes) -> None:
    """All or nothing, whenever the process is killed."""
    new = file.with_suffix(".new")
    new.write_bytes(data)
    new.replace(file)


def _device_id(user_id: UserId) -> DeviceId:
    return DeviceId(f"{user_id[1:4].upper()}DEVICE")


@attrs.define(kw_only=True)
class Player:
    """One device, while its process lives."""

    supervisor: Supervisor
    session: Session
    other: UserId
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

    async def flow(self) -> Verification | None:
        flows = await self.supervisor.ask(Verifications())
        assert len(flows) <= 1
        return flows[0] if flows else None

    async def act(self) -> bool:
        """Do what the user does; whether there was anything to be done."""
        method, code = VerificationMethod((self.folder / METHOD).read_text()), self.folder / CODE
        flow, asks = await self.flow(), self.session.user_id == ALICE
        methods = tuple(VerificationMethod)
        if flow is None:
            if asks:
                devices = (_device_id(self.other),)
                await self.supervisor.ask(RequestVerification(user_id=self.other, devices=devices, methods=methods))
            return asks
        its: dict[str, Any] = {"user_id": flow.user_id, "flow_id": flow.flow_id}
        match flow.stage:
            case VerificationStage.ASKED:
                wish: Message[Verification] = AcceptVerification(methods=methods, **its)
            case VerificationStage.READY if asks and method is VerificationMethod.SAS:
                wish = StartSas(**its)
            case VerificationStage.READY if asks and code.exists():
                wish = ScanQrCode(data=code.read_bytes(), **its)
            case VerificationStage.READY if not asks and method is VerificationMethod.SCAN_QR and not code.exists():
                shown = await self.supervisor.ask(ShowQrCode(**its))
                assert shown.qr_code is not None
                _write(code, shown.qr_code)
                return True
            case VerificationStage.COMPARING | VerificationStage.SCANNED:
                wish = ConfirmVerification(**its)
            case _:
                return False
        await self.supervisor.ask(wish)
        return True

    async def check(self) -> None:
        """It has verified the other."""
        flow = await self.flow()
        assert flow is not None
        assert (VerificationStage.DONE, None) == (flow.stage, flow.cancel_code), flow
        await self.ask(UpdateDevices(users=(ALICE, BOB)))
        identity = await self.supervisor.ask(Identity(user_id=self.other))
        assert identity is not None
        assert IdentityState.VERIFIED is identity.state


@asynccontextmanager
async def player_on(folder: Path, user_id: UserId) -> AsyncGenerator[Player]:
    """One device, in this process."""
    async with open_supervisor(
        folder / user_id[1:4], user_id=user_id, device_id=_device_id(user_id), key=KEY
    ) as supervisor:
        session, other = _session(folder, user_id), BOB if user_id == ALICE else ALICE
        yield Player(supervisor=supervisor, session=session, other=other, folder=folder)


@asynccontextmanager
async def _players(folder: Path) -> AsyncGenerator[tuple[Player, Player]]:
    async with player_on(folder, ALICE) as alice, player_on(folder, BOB) as bob:
        yield alice, bob


async def prepare(folder: Path, method: VerificationMethod) -> None:
    """Two devices of users with identities, who know each other."""
    folder.mkdir(parents=True)
    server = Homeserver(_wall_clock)
    for user_id in (ALICE, BOB):
        server.log_in(user_id, _device_id(user_id))
    (folder / SERVER).write_bytes(pickle.dumps(server))
    (folder / METHOD).write_text(method.value)
    async with _players(folder) as players:
        for player in players:
            await player.supervisor.ask(CreateAccount())
            keys = await player.supervisor.ask(SignedDeviceKeys())
            await player.session.request("POST", f"{API}/keys/upload", {"device_keys": keys})
            await player.ask(BootstrapCrossSigning())
        for player in players:
            await player.ask(UpdateDevices(users=(ALICE, BOB)))
            await player.send()
            await player.sync()


async def play(folder: Path) -> None:
    """Go on until nothing happens any more; both must have verified the other then."""
    async with _players(folder) as players:
        moved = True
        while moved:
            moved = False
            for player in players:
                sent, came, acted = await player.send(), await player.sync(), await player.act()
                moved = moved or bool(sent or came or acted)
        for player in players:
            await player.check()


def files(folder: Path) -> list[Path]:
    """What a verification changes of both stores."""
    return [path for user_id in (ALICE, BOB) for path in (folder / user_id[1:4], *(folder / user_id[1:4]).iterdir())]
