"""Scenarios of users' cross-signing identities."""

from __future__ import annotations

from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    AddDevices,
    BootstrapCrossSigning,
    CrossSigningSeeds,
    CrossSigningStatus,
    ExportCrossSigningKeys,
    Identity,
    IdentityKeys,
    IdentityState,
    ImportCrossSigningKeys,
    JsonObject,
    MarkRequestSent,
    NoTransport,
    OutgoingRequests,
    PinIdentity,
    ReceiveSync,
    RecoverFromSecretStorage,
    RequestKind,
    ResetCrossSigning,
    SignDevice,
    SignedDeviceKeys,
    SyncToken,
    TrackUsers,
    UserIdentity,
    VerifyUser,
    WithdrawVerification,
)
from tests.peer.identity import USAGES, PeerIdentity, unpadded_seeds
from tests.peer.secret_storage import description, encrypt, recovery_key
from tests.simulation.client import Client
from tests.simulation.scenario import Elsewhere, Prepared, Scenario, add_a_room_key
from tests.simulation.world import BOB


def _identity(number: int) -> JsonObject:
    seeds = {usage: bytes([number, at]) * 16 for at, usage in enumerate(USAGES)}
    return {"device_keys": {}, **PeerIdentity(BOB, seeds).answer()}


async def identity(client: Client) -> Prepared:
    """Bob has one."""
    await client.supervisor.ask(AddDevices(response=_identity(1)))

    def right(reply: object) -> bool:
        return getattr(reply, "state", None) is IdentityState.PINNED

    return Prepared(Identity(user_id=BOB), right=right, elsewhere=add_a_room_key(client))


async def _replaced(client: Client) -> UserIdentity:
    for number in (1, 2):
        await client.supervisor.ask(AddDevices(response=_identity(number)))
    return await _known(client)


async def _known(client: Client) -> UserIdentity:
    known = await client.supervisor.ask(Identity(user_id=BOB))
    assert known is not None
    return known


async def _is_pinned(client: Client) -> None:
    assert IdentityState.PINNED is (await _known(client)).state


async def pin_identity(client: Client) -> Prepared:
    """Bob's is another than before."""
    message = PinIdentity(user_id=BOB, master_key=(await _replaced(client)).master_key)
    return Prepared(message, _is_pinned, elsewhere=Elsewhere(message))


async def withdraw_verification(client: Client) -> Prepared:
    """The same."""
    message = WithdrawVerification(user_id=BOB, master_key=(await _replaced(client)).master_key)
    return Prepared(message, _is_pinned, elsewhere=Elsewhere(message))


KEY = bytes(range(32))
OWN = PeerIdentity(USER, {usage: bytes([7, at]) * 16 for at, usage in enumerate(USAGES)})
SEEDS = CrossSigningSeeds(**unpadded_seeds(OWN))


async def publish(client: Client) -> None:
    """Our user has an identity, which has signed this device."""
    device = OWN.sign_device(await client.supervisor.ask(SignedDeviceKeys()))
    await client.supervisor.ask(TrackUsers(users=()))
    requests = await client.supervisor.ask(OutgoingRequests())
    queries = [request for request in requests if request.kind is RequestKind.KEYS_QUERY]
    response = {"device_keys": {USER: {DEVICE: device}}, **OWN.answer(own=True)}
    for query in queries:
        await client.supervisor.ask(MarkRequestSent(request_id=query.request_id, response=response))
    if not queries:  # another process asks already, or all is known
        await client.supervisor.ask(AddDevices(response=response))


async def _has_the_keys(client: Client) -> None:
    assert (await client.supervisor.ask(CrossSigningStatus())).complete
    assert SEEDS == await client.supervisor.ask(ExportCrossSigningKeys())


async def import_cross_signing_keys(client: Client) -> Prepared:
    """They are those of our published identity."""
    await publish(client)
    message = ImportCrossSigningKeys(seeds=SEEDS)
    return Prepared(message, _has_the_keys, elsewhere=Elsewhere(message))


async def bootstrap_cross_signing(client: Client) -> Prepared:
    """All is done already."""
    await publish(client)
    await client.supervisor.ask(ImportCrossSigningKeys(seeds=SEEDS))
    return Prepared(BootstrapCrossSigning(), _has_the_keys, elsewhere=add_a_room_key(client))


async def verify_user(client: Client) -> Prepared:
    """Our private keys are here; there is nothing to send the signature with."""
    await publish(client)
    await client.supervisor.ask(ImportCrossSigningKeys(seeds=SEEDS))
    await client.supervisor.ask(AddDevices(response=_identity(1)))
    master_key = (await _known(client)).master_key
    return Prepared(VerifyUser(user_id=BOB, master_key=master_key), elsewhere=add_a_room_key(client))


async def sign_device(client: Client) -> Prepared:
    """It is signed already."""
    await publish(client)
    await client.supervisor.ask(ImportCrossSigningKeys(seeds=SEEDS))
    own = await client.supervisor.ask(IdentityKeys())
    message = SignDevice(device_id=own.device_id, ed25519=own.ed25519)
    return Prepared(message, _has_the_keys, elsewhere=add_a_room_key(client))


async def reset_cross_signing(client: Client) -> Prepared:
    """There is nothing to send the new keys with."""
    await publish(client)
    await client.supervisor.ask(ImportCrossSigningKeys(seeds=SEEDS))
    return Prepared(ResetCrossSigning(), elsewhere=add_a_room_key(client))


async def recover_from_secret_storage(client: Client) -> Prepared:
    """Another client has stored the private keys, and a sync has brought them."""
    stored = {f"m.cross_signing.{usage}": text for usage, text in unpadded_seeds(OWN).items()}
    contents: JsonObject = {
        "m.secret_storage.default_key": {"key": "theirs"},
        "m.secret_storage.key.theirs": description(KEY),
        "m.megolm_backup.v1": {},
        **{name: {"encrypted": {"theirs": encrypt(KEY, name, text, bytes(16))}} for name, text in stored.items()},
    }
    events = [{"type": data_type, "content": content} for data_type, content in contents.items()]
    since = await client.supervisor.ask(SyncToken()) or "s0"
    await client.supervisor.ask(ReceiveSync(sync={"next_batch": since, "account_data": {"events": events}}))
    await publish(client)
    return Prepared(RecoverFromSecretStorage(key=recovery_key(KEY)), _has_the_keys, elsewhere=add_a_room_key(client))


async def cross_signing_status(client: Client) -> Prepared:
    """The private keys are here."""
    await publish(client)
    await client.supervisor.ask(ImportCrossSigningKeys(seeds=SEEDS))
    return Prepared(CrossSigningStatus(), right=lambda reply: reply.complete, elsewhere=add_a_room_key(client))


async def export_cross_signing_keys(client: Client) -> Prepared:
    """The same."""
    await publish(client)
    await client.supervisor.ask(ImportCrossSigningKeys(seeds=SEEDS))
    return Prepared(ExportCrossSigningKeys(), right=lambda reply: reply == SEEDS, elsewhere=add_a_room_key(client))


SCENARIOS = (
    Scenario(prepare=import_cross_signing_keys),
    Scenario(prepare=bootstrap_cross_signing),
    Scenario(prepare=verify_user, refused=(NoTransport,)),
    Scenario(prepare=sign_device),
    Scenario(prepare=reset_cross_signing, refused=(NoTransport,)),
    Scenario(prepare=recover_from_secret_storage),
    Scenario(prepare=cross_signing_status),
    Scenario(prepare=export_cross_signing_keys),
    Scenario(prepare=identity),
    Scenario(prepare=pin_identity),
    Scenario(prepare=withdraw_verification),
)
