"""What follows from a verification: identities are verified, and signed with the private keys that are there."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from olmstate.messages import (
    BootstrapCrossSigning,
    ConfirmVerification,
    Devices,
    IdentityState,
    UserId,
    VerificationStage,
)
from tests.actors.verification.conftest import ALICE, BOB, Device, Two, two_devices
from tests.peer.identity import PeerIdentity


async def identity_state(device: Device, user_id: UserId) -> IdentityState:
    return (await device.identity_of(user_id)).state


def uploads(two: Two) -> list[dict[str, dict[str, object]]]:
    """Bodies of what was signed."""
    return [asked.body for asked in two.homeserver.asked if asked.target.endswith("/signatures/upload") and asked.body]


@pytest.mark.parametrize("processes", [1, 3])
async def test_two_users_sign_each_others_master_keys(processes: int, autojump_clock: MockClock) -> None:
    async with two_devices(processes=processes) as two:
        for device in (two.alice, two.bob):
            await device.process.ask(BootstrapCrossSigning())
        await two.know_each_other()
        assert IdentityState.PINNED is await identity_state(two.alice, BOB)
        await two.compare()
        await two.confirm()
        await two.know_each_other()
        for device, user_id in ((two.alice, BOB), (two.bob, ALICE)):
            assert IdentityState.VERIFIED is await identity_state(device, user_id)
        # each signed the other's master key, once
        masters = {user_id: (await two.alice.identity_of(user_id)).master_key for user_id in (ALICE, BOB)}
        signed = [(user_id, name) for body in uploads(two) for user_id in body for name in body[user_id]]
        assert [1, 1] == [signed.count((user_id, master)) for user_id, master in masters.items()]


async def test_a_new_device_trusts_its_user_and_is_signed(autojump_clock: MockClock) -> None:
    async with two_devices(processes=3, user_ids=(ALICE, ALICE)) as two:
        await two.alice.process.ask(BootstrapCrossSigning())
        await two.know_each_other()
        assert IdentityState.NEVER_VERIFIED is await identity_state(two.bob, ALICE)
        await two.compare()
        await two.confirm()
        await two.know_each_other()
        assert IdentityState.VERIFIED is await identity_state(two.bob, ALICE)
        own = await two.bob.identity_of(ALICE)
        for device in await two.alice.process.ask(Devices(user_id=ALICE)):
            assert own.self_signing_key == device.cross_signed_by


async def test_a_new_device_does_not_vouch_for_an_identity_that_it_does_not_trust(autojump_clock: MockClock) -> None:
    """Else a homeserver could have it vouch for one of its own making."""
    async with two_devices(user_ids=(ALICE, ALICE)) as two:
        homeservers = PeerIdentity(ALICE)
        two.homeserver.keys.upload_identity(ALICE, homeservers.upload())
        await two.know_each_other()
        await two.compare()
        await two.confirm()
        assert [VerificationStage.DONE] * 2 == await two.stages()
        macs = [
            each.body["messages"][ALICE][device]["mac"]
            for each in two.homeserver.asked
            if "/m.key.verification.mac/" in each.target and each.body
            for device in each.body["messages"][ALICE]
        ]
        assert [{"ed25519:ALICEDEVICE"}, {"ed25519:BOBDEVICE"}] == [set(mac) for mac in macs]
        for device in (two.alice, two.bob):
            assert IdentityState.NEVER_VERIFIED is await identity_state(device, ALICE)
        assert [] == uploads(two)


async def test_who_lacks_the_private_key_trusts_on_this_device_alone(autojump_clock: MockClock) -> None:
    """A changed identity that was compared is agreed to; that it is verified takes a signature."""
    async with two_devices() as two:
        await two.bob.process.ask(BootstrapCrossSigning())
        published = two.homeserver.keys.identities[BOB]
        two.homeserver.keys.identities[BOB] = {}
        two.homeserver.keys.upload_identity(BOB, PeerIdentity(BOB).upload())
        await two.know_each_other()
        two.homeserver.keys.upload_identity(BOB, published)
        await two.alice.sync()
        await two.know_each_other()
        assert IdentityState.PIN_VIOLATION is await identity_state(two.alice, BOB)
        await two.compare()
        await two.confirm()
        assert [VerificationStage.DONE] * 2 == await two.stages()
        assert IdentityState.PINNED is await identity_state(two.alice, BOB)
        assert {two.bob.device_id} == set((await two.alice.verified(BOB)).values())
        assert [] == [body for body in uploads(two) if BOB in body and "BOBDEVICE" not in body[BOB]]


async def test_an_identity_that_changes_meanwhile_ends_it_and_nothing_is_verified(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        for device in (two.alice, two.bob):
            await device.process.ask(BootstrapCrossSigning())
        await two.know_each_other()
        flow_id = await two.compare()
        two.homeserver.keys.upload_identity(BOB, PeerIdentity(BOB).upload())
        await two.know_each_other()
        await two.alice.process.ask(ConfirmVerification(user_id=BOB, flow_id=flow_id))
        await two.deliver()
        for device in (two.alice, two.bob):
            flow = await device.flow()
            assert (VerificationStage.CANCELLED, "m.key_mismatch") == (flow.stage, flow.cancel_code)
        assert {} == await two.alice.verified(BOB) == await two.bob.verified(ALICE)


async def test_the_signature_is_stored_in_the_commit_that_ends_the_flow(autojump_clock: MockClock) -> None:
    """All processes die before anything is sent; those that come after send it."""
    async with two_devices(processes=2) as two:
        for device in (two.alice, two.bob):
            await device.process.ask(BootstrapCrossSigning())
        await two.know_each_other()
        for device in (two.alice, two.bob):
            device.unsent = "/signatures/upload"
        before = len(uploads(two))
        await two.compare()
        await two.confirm()
        assert ([VerificationStage.DONE] * 2, before) == (await two.stages(), len(uploads(two)))
        for device in (two.alice, two.bob):
            device.unsent = "nothing"
            await device.replace()
        await trio.sleep(60)
        signed = [(user_id, name) for body in uploads(two)[before:] for user_id in body for name in body[user_id]]
        masters = [(user_id, (await two.alice.identity_of(user_id)).master_key) for user_id in (ALICE, BOB)]
        assert sorted(masters) == sorted(signed)
