"""Two users' devices verify each other (`two_devices`).

Owns: `play`. Beside the stores, the method and the QR code that is shown are in the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from olmstate.messages import (
    AcceptVerification,
    BootstrapCrossSigning,
    ConfirmVerification,
    DeviceAddress,
    DeviceId,
    Identity,
    IdentityState,
    Message,
    RequestVerification,
    ScanQrCode,
    ShowQrCode,
    StartSas,
    UpdateDevices,
    UserId,
    Verification,
    VerificationMethod,
    Verifications,
    VerificationStage,
)
from tests.faults.two_devices import Devices, Player, new_players, play_on, write

ALICE = DeviceAddress(user_id=UserId("@alice:example.org"), device_id=DeviceId("ALIDEVICE"))
BOB = DeviceAddress(user_id=UserId("@bob:example.org"), device_id=DeviceId("BOBDEVICE"))
BOTH: Devices = (ALICE, BOB)
METHOD, CODE = "method", "code"
"""Files."""


async def _flow(player: Player) -> Verification | None:
    flows = await player.supervisor.ask(Verifications())
    assert len(flows) <= 1
    return flows[0] if flows else None


async def act(player: Player) -> bool:
    """Do what the user does; whether there was anything to be done."""
    method, code = VerificationMethod((player.folder / METHOD).read_text()), player.folder / CODE
    flow, asks = await _flow(player), player.other == BOB
    methods = tuple(VerificationMethod)
    if flow is None:
        if asks:
            to = player.other
            request = RequestVerification(user_id=to.user_id, devices=(to.device_id,), methods=methods)
            await player.supervisor.ask(request)
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
            shown = await player.supervisor.ask(ShowQrCode(**its))
            assert shown.qr_code is not None
            write(code, shown.qr_code)
            return True
        case VerificationStage.COMPARING | VerificationStage.SCANNED:
            wish = ConfirmVerification(**its)
        case _:
            return False
    await player.supervisor.ask(wish)
    return True


async def check(player: Player) -> None:
    """It has verified the other."""
    flow = await _flow(player)
    assert flow is not None
    assert (VerificationStage.DONE, None) == (flow.stage, flow.cancel_code), flow
    await player.ask(UpdateDevices(users=(ALICE.user_id, BOB.user_id)))
    identity = await player.supervisor.ask(Identity(user_id=player.other.user_id))
    assert identity is not None
    assert IdentityState.VERIFIED is identity.state


async def prepare(folder: Path, method: VerificationMethod) -> None:
    """Two devices of users with identities, who know each other."""
    async with new_players(folder, BOTH) as players:
        (folder / METHOD).write_text(method.value)
        for player in players:
            await player.ask(BootstrapCrossSigning())


async def play(folder: Path) -> None:
    """Go on until nothing happens any more; both must have verified the other then."""
    await play_on(folder, BOTH, act, check)
