"""Scenarios of verifications."""

from __future__ import annotations

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    AcceptVerification,
    AddDevices,
    CancelVerification,
    ConfirmVerification,
    CrossSigningSeeds,
    DecryptToDevice,
    EventId,
    ImportCrossSigningKeys,
    JsonObject,
    MarkVerificationMessageRefused,
    MarkVerificationMessageSent,
    ReceiveVerificationEvent,
    RequestVerification,
    RoomId,
    ScanQrCode,
    ShowQrCode,
    StartSas,
    UnknownVerification,
    UserId,
    VerificationMessage,
    VerificationMessages,
    VerificationMethod,
    Verifications,
    VerificationStage,
    WrongStep,
)
from tests.peer.encoding import unb64
from tests.peer.identity import USAGES, PeerIdentity, merged, unpadded_seeds
from tests.peer.verifier import Message, Verifier
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Follow, Prepared, Scenario, add_a_room_key
from tests.simulation.schedule import wall_clock


async def _receive(client: Client, verifier: Verifier, *messages: Message) -> None:
    for type_, content in messages:
        event = {"type": type_, "sender": verifier.user_id, "content": content}
        await client.supervisor.ask(DecryptToDevice(events=(event,)))


async def _asked(client: Client, *can: str) -> Verifier:
    peer = client.world.peers[0]
    verifier = Verifier(peer.user_id, peer.device_id)
    verifier.peer, verifier.ed25519 = (USER, DEVICE), peer.ed25519
    await _receive(client, verifier, verifier.request(*(can or ("m.sas.v1",)), now=wall_clock()))
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


_OURS = PeerIdentity(USER, {usage: bytes([7, at]) * 16 for at, usage in enumerate(USAGES)})


async def _ready_for_a_code(client: Client) -> Verifier:
    """Both users have an identity, and both devices can show and scan."""
    peer = client.world.peers[0]
    theirs = PeerIdentity(peer.user_id, {usage: bytes([8, at]) * 16 for at, usage in enumerate(USAGES)})
    identities = merged({"device_keys": {}}, _OURS.answer(own=True), theirs.answer())
    await client.supervisor.ask(AddDevices(response=identities))
    seeds = CrossSigningSeeds(**unpadded_seeds(_OURS))
    await client.supervisor.ask(ImportCrossSigningKeys(seeds=seeds))
    can = ("m.sas.v1", "m.qr_code.show.v1", "m.qr_code.scan.v1", "m.reciprocate.v1")
    verifier = await _asked(client, *can)
    verifier.master_key = theirs.public_key("master")
    accept = AcceptVerification(
        user_id=UserId(verifier.user_id), flow_id=verifier.flow_id, methods=tuple(VerificationMethod)
    )
    await client.supervisor.ask(accept)
    return verifier


async def show_qr_code(client: Client) -> Prepared:
    """The other side can scan."""
    verifier = await _ready_for_a_code(client)
    message = ShowQrCode(user_id=UserId(verifier.user_id), flow_id=verifier.flow_id)
    return Prepared(message, right=lambda reply: bool(reply.qr_code), elsewhere=Elsewhere(message))


async def scan_qr_code(client: Client) -> Prepared:
    """The other side shows one."""
    verifier = await _ready_for_a_code(client)
    flow_id, keys = verifier.flow_id.encode(), (verifier.master_key, _OURS.public_key("master"))
    data = b"MATRIX\x02\x00" + len(flow_id).to_bytes(2, "big") + flow_id + b"".join(map(unb64, keys)) + bytes(16)
    message = ScanQrCode(user_id=UserId(verifier.user_id), flow_id=verifier.flow_id, data=data)
    return Prepared(message, _is(verifier, VerificationStage.CONFIRMED), elsewhere=Elsewhere(message, (WrongStep,)))


async def receive_verification_event(client: Client) -> Prepared:
    """Somebody asks in a room."""
    peer = client.world.peers[0]
    verifier = Verifier(peer.user_id, peer.device_id, room_id=_ROOM, flow_id="$1")
    type_, content = verifier.request("m.sas.v1", now=0, to=USER)
    event: JsonObject = {
        "type": type_,
        "sender": peer.user_id,
        "event_id": "$1",
        "origin_server_ts": wall_clock(),
        "content": content,
    }
    message = ReceiveVerificationEvent(room_id=_ROOM, event=event)
    return Prepared(message, _is(verifier, VerificationStage.ASKED), elsewhere=Elsewhere(message))


_ROOM = RoomId("!verification:example.org")


async def _to_be_sent(client: Client) -> VerificationMessage:
    request = RequestVerification(user_id=client.world.peers[0].user_id, room_id=_ROOM)
    await client.supervisor.ask(request)
    (message,) = await client.supervisor.ask(VerificationMessages())
    return message


async def _nothing_is_to_be_sent(client: Client) -> None:
    assert () == await client.supervisor.ask(VerificationMessages())


async def verification_messages(client: Client) -> Prepared:
    """There is a request."""
    message = await _to_be_sent(client)
    return Prepared(VerificationMessages(), right=lambda reply: reply == (message,), elsewhere=add_a_room_key(client))


async def mark_verification_message_sent(client: Client) -> Prepared:
    """The same."""
    waiting = await _to_be_sent(client)
    message = MarkVerificationMessageSent(transaction_id=waiting.transaction_id, event_id=EventId("$1"))
    return Prepared(message, _nothing_is_to_be_sent, elsewhere=Elsewhere(message))


async def mark_verification_message_refused(client: Client) -> Prepared:
    """The same."""
    waiting = await _to_be_sent(client)
    message = MarkVerificationMessageRefused(transaction_id=waiting.transaction_id)
    return Prepared(message, _nothing_is_to_be_sent, elsewhere=Elsewhere(message))


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
    Scenario(prepare=show_qr_code),
    Scenario(prepare=scan_qr_code, again=(WrongStep,)),
    Scenario(prepare=receive_verification_event),
    Scenario(prepare=verification_messages),
    Scenario(prepare=mark_verification_message_sent),
    Scenario(prepare=mark_verification_message_refused),
    Scenario(prepare=confirm_verification, again=(WrongStep,)),
    Scenario(prepare=cancel_verification, again=(WrongStep,)),
    Scenario(prepare=unknown_verification, refused=(UnknownVerification,)),
    Scenario(prepare=verifications),
)
