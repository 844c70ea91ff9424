"""Our own cross-signing identity: made once, with whatever comes between, and never twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import attrs
import pytest
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors._requests.actor import CommittedRequests
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    AuthenticationRequired,
    BootstrapCrossSigning,
    CrossSigningSeeds,
    CrossSigningStatus,
    DeviceId,
    Devices,
    ExportCrossSigningKeys,
    Identity,
    IdentityState,
    ImportCrossSigningKeys,
    JsonObject,
    MalformedSecret,
    MarkRequestFailed,
    MarkRequestSent,
    MismatchedSecret,
    MissingCrossSigningKeys,
    NoTransport,
    OutgoingRequests,
    PrivateCrossSigningKeysChanged,
    Request,
    RequestDelayed,
    RequestKind,
    ResetCrossSigning,
    Response,
    SecretOrigin,
    SignatureRefused,
    SignDevice,
    UnknownIdentity,
    UpdateDevices,
    UserId,
    VerifyUser,
)
from tests.actors.world import World
from tests.operations.transport import transport_of
from tests.peer.identity import PeerIdentity, unpadded_seeds

BOB = UserId("@bob:example.org")
CHALLENGE: JsonObject = {"session": "xyz", "flows": [{"stages": ["m.login.password"]}], "params": {}}
AUTH: JsonObject = {"type": "m.login.password", "session": "xyz", "password": "correct horse"}


@attrs.define(slots=False)
class Strict(World):
    """Its homeserver wants the user to authenticate, or refuses signatures, if it is told to."""

    wants_auth: bool = False
    refuses_signatures: bool = False
    failures: object = None
    """What it says of signatures, all of which it has taken."""
    unheard: set[RequestKind] = attrs.field(factory=set[RequestKind])
    """Kinds of requests whose answers get lost, each time."""

    async def send(self, request: Request) -> Response:
        body: JsonObject = json.loads(request.body) if request.body else {}
        if self.wants_auth and request.kind is RequestKind.SIGNING_KEYS_UPLOAD and "auth" not in body:
            self.asked.append(request)
            return Response(status=401, body=json.dumps(CHALLENGE).encode())
        if self.refuses_signatures and request.kind is RequestKind.SIGNATURES_UPLOAD:
            failures = {USER: {DEVICE: {"errcode": "M_INVALID_SIGNATURE", "error": "no"}}}
            return Response(status=200, body=json.dumps({"failures": failures}).encode())
        response = await super().send(request)
        if request.kind in self.unheard:
            raise ConnectionResetError
        if self.failures is not None and request.kind is RequestKind.SIGNATURES_UPLOAD:
            return Response(status=200, body=json.dumps({"failures": self.failures}).encode())
        return response


@pytest.fixture
def world() -> Strict:
    return Strict()


def uploads(world: World, kind: RequestKind) -> list[JsonObject]:
    return [json.loads(request.body) for request in world.asked if request.kind is kind]


async def is_done(device: Supervisor) -> bool:
    """Whether the identity is published, verified, and has signed this device."""
    identity = await device.ask(Identity(user_id=USER))
    (own,) = [each for each in await device.ask(Devices(user_id=USER)) if each.device_id == DEVICE]
    assert identity is not None
    return identity.state is IdentityState.VERIFIED and own.cross_signed_by == identity.self_signing_key


async def test_an_account_gets_an_identity_that_signs_its_device(world: Strict, autojump_clock: MockClock) -> None:
    async with world.process() as device, world.process() as other:
        with device.subscribe(PrivateCrossSigningKeysChanged) as events:
            await device.ask(BootstrapCrossSigning())
            assert [True, False] == [events.receive_nowait().keys.pending for _ in range(2)]
        kinds = [request.kind for request in world.asked if request.kind is not RequestKind.KEYS_QUERY]
        wanted = [RequestKind.KEYS_UPLOAD, RequestKind.SIGNING_KEYS_UPLOAD, RequestKind.SIGNATURES_UPLOAD]
        assert wanted == [kind for kind in dict.fromkeys(kinds) if kind in wanted]
        for process in (device, other):
            assert await is_done(process)
            status = await process.ask(CrossSigningStatus())
            assert (True, True, False) == (status.complete, status.published, status.pending)


async def test_asking_again_sends_nothing_but_a_query(world: Strict, autojump_clock: MockClock) -> None:
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning())
        before = len(world.asked)
        await device.ask(BootstrapCrossSigning())
        assert [RequestKind.KEYS_QUERY] == [request.kind for request in world.asked[before:]]


async def test_the_user_is_asked_to_authenticate_and_the_same_keys_go_out_then(
    world: Strict, autojump_clock: MockClock
) -> None:
    world.wants_auth = True
    async with world.process() as device:
        with pytest.raises(AuthenticationRequired) as caught:
            await device.ask(BootstrapCrossSigning())
        assert CHALLENGE == caught.value.challenge
        assert "xyz" not in str(caught.value)
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning(auth=AUTH))
        assert await is_done(device)
    refused, taken = uploads(world, RequestKind.SIGNING_KEYS_UPLOAD)
    assert {**refused, "auth": AUTH} == taken


@pytest.mark.parametrize(
    "kind", [RequestKind.KEYS_UPLOAD, RequestKind.SIGNING_KEYS_UPLOAD, RequestKind.SIGNATURES_UPLOAD]
)
async def test_whoever_comes_after_a_lost_answer_goes_on_with_the_same_keys(
    world: Strict, kind: RequestKind, autojump_clock: MockClock
) -> None:
    world.unheard.add(kind)
    async with world.process() as device:
        with suppress(RequestDelayed):  # of the upload in the background, a query may have shown what became of it
            await device.ask(BootstrapCrossSigning(patience=5))
    world.unheard.clear()
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning())
        assert await is_done(device)
    published = [body["master_key"] for body in uploads(world, RequestKind.SIGNING_KEYS_UPLOAD)]
    assert all(published[0] == each for each in published)


async def test_an_identity_whose_private_keys_are_not_here_is_not_replaced(
    world: Strict, autojump_clock: MockClock
) -> None:
    theirs = PeerIdentity(USER)
    world.homeserver.keys.identities[USER] = theirs.upload()
    async with world.process() as device:
        with pytest.raises(MissingCrossSigningKeys) as caught:
            await device.ask(BootstrapCrossSigning())
        assert 3 == len(caught.value.names)
        await device.ask(ImportCrossSigningKeys(seeds=CrossSigningSeeds(**{**unpadded_seeds(theirs), "master": None})))
        with pytest.raises(MissingCrossSigningKeys) as caught:
            await device.ask(BootstrapCrossSigning())
        assert ("m.cross_signing.master",) == caught.value.names
    assert [] == uploads(world, RequestKind.SIGNING_KEYS_UPLOAD)


def without(identity: PeerIdentity, key: str) -> JsonObject:
    """What the homeserver has of it, but for a key."""
    return {name: each for name, each in identity.upload().items() if name != key}


def unsigned(identity: PeerIdentity, key: str) -> JsonObject:
    """What the homeserver has of it; the master key's signature on a key got lost."""
    return {**identity.upload(), key: {**identity.objects[key.removesuffix("_key")], "signatures": {}}}


@pytest.mark.parametrize("spoil", [without, unsigned])
@pytest.mark.parametrize("key", ["self_signing_key", "user_signing_key"])
async def test_an_identity_that_is_not_whole_or_makes_no_sense_is_not_replaced_either(
    spoil: Callable[[PeerIdentity, str], JsonObject], key: str, world: Strict, autojump_clock: MockClock
) -> None:
    """It was: what can't be taken in counted as none. Keys may be published one by one."""
    identities = world.homeserver.keys.identities
    identities[USER] = spoil(PeerIdentity(USER), key)
    async with world.process() as device, world.process() as other:
        with pytest.raises(MissingCrossSigningKeys) as caught:
            await device.ask(BootstrapCrossSigning())
        assert 3 == len(caught.value.names)
        with pytest.raises(MissingCrossSigningKeys):
            await other.ask(BootstrapCrossSigning(auth=AUTH))
        assert [] == uploads(world, RequestKind.SIGNING_KEYS_UPLOAD)
        assert None is await device.ask(Identity(user_id=USER))
        # who wants another one says so
        await device.ask(ResetCrossSigning())
        assert await is_done(device)


async def test_once_an_identity_that_made_no_sense_is_gone_another_is_made(
    world: Strict, autojump_clock: MockClock
) -> None:
    identities = world.homeserver.keys.identities
    identities[USER] = without(PeerIdentity(USER), "self_signing_key")
    async with world.process() as device:
        with pytest.raises(MissingCrossSigningKeys):
            await device.ask(BootstrapCrossSigning())
        del identities[USER]
        await device.ask(BootstrapCrossSigning())
        assert await is_done(device)


async def test_with_imported_keys_a_new_device_is_signed_and_the_identity_verified(
    world: Strict, autojump_clock: MockClock
) -> None:
    theirs = PeerIdentity(USER)
    world.homeserver.keys.identities[USER] = theirs.upload()
    seeds = CrossSigningSeeds(**unpadded_seeds(theirs))
    async with world.process() as device:
        with pytest.raises(UnknownIdentity):
            await device.ask(ImportCrossSigningKeys(seeds=seeds))
        await device.ask(UpdateDevices(users=(USER,)))
        status = await device.ask(ImportCrossSigningKeys(seeds=seeds))
        assert status.complete
        assert status.master is not None
        assert SecretOrigin.IMPORTED is status.master.origin
        assert seeds == await device.ask(ExportCrossSigningKeys())
        await device.ask(BootstrapCrossSigning())
        assert await is_done(device)


async def test_no_key_is_taken_that_is_not_that_of_the_published_one(world: Strict, autojump_clock: MockClock) -> None:
    theirs = PeerIdentity(USER)
    world.homeserver.keys.identities[USER] = theirs.upload()
    right, wrong = unpadded_seeds(theirs), unpadded_seeds(PeerIdentity(USER))
    async with world.process() as device:
        await device.ask(UpdateDevices(users=(USER,)))
        for usage in right:
            with pytest.raises(MismatchedSecret) as caught:
                await device.ask(ImportCrossSigningKeys(seeds=CrossSigningSeeds(**{**right, usage: wrong[usage]})))
            assert f"m.cross_signing.{usage}" == caught.value.name
        with pytest.raises(MalformedSecret):
            await device.ask(ImportCrossSigningKeys(seeds=CrossSigningSeeds(master="short")))
        assert CrossSigningSeeds() == await device.ask(ExportCrossSigningKeys())
        identity = await device.ask(Identity(user_id=USER))
        assert identity is not None
        assert IdentityState.NEVER_VERIFIED is identity.state


@pytest.mark.parametrize("failures", [-1, "text", [1], {"@a:b": 5}, {"@a:b": {"DEVICE": None}}])
async def test_refusals_that_make_no_sense_are_none(failures: object, world: Strict, autojump_clock: MockClock) -> None:
    # they were InternalError
    world.failures = failures
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning())
        assert (await device.ask(CrossSigningStatus())).complete


async def test_a_signature_that_is_refused_is_an_error_of_its_asker(world: Strict, autojump_clock: MockClock) -> None:
    world.refuses_signatures = True
    async with world.process() as device:
        with pytest.raises(SignatureRefused) as caught:
            await device.ask(BootstrapCrossSigning())
        assert (DEVICE, "M_INVALID_SIGNATURE") == (caught.value.signed_id, caught.value.errcode)
        world.refuses_signatures = False
        await device.ask(BootstrapCrossSigning())
        assert await is_done(device)


async def test_by_hand_each_step_is_handed_out_once_the_one_before_is_answered(world: Strict) -> None:
    async with world.process(transport=False) as device:
        challenged = False
        for _ in range(12):
            try:
                await device.ask(BootstrapCrossSigning(auth=AUTH if challenged else None))
            except NoTransport:
                waiting = await device.ask(CommittedRequests())
                if not challenged:
                    with pytest.raises(NoTransport):  # and nothing is asked for twice
                        await device.ask(BootstrapCrossSigning())
                    assert waiting == await device.ask(CommittedRequests())
                for request in await device.ask(OutgoingRequests()):
                    if request.kind is RequestKind.SIGNING_KEYS_UPLOAD and not challenged:
                        challenged = True
                        failed = MarkRequestFailed(request_id=request.request_id, status=401, response=CHALLENGE)
                        await device.ask(failed)
                    else:
                        answer = await transport_of(world.session)(request)
                        await device.ask(MarkRequestSent(request_id=request.request_id, response=answer.body))
            else:
                break
        assert await is_done(device)


async def test_another_user_is_verified_once_our_signature_is_there(world: Strict, autojump_clock: MockClock) -> None:
    bob = PeerIdentity(BOB)
    await world.log_in(BOB)
    world.homeserver.keys.identities[BOB] = bob.upload()
    async with world.process() as device, world.process() as other:
        await device.ask(BootstrapCrossSigning())
        await device.ask(UpdateDevices(users=(BOB,)))
        await device.ask(VerifyUser(user_id=BOB, master_key=bob.public_key("master")))
        for process in (device, other):
            identity = await process.ask(Identity(user_id=BOB))
            assert identity is not None
            assert IdentityState.VERIFIED is identity.state


async def test_only_the_key_that_was_compared_is_signed_and_only_with_our_published_key(
    world: Strict, autojump_clock: MockClock
) -> None:
    bob, theirs = PeerIdentity(BOB), PeerIdentity(USER)
    await world.log_in(BOB)
    world.homeserver.keys.identities.update({BOB: bob.upload(), USER: theirs.upload()})
    async with world.process() as device:
        await device.ask(UpdateDevices(users=(BOB, USER)))
        with pytest.raises(UnknownIdentity):
            await device.ask(VerifyUser(user_id=BOB, master_key=PeerIdentity(BOB).public_key("master")))
        with pytest.raises(MissingCrossSigningKeys):
            await device.ask(VerifyUser(user_id=BOB, master_key=bob.public_key("master")))
    assert [] == uploads(world, RequestKind.SIGNATURES_UPLOAD)


def test_no_private_key_is_shown() -> None:
    seeds = CrossSigningSeeds(**unpadded_seeds(PeerIdentity(USER)))
    assert "CrossSigningSeeds()" == repr(seeds)
    assert "ImportCrossSigningKeys()" == repr(ImportCrossSigningKeys(seeds=seeds))
    assert "correct" not in repr(BootstrapCrossSigning(auth=AUTH))


async def test_another_device_of_our_own_is_signed_if_it_has_the_key_that_was_compared(
    world: Strict, autojump_clock: MockClock
) -> None:
    tablet = (await world.log_in(USER, "TABLET")).peer
    async with world.process() as device, world.process() as other:
        await device.ask(BootstrapCrossSigning())
        for wrong in (
            SignDevice(device_id=tablet.device_id, ed25519=PeerIdentity(USER).public_key("master")),
            SignDevice(device_id=DeviceId("NONE"), ed25519=tablet.ed25519),
        ):
            with pytest.raises(UnknownIdentity):
                await device.ask(wrong)
        for process in (device, other):
            await process.ask(SignDevice(device_id=tablet.device_id, ed25519=tablet.ed25519))
            identity = await process.ask(Identity(user_id=USER))
            (signed,) = [e for e in await process.ask(Devices(user_id=USER)) if e.device_id == tablet.device_id]
            assert identity is not None
            assert signed.cross_signed_by == identity.self_signing_key
    assert 2 == len(uploads(world, RequestKind.SIGNATURES_UPLOAD))  # of this device, and one of the other


async def test_a_refused_signature_of_a_device_is_an_error_of_its_asker(
    world: Strict, autojump_clock: MockClock
) -> None:
    tablet = (await world.log_in(USER, "TABLET")).peer
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning())
        world.refuses_signatures = True
        with pytest.raises(SignatureRefused):
            await device.ask(SignDevice(device_id=tablet.device_id, ed25519=tablet.ed25519))


async def test_a_new_identity_takes_the_place_of_one_whose_private_keys_are_lost(
    world: Strict, autojump_clock: MockClock
) -> None:
    theirs = PeerIdentity(USER)
    world.homeserver.keys.identities[USER] = theirs.upload()
    async with world.process() as device:
        with pytest.raises(MissingCrossSigningKeys):
            await device.ask(BootstrapCrossSigning())
        await device.ask(ResetCrossSigning())
        assert await is_done(device)
        status = await device.ask(CrossSigningStatus())
        assert (True, False) == (status.complete, status.pending)
        first = await device.ask(Identity(user_id=USER))
        await device.ask(ResetCrossSigning())
        assert await is_done(device)
        second = await device.ask(Identity(user_id=USER))
        assert first is not None
        assert second is not None
        assert 3 == len({theirs.public_key("master"), first.master_key, second.master_key})


async def test_a_reset_that_the_user_has_to_authenticate_for_keeps_the_old_keys_until_it_is_taken(
    world: Strict, autojump_clock: MockClock
) -> None:
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning())
        before = await device.ask(ExportCrossSigningKeys())
        world.wants_auth = True
        for _ in range(2):
            with pytest.raises(AuthenticationRequired):
                await device.ask(ResetCrossSigning())
            assert before == await device.ask(ExportCrossSigningKeys())
            assert await is_done(device)
        await device.ask(ResetCrossSigning(auth=AUTH))
        assert await is_done(device)
        assert before != await device.ask(ExportCrossSigningKeys())
    keys = [body["master_key"] for body in uploads(world, RequestKind.SIGNING_KEYS_UPLOAD)[1:]]
    assert 3 == len(keys)
    assert all(keys[0] == each for each in keys)


async def test_a_reset_whose_answer_was_lost_goes_on_with_the_same_keys(
    world: Strict, autojump_clock: MockClock
) -> None:
    async with world.process() as device:
        await device.ask(BootstrapCrossSigning())
    world.unheard.add(RequestKind.SIGNING_KEYS_UPLOAD)
    async with world.process() as device:
        with pytest.raises(RequestDelayed):
            await device.ask(ResetCrossSigning(patience=5))
    world.unheard.clear()
    async with world.process() as device:
        await device.ask(ResetCrossSigning())
        assert await is_done(device)
    keys = [body["master_key"] for body in uploads(world, RequestKind.SIGNING_KEYS_UPLOAD)]
    assert 2 == len({str(key) for key in keys})
