"""A device is signed in with the account's recovery key: nobody compares emoji, and nothing is believed unchecked."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    BootstrapCrossSigning,
    CreateSecretStorage,
    CrossSigningSeeds,
    CrossSigningStatus,
    Devices,
    ExportCrossSigningKeys,
    Identity,
    IdentityState,
    JsonObject,
    MalformedSecret,
    MarkRequestFailed,
    MarkRequestSent,
    MismatchedSecret,
    MissingCrossSigningKeys,
    NoSecretStorage,
    NoTransport,
    OutgoingRequests,
    ReadSecret,
    RecoverFromSecretStorage,
    SecretOrigin,
    UnknownIdentity,
    WrongSecretStorageKey,
)
from tests.actors.world import World
from tests.peer.encoding import b64
from tests.peer.identity import USAGES, PeerIdentity, unpadded_seeds
from tests.peer.secret_storage import description, encrypt, recovery_key
from tests.peer.session import API

KEY = bytes(range(32))
OPENS = recovery_key(KEY)
BACKUP = "m.megolm_backup.v1"
BACKUP_KEY = b64(bytes(range(50, 82)))


async def put(world: World, data_type: str, content: JsonObject) -> None:
    await world.session.request("PUT", f"{API}/user/{USER}/account_data/{data_type}", content)


async def set_up(world: World, secrets: Mapping[str, str], *, key: bytes = KEY) -> None:
    """Another client has set up secret storage."""
    await put(world, "m.secret_storage.default_key", {"key": "theirs"})
    await put(world, "m.secret_storage.key.theirs", description(key))
    for name, secret in secrets.items():
        await put(world, name, {"encrypted": {"theirs": encrypt(key, name, secret, bytes(16))}})


def secrets_of(identity: PeerIdentity) -> dict[str, str]:
    return {f"m.cross_signing.{usage}": seed for usage, seed in unpadded_seeds(identity).items()}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def theirs(world: World) -> PeerIdentity:
    """Our user has an identity, which another client has made."""
    identity = PeerIdentity(USER)
    world.homeserver.keys.identities[USER] = identity.upload()
    return identity


async def is_signed_in(device: Supervisor) -> bool:
    identity = await device.ask(Identity(user_id=USER))
    assert identity is not None
    (own,) = [each for each in await device.ask(Devices(user_id=USER)) if each.device_id == DEVICE]
    return identity.state is IdentityState.VERIFIED and own.cross_signed_by == identity.self_signing_key


async def test_a_device_is_signed_in_with_the_recovery_key(
    world: World, theirs: PeerIdentity, autojump_clock: MockClock
) -> None:
    await set_up(world, {**secrets_of(theirs), BACKUP: BACKUP_KEY})
    async with world.process() as device, world.process() as other:
        recovered = await device.ask(RecoverFromSecretStorage(key=OPENS))
        assert (True, True) == (recovered.keys.complete, recovered.backup_key)
        assert recovered.keys.master is not None
        assert SecretOrigin.SECRET_STORAGE is recovered.keys.master.origin
        for process in (device, other):
            assert await is_signed_in(process)
            assert CrossSigningSeeds(**unpadded_seeds(theirs)) == await process.ask(ExportCrossSigningKeys())
        assert recovered == await other.ask(RecoverFromSecretStorage(key=OPENS))
        # the backup key is kept: new storage has it, too
        created = await other.ask(CreateSecretStorage(replace=True))
        assert BACKUP_KEY == await other.ask(ReadSecret(name=BACKUP, key=created.key.recovery_key))


async def test_what_one_device_has_stored_signs_the_next_one_in(world: World, autojump_clock: MockClock) -> None:
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning())
        created = await device.ask(CreateSecretStorage(passphrase="correct horse"))
    second = World(homeserver=world.homeserver)
    async with second.process() as device:
        await device.ask(RecoverFromSecretStorage(key="correct horse"))
        assert await is_signed_in(device)
        await device.ask(RecoverFromSecretStorage(key=created.key.recovery_key))


@pytest.mark.parametrize("usage", USAGES)
async def test_no_private_key_is_taken_that_is_not_the_published_ones(
    world: World, theirs: PeerIdentity, usage: str, autojump_clock: MockClock
) -> None:
    name = f"m.cross_signing.{usage}"
    await set_up(world, {**secrets_of(theirs), name: secrets_of(PeerIdentity(USER))[name], BACKUP: BACKUP_KEY})
    async with world.process() as device:
        with pytest.raises(MismatchedSecret) as caught:
            await device.ask(RecoverFromSecretStorage(key=OPENS))
        assert name == caught.value.name
        assert CrossSigningSeeds() == await device.ask(ExportCrossSigningKeys())
        identity = await device.ask(Identity(user_id=USER))
        assert identity is not None
        assert IdentityState.NEVER_VERIFIED is identity.state


async def test_what_is_missing_is_named_and_what_is_there_is_kept(
    world: World, theirs: PeerIdentity, autojump_clock: MockClock
) -> None:
    secrets = secrets_of(theirs)
    del secrets["m.cross_signing.master"]
    await set_up(world, secrets)
    async with world.process() as device:
        with pytest.raises(MissingCrossSigningKeys) as caught:
            await device.ask(RecoverFromSecretStorage(key=OPENS))
        assert ("m.cross_signing.master",) == caught.value.names
        status = await device.ask(CrossSigningStatus())
        assert (None, True) == (status.master, status.self_signing is not None)
        identity = await device.ask(Identity(user_id=USER))
        assert identity is not None
        assert IdentityState.NEVER_VERIFIED is identity.state


async def test_without_storage_without_an_identity_or_with_another_key_nothing_happens(
    world: World, autojump_clock: MockClock
) -> None:
    async with world.process() as device:
        with pytest.raises(NoSecretStorage):
            await device.ask(RecoverFromSecretStorage(key=OPENS))
        await set_up(world, {})
        with pytest.raises(UnknownIdentity):
            await device.ask(RecoverFromSecretStorage(key=OPENS))
        await set_up(world, {}, key=bytes(32))
        with pytest.raises(WrongSecretStorageKey):
            await device.ask(RecoverFromSecretStorage(key=OPENS))


async def test_a_private_key_that_is_none_is_named(
    world: World, theirs: PeerIdentity, autojump_clock: MockClock
) -> None:
    await set_up(world, {**secrets_of(theirs), "m.cross_signing.user_signing": "short", BACKUP: "short"})
    async with world.process() as device:
        with pytest.raises(MalformedSecret) as caught:
            await device.ask(RecoverFromSecretStorage(key=OPENS))
        assert "m.cross_signing.user_signing" == caught.value.name
        await set_up(world, secrets_of(theirs))
        assert not (await device.ask(RecoverFromSecretStorage(key=OPENS))).backup_key


async def test_by_hand_a_device_is_signed_in_step_by_step(
    world: World, theirs: PeerIdentity, autojump_clock: MockClock
) -> None:
    await set_up(world, secrets_of(theirs))
    async with world.process(transport=False) as device:
        for _ in range(12):
            try:
                await device.ask(RecoverFromSecretStorage(key=OPENS))
            except NoTransport:
                for request in await device.ask(OutgoingRequests()):
                    answer = await world.send(request)
                    if answer.status == 200:
                        await device.ask(MarkRequestSent(request_id=request.request_id, response=answer.body))
                    else:
                        await device.ask(MarkRequestFailed(request_id=request.request_id, status=answer.status))
            else:
                break
        assert await is_signed_in(device)
