"""Scenarios of verifications."""

from __future__ import annotations

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    AcceptVerification,
    CancelVerification,
    ConfirmVerification,
    DecryptToDevice,
    RequestVerification,
    StartSas,
    UnknownVerification,
    UserId,
    Verifications,
    VerificationStage,
    WrongStep,
)
from tests.peer.verifier import Message, Verifier
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Follow, Prepared, Scenario, add_a_room_key
from tests.simulation.schedule import wall_clock


async def _receive(client: Client, verifier: Verifier, *messages: Message) -> None:
    for type_, content in messages:
        event = {"type": type_, "sender": verifier.user_id, "content": content}
        await client.supervisor.ask(DecryptToDevice(events=(event,)))


async def _asked(client: Client) -> Verifier:
    peer = client.world.peers[0]
    verifier = Verifier(peer.user_id, peer.device_id)
    verifier.peer, verifier.ed25519 = (USER, DEVICE), peer.ed25519
    await _receive(client, verifier, verifier.request("m.sas.v1", now=wall_clock()))
    return verifier


async def _ready(client: Client) -> Verifier:
    verifier = await _asked(client)
    accept = AcceptVerification(user_id=UserId(verifier.user_id), flow_id=verifier.flow_id)
    await client.supervisor.ask(accept)
    return verifier


async def _comparing(client: Client) -> Verifier:
    verifier = await _ready(client)
    await _receive(client, verifier, verifier.start(), verifier.key())
    return verifier


def _is(verifier: Verifier, stage: VerificationStage) -> Follow:
    async def follow(client: Client) -> None:
        flows = await client.supervisor.ask(Verifications())
        assert [stage] == [flow.stage for flow in flows if flow.flow_id == verifier.flow_id]

    return follow


async def request_verification(client: Client) -> Prepared:
    """Somebody's device is known."""
    message = RequestVerification(user_id=client.world.peers[0].user_id)

    async def is_there(client: Client) -> None:
        assert await client.supervisor.ask(Verifications())

    return Prepared(message, is_there)


async def accept_verification(client: Client) -> Prepared:
    """Somebody asks."""
    verifier = await _asked(client)
    message = AcceptVerification(user_id=UserId(verifier.user_id), flow_id=verifier.flow_id)
    return Prepared(message, _is(verifier, VerificationStage.READY), elsewhere=Elsewhere(message, (WrongStep,)))


async def start_sas(client: Client) -> Prepared:
    """Both are ready."""
    verifier = await _ready(client)
    message = StartSas(user_id=UserId(verifier.user_id), flow_id=verifier.flow_id)
    return Prepared(message, _is(verifier, VerificationStage.STARTED), elsewhere=Elsewhere(message, (WrongStep,)))


async def confirm_verification(client: Client) -> Prepared:
    """Both show the string."""
    verifier = await _comparing(client)
    message = ConfirmVerification(user_id=UserId(verifier.user_id), flow_id=verifier.flow_id)
    return Prepared(message, _is(verifier, VerificationStage.CONFIRMED), elsewhere=Elsewhere(message, (WrongStep,)))


async def cancel_verification(client: Client) -> Prepared:
    """The strings differ."""
    verifier = await _comparing(client)
    message = CancelVerification(user_id=UserId(verifier.user_id), flow_id=verifier.flow_id, mismatch=True)
    return Prepared(message, _is(verifier, VerificationStage.CANCELLED), elsewhere=Elsewhere(message, (WrongStep,)))


async def unknown_verification(client: Client) -> Prepared:
    """Nobody has begun it."""
    message = ConfirmVerification(user_id=client.world.peers[0].user_id, flow_id="none")
    return Prepared(message, elsewhere=add_a_room_key(client))


async def verifications(client: Client) -> Prepared:
    """There is one."""
    verifier = await _comparing(client)
    return Prepared(
        Verifications(),
        right=lambda reply: [verifier.flow_id] == [flow.flow_id for flow in reply],
        elsewhere=add_a_room_key(client),
    )


SCENARIOS = (
    Scenario(prepare=request_verification),
    Scenario(prepare=accept_verification, again=(WrongStep,)),
    Scenario(prepare=start_sas, again=(WrongStep,)),
    Scenario(prepare=confirm_verification, again=(WrongStep,)),
    Scenario(prepare=cancel_verification, again=(WrongStep,)),
    Scenario(prepare=unknown_verification, refused=(UnknownVerification,)),
    Scenario(prepare=verifications),
)
