"""Verifications of a device of ours, a process a step, with matrix-rust-sdk's, on a homeserver in memory."""

from __future__ import annotations

import pytest

from olmstate.actors._verification.actor import VerifiedDevices
from olmstate.messages import (
    BootstrapCrossSigning,
    CancelVerification,
    ConfirmVerification,
    CrossSigningSeeds,
    Devices,
    Identity,
    IdentityState,
    ImportCrossSigningKeys,
    StartSas,
)
from tests.interop.program import Program
from tests.interop.verifying import Two, meeting

where = pytest.mark.parametrize("in_room", [False, True])
either_asks = pytest.mark.parametrize("we_request", [False, True])


async def both_users_are_verified(two: Two) -> None:
    assert IdentityState.VERIFIED is await two.identity_state(two.user_id)
    identity = await two.theirs.ask("get_identity", user_id=two.session.user_id)
    assert identity["verified"]


# --- SAS


@where
@either_asks
@pytest.mark.parametrize("we_start", [False, True])
@pytest.mark.parametrize("we_confirm_first", [False, True])
async def test_emoji_are_the_same_and_two_users_verify_each_other(
    rust: Program, *, in_room: bool, we_request: bool, we_start: bool, we_confirm_first: bool
) -> None:
    async with meeting(rust, in_room=in_room) as two:
        await two.begin(we_request=we_request)
        await two.compare(we_start=we_start)
        if we_confirm_first:
            await two.we_do(ConfirmVerification)
        await two.they_do("sas_confirm")
        if not we_confirm_first:
            await two.we_do(ConfirmVerification)
        await two.are_done()
        await both_users_are_verified(two)


@either_asks
async def test_devices_verify_each_other_where_nobody_has_an_identity(rust: Program, *, we_request: bool) -> None:
    async with meeting(rust, we_have_identity=False, they_have_identity=False) as two:
        await two.begin(we_request=we_request)
        await two.compare(we_start=we_request)
        await two.they_do("sas_confirm")
        await two.we_do(ConfirmVerification)
        await two.are_done()
        verified = await two.process.ask(VerifiedDevices(user_id=two.user_id))
        assert {two.theirs.identity["ed25519"]: two.theirs.session.device_id} == verified


@where
@either_asks
async def test_two_starts_at_once_end_well(rust: Program, *, in_room: bool, we_request: bool) -> None:
    """Ours is of the smaller user id, so it counts."""
    async with meeting(rust, in_room=in_room) as two:
        await two.begin(we_request=we_request)
        await two.process.ask(StartSas(user_id=two.user_id, flow_id=two.flow_id))
        await two.they_do("sas_start")
        await two.they_do("sas_accept")
        await two.see_the_same()
        await two.they_do("sas_confirm")
        await two.we_do(ConfirmVerification)
        await two.are_done()


@either_asks
@pytest.mark.parametrize("ours_is_old", [False, True])
async def test_two_devices_of_one_user_verify_each_other(rust: Program, *, we_request: bool, ours_is_old: bool) -> None:
    async with meeting(rust, one_user=True, we_have_identity=ours_is_old, they_have_identity=not ours_is_old) as two:
        await two.begin(we_request=we_request)
        await two.compare(we_start=False)
        await two.they_do("sas_confirm")
        await two.we_do(ConfirmVerification)
        await two.are_done()
        await both_devices_are_signed(two)


async def both_devices_are_signed(two: Two) -> None:
    assert IdentityState.VERIFIED is await two.identity_state(two.user_id)
    signers = {each.cross_signed_by for each in await two.process.ask(Devices(user_id=two.user_id))}
    assert 1 == len(signers)
    assert None not in signers


# --- QR codes


@where
@either_asks
@pytest.mark.parametrize("we_show", [False, True])
async def test_two_users_verify_each_other_by_code(
    rust: Program, *, in_room: bool, we_request: bool, we_show: bool
) -> None:
    async with meeting(rust, in_room=in_room) as two:
        await two.begin(we_request=we_request)
        await two.show_and_scan(we_show=we_show)
        await (two.we_do(ConfirmVerification) if we_show else two.they_do("qr_confirm"))
        await two.are_done()
        await both_users_are_verified(two)


@either_asks
@pytest.mark.parametrize("ours_is_old", [False, True])
@pytest.mark.parametrize("we_show", [False, True])
async def test_two_devices_of_one_user_verify_each_other_by_code(
    rust: Program, *, we_request: bool, ours_is_old: bool, we_show: bool
) -> None:
    async with meeting(rust, one_user=True, we_have_identity=ours_is_old, they_have_identity=not ours_is_old) as two:
        await two.begin(we_request=we_request)
        await two.show_and_scan(we_show=we_show)
        await (two.we_do(ConfirmVerification) if we_show else two.they_do("qr_confirm"))
        await two.are_done()
        await both_devices_are_signed(two)


# --- bad ends


@where
@pytest.mark.parametrize("mismatch", [False, True])
async def test_what_we_cancel_is_cancelled_on_both_sides(rust: Program, *, in_room: bool, mismatch: bool) -> None:
    async with meeting(rust, in_room=in_room) as two:
        await two.begin(we_request=True)
        await two.compare(we_start=True)
        await two.we_do(CancelVerification, mismatch=mismatch)
        await two.have_cancelled("m.mismatched_sas" if mismatch else "m.user")


@where
@either_asks
async def test_what_they_cancel_is_cancelled_on_both_sides(rust: Program, *, in_room: bool, we_request: bool) -> None:
    async with meeting(rust, in_room=in_room) as two:
        await two.begin(we_request=we_request)
        await two.they_do("cancel_verification")
        await two.have_cancelled("m.user")


async def test_an_11_minute_pause_is_a_timeout_for_both(rust: Program) -> None:
    async with meeting(rust) as two:
        await two.begin(we_request=False)
        await two.compare(we_start=False)
        two.later = 11 * 60_000
        await two.sync()
        await two.have_cancelled("m.timeout")


# --- cross-signing


async def test_our_identity_is_seen_by_them_and_has_signed_our_device(rust: Program) -> None:
    async with meeting(rust) as two:
        user_id = two.session.user_id
        identity = await two.theirs.ask("get_identity", user_id=user_id)
        own = await two.process.ask(Identity(user_id=user_id))
        assert own is not None
        assert own.master_key in identity["master"]["keys"].values()
        device = await two.theirs.ask("get_device", user_id=user_id, device_id=two.session.device_id)
        assert device["cross_signed_by_owner"]


async def test_their_private_keys_are_ours(rust: Program) -> None:
    async with meeting(rust, one_user=True, we_have_identity=False) as two:
        exported = await two.theirs.ask("export_cross_signing")
        seeds = CrossSigningSeeds(**{name: exported[name] for name in ("master", "self_signing", "user_signing")})
        taken = await two.ask(ImportCrossSigningKeys(seeds=seeds))
        assert taken.complete
        await two.ask(BootstrapCrossSigning())
        await both_devices_are_signed(two)
