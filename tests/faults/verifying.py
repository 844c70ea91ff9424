"""Two devices that verify each other, each on a store of its own: whoever starts them goes on where they were left.

Owns: `play`. All of it is in one folder: both stores, the homeserver, and which method it is.
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
SERVER, METHOD = "homeserver", "method"
"""Files."""


def _wall_clock() -> int:
    return time.time_ns() // 10**6


def _session(folder: Path, user_id: UserId) -> Session:
    """A login whose homeserver is a file: what it has answered, it still knows when everybody was killed."""

    async def request(method: str, target: str, body: JsonObject | None) -> JsonObject:
        file = folder / SERVER
        server: Homeserver = pickle.loads(file.read_bytes())  # noqa: S301 - our own
        answer = await server.session_of(user_id, _device_id(user_id)).request(method, target, body)
        new = file.with_suffix(".new")
        new.write_bytes(pickle.dumps(server))
        new.replace(file)
        return answer

    return Session(user_id=user_id, device_id=_device_id(user_id), request=request)


def _device_id(user_id: UserId) -> DeviceId:
    return DeviceId(f"{user_id[1:4].upper()}DEVICE")


@attrs.define
class Player:
    """One device, while its process lives."""

    supervisor: Supervisor
    session: Session
    other: UserId

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


@asynccontextmanager
async def _player(folder: Path, user_id: UserId, other: UserId) -> AsyncGenerator[Player]:
    async with open_supervisor(
        folder / user_id[1:4], user_id=user_id, device_id=_device_id(user_id), key=KEY
    ) as supervisor:
        yield Player(supervisor, _session(folder, user_id), other)


@asynccontextmanager
async def _players(folder: Path) -> AsyncGenerator[tuple[Player, Player]]:
    async with _player(folder, ALICE, BOB) as alice, _player(folder, BOB, ALICE) as bob:
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
    method = VerificationMethod((folder / METHOD).read_text())
    async with _players(folder) as (alice, bob):
        moved = True
        while moved:
            moved = False
            for player, other in ((alice, bob), (bob, alice)):
                sent, came = await player.send(), await player.sync()
                acted = await _act(player, other, method)
                moved = moved or bool(sent or came or acted)
        for player in (alice, bob):
            flow = await player.flow()
            assert flow is not None
            assert (VerificationStage.DONE, None) == (flow.stage, flow.cancel_code), flow
            await player.ask(UpdateDevices(users=(ALICE, BOB)))
            identity = await player.supervisor.ask(Identity(user_id=player.other))
            assert identity is not None
            assert IdentityState.VERIFIED is identity.state


async def _act(player: Player, other: Player, method: VerificationMethod) -> bool:
    """What the user does, if there is anything to be done."""
    flow = await player.flow()
    asks = player.session.user_id == ALICE
    methods = tuple(VerificationMethod)
    if flow is None:
        if asks:
            devices = (other.session.device_id,)
            request = RequestVerification(user_id=player.other, devices=devices, methods=methods)
            await player.supervisor.ask(request)
        return asks
    its: dict[str, Any] = {"user_id": flow.user_id, "flow_id": flow.flow_id}
    match flow.stage:
        case VerificationStage.ASKED:
            wish: Message[Verification] = AcceptVerification(methods=methods, **its)
        case VerificationStage.READY if asks and method is VerificationMethod.SAS:
            wish = StartSas(**its)
        case VerificationStage.READY if asks:
            shown = await other.flow()
            assert shown is not None
            if shown.stage is not VerificationStage.READY:
                return False
            code = (await other.supervisor.ask(ShowQrCode(user_id=ALICE, flow_id=shown.flow_id))).qr_code
            assert code is not None
            wish = ScanQrCode(data=code, **its)
        case VerificationStage.COMPARING | VerificationStage.SCANNED:
            wish = ConfirmVerification(**its)
        case _:
            return False
    await player.supervisor.ask(wish)
    return True


def files(folder: Path) -> list[Path]:
    """What a verification changes of both stores."""
    return [path for user_id in (ALICE, BOB) for path in (folder / user_id[1:4], *(folder / user_id[1:4]).iterdir())]
