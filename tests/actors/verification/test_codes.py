"""Verifications by QR code, between devices of the library's whose processes take turns."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from olmstate.messages import (
    AcceptVerification,
    BootstrapCrossSigning,
    CancelVerification,
    ConfirmVerification,
    Devices,
    IdentityState,
    MalformedQrCode,
    QrUnavailable,
    ScanQrCode,
    ShowQrCode,
    StartSas,
    UserId,
    VerificationMethod,
    VerificationStage,
    WrongStep,
)
from tests.actors.verification.conftest import ALICE, BOB, Device, Two, two_devices

CANCELLED, DONE, READY = VerificationStage.CANCELLED, VerificationStage.DONE, VerificationStage.READY


async def with_identities(two: Two) -> None:
    for device in {each.user_id: each for each in (two.bob, two.alice)}.values():
        await device.process.ask(BootstrapCrossSigning())
    await two.know_each_other()


async def shown_by(device: Device) -> bytes:
    """The code on its screen."""
    flow = await device.flow()
    shown = await device.process.ask(ShowQrCode(user_id=flow.user_id, flow_id=flow.flow_id))
    assert shown.qr_code is not None
    return shown.qr_code


async def state_of(device: Device, user_id: UserId) -> IdentityState:
    return (await device.identity_of(user_id)).state


@pytest.mark.parametrize("in_room", [False, True])
@pytest.mark.parametrize("replaced", [False, True])
async def test_two_users_verify_each_other_each_step_in_another_process(
    *, in_room: bool, replaced: bool, autojump_clock: MockClock
) -> None:
    async with two_devices(processes=2 if replaced else 3) as two:
        await with_identities(two)
        if replaced:
            two.between_steps = two.replace_both
        await two.ready(in_room=in_room)
        code = await shown_by(two.bob)
        await two.pause()
        assert code == await shown_by(two.bob) == (await two.bob.flow()).qr_code
        await two.alice_does(ScanQrCode, data=code)
        assert [VerificationStage.CONFIRMED, VerificationStage.SCANNED] == await two.stages()
        assert None is (await two.bob.flow()).qr_code
        await two.bob_does(ConfirmVerification)
        assert [DONE, DONE] == await two.stages()
        await two.know_each_other()
        assert IdentityState.VERIFIED is await state_of(two.alice, BOB)
        assert IdentityState.VERIFIED is await state_of(two.bob, ALICE)


@pytest.mark.parametrize("new_one_scans", [False, True])
async def test_two_devices_of_one_user_verify_each_other(*, new_one_scans: bool, autojump_clock: MockClock) -> None:
    """Alice's is the old one."""
    async with two_devices(processes=3, user_ids=(ALICE, ALICE)) as two:
        await with_identities(two)
        await two.ready()
        if new_one_scans:
            await two.bob_does(ScanQrCode, data=await shown_by(two.alice))
            await two.alice_does(ConfirmVerification)
        else:
            await two.alice_does(ScanQrCode, data=await shown_by(two.bob))
            await two.bob_does(ConfirmVerification)
        assert [DONE, DONE] == await two.stages()
        await two.know_each_other()
        own = await two.bob.identity_of(ALICE)
        assert IdentityState.VERIFIED is own.state
        for device in await two.bob.process.ask(Devices(user_id=ALICE)):
            assert own.self_signing_key == device.cross_signed_by


async def test_a_code_of_another_verification_ends_this_one(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await with_identities(two)
        await two.ready()
        code = await shown_by(two.bob)
        at = code.index((await two.bob.flow()).flow_id.encode())
        await two.alice_does(ScanQrCode, data=code[:at] + bytes([code[at] ^ 1]) + code[at + 1 :])
        for device in (two.alice, two.bob):
            flow = await device.flow()
            assert (CANCELLED, "m.unknown_transaction") == (flow.stage, flow.cancel_code)


async def test_a_code_with_other_keys_ends_it(autojump_clock: MockClock) -> None:
    """Somebody shows a code that was made for other keys: of either user, each is compared."""
    for which in (1, 2):
        async with two_devices() as two:
            await with_identities(two)
            await two.ready()
            code = await shown_by(two.bob)
            at = 10 + len((await two.bob.flow()).flow_id) + (which - 1) * 32
            await two.alice_does(ScanQrCode, data=code[:at] + bytes([code[at] ^ 1]) + code[at + 1 :])
            for device in (two.alice, two.bob):
                flow = await device.flow()
                assert (CANCELLED, "m.key_mismatch") == (flow.stage, flow.cancel_code)
            assert IdentityState.PINNED is await state_of(two.alice, BOB)


async def test_a_scanner_that_guesses_the_secret_is_found_out(autojump_clock: MockClock) -> None:
    """It says that it has scanned, and hasn't."""
    async with two_devices() as two:
        await with_identities(two)
        await two.ready()
        code = await shown_by(two.bob)
        await two.alice_does(ScanQrCode, data=code[:-1] + bytes([code[-1] ^ 1]))
        for device in (two.alice, two.bob):
            flow = await device.flow()
            assert (CANCELLED, "m.key_mismatch") == (flow.stage, flow.cancel_code)


async def test_who_sees_no_scan_on_the_other_device_cancels(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await with_identities(two)
        await two.ready()
        await two.alice_does(ScanQrCode, data=await shown_by(two.bob))
        await two.bob_does(CancelVerification)
        assert [CANCELLED, CANCELLED] == await two.stages()
        assert IdentityState.PINNED is await state_of(two.alice, BOB)


async def test_what_is_no_code_changes_nothing(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await with_identities(two)
        await two.ready()
        for data in (b"", b"https://example.org", (await shown_by(two.bob))[:-12]):
            with pytest.raises(MalformedQrCode):
                await two.alice_does(ScanQrCode, data=data)
        assert [READY, READY] == await two.stages()


async def test_emoji_are_possible_while_a_code_is_only_shown(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await with_identities(two)
        await two.ready()
        await shown_by(two.bob)
        await two.alice_does(StartSas)
        await two.confirm()
        assert [DONE, DONE] == await two.stages()


async def test_a_code_takes_two_identities_and_a_scanner(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await two.ready()
        with pytest.raises(QrUnavailable):
            await shown_by(two.bob)
        await two.alice_does(CancelVerification)
    async with two_devices() as two:
        await with_identities(two)
        two.methods = (VerificationMethod.SAS, VerificationMethod.SHOW_QR)
        await two.ready()
        with pytest.raises(QrUnavailable):
            await shown_by(two.bob)
        for device in (two.alice, two.bob):
            assert (VerificationMethod.SAS,) == (await device.flow()).methods


async def test_each_side_is_told_what_it_can_do(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        sas, show, scan = VerificationMethod
        two.methods = (sas, scan)
        await two.request()
        # a device that can show would fit
        assert (sas, show) == (await two.bob.flow()).methods
        two.methods = (show,)
        await two.bob_does(AcceptVerification, methods=two.methods)
        assert [(scan,), (show,)] == [(await device.flow()).methods for device in (two.alice, two.bob)]


async def test_nothing_is_shown_before_both_are_ready_or_after_a_scan(autojump_clock: MockClock) -> None:
    async with two_devices() as two:
        await with_identities(two)
        await two.request()
        with pytest.raises(WrongStep):
            await shown_by(two.bob)
        await two.bob_does(AcceptVerification, methods=two.methods)
        await two.alice_does(ScanQrCode, data=await shown_by(two.bob))
        with pytest.raises(WrongStep):
            await shown_by(two.bob)
        with pytest.raises(WrongStep):
            await two.alice_does(ScanQrCode, data=b"")
