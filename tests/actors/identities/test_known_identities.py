"""What a device knows of users' identities: what `/keys/query` may change of it, and what follows."""

from __future__ import annotations

import copy

import pytest
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors._identities.operations import MarkVerified
from olmstate.actors.testing import USER
from olmstate.messages import (
    AddDevices,
    Devices,
    IdentitiesChanged,
    Identity,
    IdentityState,
    JsonObject,
    PinIdentity,
    UnknownIdentity,
    UpdateDevices,
    UserId,
    WithdrawVerification,
)
from tests.actors.world import World
from tests.operations.peer import Peer
from tests.peer.identity import PeerIdentity, merged

BOB, CAROL = UserId("@bob:example.org"), UserId("@carol:example.org")


@pytest.fixture
def world() -> World:
    return World()


async def state(device: Supervisor, user_id: UserId) -> IdentityState | None:
    identity = await device.ask(Identity(user_id=user_id))
    return None if identity is None else identity.state


async def trust(device: Supervisor, user_id: UserId, identity: PeerIdentity) -> None:
    """As a verification does."""
    await device.ask(MarkVerified(user_id=user_id, master_key=identity.public_key("master")))


async def add(device: Supervisor, *answers: JsonObject) -> None:
    await device.ask(AddDevices(response={"device_keys": {}, **merged(*answers)}))


async def test_a_query_tells_a_users_identity_and_which_devices_it_has_signed(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, "ONE")
    await world.log_in(BOB, "TWO")
    identity = PeerIdentity(BOB)
    await bob.session.request("POST", "/_matrix/client/v3/keys/device_signing/upload", identity.upload())
    signed = identity.sign_device(bob.peer.device_keys())
    await bob.session.request("POST", "/_matrix/client/v3/keys/signatures/upload", {BOB: {"ONE": signed}})
    async with world.process() as device, world.process() as other:
        with device.subscribe(IdentitiesChanged) as events:
            assert () == await device.ask(UpdateDevices(users=(BOB,)))
            assert IdentitiesChanged(users=(BOB,)) == events.receive_nowait()
        for process in (device, other):
            known = await process.ask(Identity(user_id=BOB))
            assert known is not None
            assert (identity.public_key("master"), None) == (known.master_key, known.user_signing_key)
            assert IdentityState.PINNED is known.state
            devices = await process.ask(Devices(user_id=BOB))
            assert [identity.public_key("self_signing"), None] == [each.cross_signed_by for each in devices]
        assert await device.ask(Identity(user_id=CAROL)) is None


async def test_nobody_is_told_of_but_whom_was_asked_for(world: World, autojump_clock: MockClock) -> None:
    await world.log_in(BOB)
    carols = PeerIdentity(CAROL)
    world.homeserver.keys.identities[BOB] = carols.upload()
    async with world.process() as device:
        await device.ask(UpdateDevices(users=(BOB,)))
        assert [None, None] == [await device.ask(Identity(user_id=user)) for user in (BOB, CAROL)]


@pytest.mark.parametrize("broken", ["self_signing", "user_signing"])
async def test_keys_that_the_master_key_has_not_signed_change_nothing(world: World, broken: str) -> None:
    user = USER if broken == "user_signing" else BOB
    identity, other = PeerIdentity(user), PeerIdentity(user)
    async with world.process(transport=False) as device:
        await add(device, identity.answer(own=user == USER))
        before = await device.ask(Identity(user_id=user))
        forged = copy.deepcopy(other)
        forged.objects[broken]["signatures"] = identity.objects[broken]["signatures"]
        with device.subscribe(IdentitiesChanged) as events:
            await add(device, forged.answer(own=user == USER))
            assert IdentitiesChanged(users=(), refused=(user,)) == events.receive_nowait()
        assert before is not None
        assert before == await device.ask(Identity(user_id=user))


async def test_our_own_identity_without_its_user_signing_key_is_refused(world: World) -> None:
    async with world.process(transport=False) as device:
        await add(device, PeerIdentity(USER).answer())
        assert await state(device, USER) is None


async def test_an_identity_that_is_left_out_stays(world: World) -> None:
    async with world.process(transport=False) as device:
        await add(device, PeerIdentity(BOB).answer())
        await device.ask(AddDevices(response={"device_keys": {BOB: {}}}))
        assert IdentityState.PINNED is await state(device, BOB)


async def test_another_master_key_is_a_violation_until_our_user_agrees(world: World) -> None:
    async with world.process(transport=False) as device:
        first, second = PeerIdentity(BOB), PeerIdentity(BOB)
        await add(device, first.answer())
        await add(device, second.answer())
        assert IdentityState.PIN_VIOLATION is await state(device, BOB)
        await add(device, first.answer())
        assert IdentityState.PINNED is await state(device, BOB)
        await add(device, second.answer())
        await device.ask(PinIdentity(user_id=BOB))
        assert IdentityState.PINNED is await state(device, BOB)


async def test_who_our_user_has_signed_is_verified_once_our_own_is(world: World) -> None:
    own, bob = PeerIdentity(USER), PeerIdentity(BOB)
    own.verify(bob)
    async with world.process(transport=False) as device:
        await add(device, own.answer(own=True), bob.answer())
        assert (IdentityState.NEVER_VERIFIED, IdentityState.PINNED) == (
            await state(device, USER),
            await state(device, BOB),
        )
        await trust(device, USER, own)
        assert (IdentityState.VERIFIED, IdentityState.VERIFIED) == (await state(device, USER), await state(device, BOB))


async def test_a_dropped_signature_and_a_replaced_identity_are_violations_of_who_was_verified(world: World) -> None:
    own, bob = PeerIdentity(USER), PeerIdentity(BOB)
    unsigned = copy.deepcopy(bob)
    own.verify(bob)
    async with world.process(transport=False) as device:
        await add(device, own.answer(own=True), bob.answer())
        await trust(device, USER, own)
        for answer in (unsigned, PeerIdentity(BOB)):
            await add(device, answer.answer())
            assert IdentityState.VERIFICATION_VIOLATION is await state(device, BOB)
            await device.ask(PinIdentity(user_id=BOB))
            assert IdentityState.VERIFICATION_VIOLATION is await state(device, BOB)
        await device.ask(WithdrawVerification(user_id=BOB))
        assert IdentityState.PINNED is await state(device, BOB)


@pytest.mark.parametrize("shown", ["with the signature", "without it", "another identity"])
async def test_a_signature_that_was_given_up_makes_nobody_verified_again(world: World, shown: str) -> None:
    # the homeserver keeps it, and shows it again whenever it likes: it was believed each time
    own, bob, replaced = PeerIdentity(USER), PeerIdentity(BOB), PeerIdentity(BOB)
    unsigned = copy.deepcopy(bob.answer())
    own.verify(bob)
    async with world.process(transport=False) as device:
        await add(device, own.answer(own=True), bob.answer())
        await trust(device, USER, own)
        assert IdentityState.VERIFIED is await state(device, BOB)
        await add(device, {"with the signature": bob.answer(), "without it": unsigned}.get(shown, replaced.answer()))
        await device.ask(WithdrawVerification(user_id=BOB))
        assert IdentityState.PINNED is await state(device, BOB)
    async with world.process(transport=False) as later:
        await add(later, bob.answer())
        agreed = shown != "another identity"
        assert (IdentityState.PINNED if agreed else IdentityState.PIN_VIOLATION) is await state(later, BOB)
        await trust(later, BOB, bob)
        assert IdentityState.VERIFIED is await state(later, BOB)
        # what was compared again is that identity, and no other that was signed before
        own.verify(replaced)
        await add(later, replaced.answer())
        assert IdentityState.VERIFICATION_VIOLATION is await state(later, BOB)


async def test_a_new_user_signing_key_verifies_whom_the_old_one_was_given_up_for(world: World) -> None:
    own, bob, renewed = PeerIdentity(USER), PeerIdentity(BOB), PeerIdentity(USER)
    own.verify(bob)
    async with world.process(transport=False) as device:
        await add(device, own.answer(own=True), bob.answer())
        await trust(device, USER, own)
        await device.ask(WithdrawVerification(user_id=BOB))
        await add(device, renewed.answer(own=True))
        await trust(device, USER, renewed)
        assert IdentityState.PINNED is await state(device, BOB)
        renewed.verify(bob)
        await add(device, bob.answer())
        assert IdentityState.VERIFIED is await state(device, BOB)


async def test_our_own_identity_replaced_is_a_violation_also_of_those_it_had_verified(world: World) -> None:
    own, bob, replaced = PeerIdentity(USER), PeerIdentity(BOB), PeerIdentity(USER)
    own.verify(bob)
    async with world.process(transport=False) as device:
        await add(device, own.answer(own=True), bob.answer())
        await trust(device, USER, own)
        replaced.verify(bob)
        await add(device, replaced.answer(own=True), bob.answer())
        violation = IdentityState.VERIFICATION_VIOLATION
        assert (violation, violation) == (await state(device, USER), await state(device, BOB))
        await device.ask(WithdrawVerification(user_id=BOB))
        assert IdentityState.PINNED is await state(device, BOB)
        await device.ask(WithdrawVerification(user_id=USER))
        assert IdentityState.NEVER_VERIFIED is await state(device, USER)


async def test_a_device_is_cross_signed_by_the_key_that_signed_it_and_by_no_other(world: World) -> None:
    peer, identity, replaced = Peer(user_id=BOB), PeerIdentity(BOB), PeerIdentity(BOB)
    signed = identity.sign_device(peer.device_keys())
    devices = {"device_keys": {BOB: {peer.device_id: signed}}}
    async with world.process(transport=False) as device:
        await device.ask(AddDevices(response=merged(devices, identity.answer())))
        assert [identity.public_key("self_signing")] == [
            each.cross_signed_by for each in await device.ask(Devices(user_id=BOB))
        ]
        await device.ask(AddDevices(response=merged(devices, replaced.answer())))
        assert [None] == [each.cross_signed_by for each in await device.ask(Devices(user_id=BOB))]


async def test_of_nobody_known_nothing_can_be_decided(world: World) -> None:
    async with world.process(transport=False) as device:
        for message in (PinIdentity(user_id=BOB), WithdrawVerification(user_id=BOB)):
            with pytest.raises(UnknownIdentity):
                await device.ask(message)


async def test_what_was_learned_is_there_for_other_processes_and_later(world: World) -> None:
    own, bob = PeerIdentity(USER), PeerIdentity(BOB)
    own.verify(bob)
    async with world.process(transport=False) as device:
        await add(device, own.answer(own=True), bob.answer())
        await trust(device, USER, own)
        async with world.process(transport=False) as other:
            assert IdentityState.VERIFIED is await state(other, BOB)
    async with world.process(transport=False) as later:
        assert IdentityState.VERIFIED is await state(later, BOB)
        await add(later, PeerIdentity(BOB).answer())
        assert IdentityState.VERIFICATION_VIOLATION is await state(later, BOB)
