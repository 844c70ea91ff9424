"""Scenarios of secrets that our user's devices ask each other for."""

from __future__ import annotations

from olmstate.actors.testing import USER
from olmstate.messages import (
    AcknowledgeSecrets,
    CancelSecretRequests,
    CreateOlmSessions,
    CrossSigningStatus,
    DecryptToDevice,
    DeleteSecrets,
    ImportCrossSigningKeys,
    JsonObject,
    OutgoingRequests,
    RequestId,
    RequestKind,
    RequestSecrets,
    SecretInbox,
    SecretOrigin,
    SecretRequest,
    SecretRequests,
    SecretsRequested,
)
from tests.operations.peer import Peer
from tests.peer.identity import unpadded_seeds
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario, add_a_room_key
from tests.simulation.scenarios_of_identities import OWN, SEEDS, publish
from tests.simulation.scenarios_of_key_requests import bodies, other_device

APPS = "org.example.secret"
MASTER = "m.cross_signing.master"


async def request_secrets(client: Client) -> Prepared:
    """There is a device to ask."""
    other = await other_device(client)

    def right(reply: SecretsRequested) -> bool:
        return ((APPS,), (other.device_id,)) == (reply.names, reply.devices)

    async def it_is_asked(client: Client) -> None:
        (request,) = await client.supervisor.ask(SecretRequests())
        assert request.request_id.encode() in await bodies(client)

    return Prepared(RequestSecrets(names=(APPS,)), it_is_asked, right)


async def _open_request(client: Client, name: str) -> tuple[Peer, RequestId]:
    """Who was asked for a secret, and the request's id; in the midst of everything else it may be over already."""
    other = await other_device(client)
    await client.supervisor.ask(RequestSecrets(names=(name,)))
    requests = await client.supervisor.ask(SecretRequests())
    return other, next((each.request_id for each in requests if each.name == name), RequestId("none"))


async def cancel_secret_requests(client: Client) -> Prepared:
    """There is one."""
    await _open_request(client, APPS)

    async def it_is_over(client: Client) -> None:
        assert () == await client.supervisor.ask(SecretRequests())

    return Prepared(CancelSecretRequests(names=(APPS,)), it_is_over)


async def secret_requests(client: Client) -> Prepared:
    """There is one."""
    await _open_request(client, APPS)

    def right(reply: tuple[SecretRequest, ...]) -> bool:
        return [APPS] == [each.name for each in reply]

    return Prepared(SecretRequests(), right=right, elsewhere=add_a_room_key(client))


async def _answer(client: Client, name: str, secret: str) -> tuple[DecryptToDevice, RequestId]:
    """What the other device sends."""
    other, request_id = await _open_request(client, name)
    client.world.meet(other)
    content = {"request_id": request_id, "secret": secret}
    return DecryptToDevice(events=(other.event(client.world.me, "m.secret.send", content),)), request_id


async def be_sent_a_secret(client: Client) -> Prepared:
    """It was asked for, and is the app's."""
    message, request_id = await _answer(client, APPS, "of the app")

    async def it_is_in_the_inbox(client: Client) -> None:
        (kept,) = await client.supervisor.ask(SecretInbox())
        assert (APPS, "of the app", request_id) == (kept.name, kept.secret, kept.request_id)
        assert () == await client.supervisor.ask(SecretRequests())

    return Prepared(message, it_is_in_the_inbox, elsewhere=Elsewhere(message))


async def be_sent_a_private_key(client: Client) -> Prepared:
    """It is that of the published one."""
    await publish(client)
    message, _ = await _answer(client, MASTER, unpadded_seeds(OWN)["master"])

    async def it_is_here(client: Client) -> None:
        key = (await client.supervisor.ask(CrossSigningStatus())).master
        assert key is not None
        assert (SecretOrigin.OTHER_DEVICE, True) == (key.origin, key.matches)

    return Prepared(message, it_is_here, elsewhere=Elsewhere(message))


async def be_sent_a_wrong_private_key(client: Client) -> Prepared:
    """It isn't."""
    await publish(client)
    message, _ = await _answer(client, MASTER, "A" * 43)

    async def it_is_refused(client: Client) -> None:
        (request,) = await client.supervisor.ask(SecretRequests())
        assert (MASTER, ()) == (request.name, request.devices)
        assert (await client.supervisor.ask(CrossSigningStatus())).master is None

    return Prepared(message, it_is_refused, elsewhere=Elsewhere(message))


async def _received(client: Client) -> RequestId:
    """A secret in the inbox."""
    message, request_id = await _answer(client, APPS, "of the app")
    await client.supervisor.ask(message)
    return request_id


async def secret_inbox(client: Client) -> Prepared:
    """There is one in it."""
    await _received(client)

    def right(reply: tuple[object, ...]) -> bool:
        return [(APPS, "of the app")] == [(getattr(each, "name", 0), getattr(each, "secret", 0)) for each in reply]

    return Prepared(SecretInbox(), right=right, elsewhere=add_a_room_key(client))


async def acknowledge_secrets(client: Client) -> Prepared:
    """The same."""
    request_id = await _received(client)

    async def it_is_acknowledged(client: Client) -> None:
        assert [True] == [each.acknowledged for each in await client.supervisor.ask(SecretInbox())]

    return Prepared(AcknowledgeSecrets(request_ids=(request_id,)), it_is_acknowledged)


async def delete_secrets(client: Client) -> Prepared:
    """The same."""
    request_id = await _received(client)

    async def it_is_gone(client: Client) -> None:
        assert () == await client.supervisor.ask(SecretInbox())

    return Prepared(DeleteSecrets(request_ids=(request_id,)), it_is_gone)


def _request() -> DecryptToDevice:
    content = {"action": "request", "requesting_device_id": "TWO", "request_id": "1", "name": MASTER}
    return DecryptToDevice(events=({"type": "m.secret.request", "sender": USER, "content": content},))


async def be_asked_for_a_secret(client: Client) -> Prepared:
    """It is here, and there is an Olm session."""
    await publish(client)
    await client.supervisor.ask(ImportCrossSigningKeys(seeds=SEEDS))
    other = await other_device(client)
    claimed: JsonObject = {other.user_id: {other.device_id: other.one_time_key()}}
    await client.supervisor.ask(CreateOlmSessions(one_time_keys=claimed))

    async def it_is_sent(client: Client) -> None:
        assert other.curve25519.encode() in await bodies(client)

    return Prepared(_request(), it_is_sent)


async def be_asked_for_a_secret_without_a_session(client: Client) -> Prepared:
    """A key of the device must be claimed first."""
    await publish(client)
    await client.supervisor.ask(ImportCrossSigningKeys(seeds=SEEDS))
    await other_device(client)

    async def a_key_is_claimed(client: Client) -> None:
        requests = await client.supervisor.ask(OutgoingRequests())
        assert any(each.kind is RequestKind.KEYS_CLAIM and b"TWO" in each.body for each in requests)

    return Prepared(_request(), a_key_is_claimed)


SCENARIOS = (
    Scenario(prepare=request_secrets),
    Scenario(prepare=cancel_secret_requests),
    Scenario(prepare=secret_requests),
    Scenario(prepare=be_sent_a_secret),
    Scenario(prepare=be_sent_a_private_key),
    Scenario(prepare=be_sent_a_wrong_private_key),
    Scenario(prepare=secret_inbox),
    Scenario(prepare=acknowledge_secrets),
    Scenario(prepare=delete_secrets),
    Scenario(prepare=be_asked_for_a_secret),
    Scenario(prepare=be_asked_for_a_secret_without_a_session),
)
