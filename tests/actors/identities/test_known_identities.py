"""What a device knows of users' identities: what `/keys/query` may change of it, and what follows."""

from __future__ import annotations

import copy
from typing import TypeAlias

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
    Statistics,
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
        await device.ask(PinIdentity(user_id=BOB, master_key=second.public_key("master")))
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
        replaced = PeerIdentity(BOB)
        for identity in (unsigned, replaced):
            await add(device, identity.answer())
            assert IdentityState.VERIFICATION_VIOLATION is await state(device, BOB)
            await device.ask(PinIdentity(user_id=BOB, master_key=identity.public_key("master")))
            assert IdentityState.VERIFICATION_VIOLATION is await state(device, BOB)
        await device.ask(WithdrawVerification(user_id=BOB, master_key=replaced.public_key("master")))
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
        agreed = shown != "another identity"
        there = (bob if agreed else replaced).public_key("master")
        await device.ask(WithdrawVerification(user_id=BOB, master_key=there))
        assert IdentityState.PINNED is await state(device, BOB)
    async with world.process(transport=False) as later:
        await add(later, bob.answer())
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
        await device.ask(WithdrawVerification(user_id=BOB, master_key=bob.public_key("master")))
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
        await device.ask(WithdrawVerification(user_id=BOB, master_key=bob.public_key("master")))
        assert IdentityState.PINNED is await state(device, BOB)
        await device.ask(WithdrawVerification(user_id=USER, master_key=replaced.public_key("master")))
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


DECISIONS = pytest.mark.parametrize("decide", [PinIdentity, WithdrawVerification])
Decide: TypeAlias = type[PinIdentity | WithdrawVerification]


@DECISIONS
async def test_of_nobody_known_nothing_can_be_decided(world: World, decide: Decide) -> None:
    async with world.process(transport=False) as device:
        with pytest.raises(UnknownIdentity):
            await device.ask(decide(user_id=BOB, master_key=PeerIdentity(BOB).public_key("master")))


@DECISIONS
@pytest.mark.parametrize("user_id", [BOB, USER])
async def test_an_identity_that_was_swapped_since_it_was_shown_is_not_agreed_to(
    world: World, user_id: UserId, decide: Decide
) -> None:
    # before our user has decided, another process takes in what the homeserver shows now
    own, bob = PeerIdentity(USER), PeerIdentity(BOB)
    own.verify(bob)
    async with world.process(transport=False) as device, world.process(transport=False) as other:
        await add(device, own.answer(own=True), bob.answer())
        await trust(device, USER, own)
        await add(device, PeerIdentity(user_id).answer(own=user_id == USER))
        shown = await device.ask(Identity(user_id=user_id))
        assert shown is not None
        await add(other, PeerIdentity(user_id).answer(own=user_id == USER))
        swapped = await other.ask(Identity(user_id=user_id))
        assert swapped is not None
        assert IdentityState.VERIFICATION_VIOLATION is swapped.state
        before = (await device.ask(Statistics())).commits
        with pytest.raises(UnknownIdentity):
            await device.ask(decide(user_id=user_id, master_key=shown.master_key))
        assert before == (await device.ask(Statistics())).commits
        for process in (device, other):
            assert swapped == await process.ask(Identity(user_id=user_id))


@DECISIONS
async def test_one_that_was_only_pinned_and_was_swapped_is_not_agreed_to(world: World, decide: Decide) -> None:
    async with world.process(transport=False) as device:
        shown = PeerIdentity(BOB)
        for identity in (PeerIdentity(BOB), shown, PeerIdentity(BOB)):
            await add(device, identity.answer())
        with pytest.raises(UnknownIdentity):
            await device.ask(decide(user_id=BOB, master_key=shown.public_key("master")))
        assert IdentityState.PIN_VIOLATION is await state(device, BOB)


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
