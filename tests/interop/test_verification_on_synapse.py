"""Verifications on Synapse: of two devices of ours, and of ours with matrix-rust-sdk's; a process a step."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest

from olmstate.messages import (
    AcceptVerification,
    BootstrapCrossSigning,
    ConfirmVerification,
    Devices,
    Identity,
    IdentityState,
    Message,
    RequestVerification,
    RoomId,
    ScanQrCode,
    ShowQrCode,
    StartSas,
    UpdateDevices,
    UserId,
    Verification,
    VerificationStage,
)
from tests.interop.homeserver import Homeserver
from tests.interop.program import Program
from tests.interop.test_verification import both_devices_are_signed, both_users_are_verified
from tests.interop.verifying import METHODS, Ours, meeting, sessions

where = pytest.mark.parametrize("in_room", [False, True])


@attrs.define
class Pair:
    """Two devices of ours; the first asks."""

    asks: Ours
    answers: Ours
    room_id: RoomId

    async def arrive(self) -> None:
        """Have everything arrive, and all that follows from it."""
        came = True
        while came:
            came = False
            for device in (self.asks, self.answers):
                sent, received = await device.send(), await device.receive()
                came = came or bool(sent or received)

    async def do(self, device: Ours, wish: type[Message[Verification]], **fields: Any) -> Verification:  # noqa: ANN401 - a message's
        """One of the two users does something."""
        flow = await device.flow()
        make: Any = wish
        done: Verification = await device.process.ask(make(user_id=flow.user_id, flow_id=flow.flow_id, **fields))
        await self.arrive()
        return done

    async def begin(self, *, in_room: bool) -> None:
        """Until both are ready."""
        to = self.answers.session
        devices = () if in_room else (to.device_id,)
        room_id = self.room_id if in_room else None
        await self.asks.ask(RequestVerification(user_id=to.user_id, devices=devices, room_id=room_id, methods=METHODS))
        await self.arrive()
        await self.do(self.answers, AcceptVerification, methods=METHODS)

    async def compare(self) -> None:
        """Both see the same, and say so."""
        await self.do(self.asks, StartSas)
        ours, theirs = await self.asks.flow(), await self.answers.flow()
        assert ours.emoji is not None
        assert (ours.emoji, ours.decimals) == (theirs.emoji, theirs.decimals)
        for device in (self.asks, self.answers):
            await self.do(device, ConfirmVerification)

    async def scan(self) -> None:
        """The first scans the other's code."""
        shown = await self.do(self.answers, ShowQrCode)
        await self.do(self.asks, ScanQrCode, data=shown.qr_code)
        await self.do(self.answers, ConfirmVerification)

    async def are_done(self) -> None:
        """Both know it, and nothing is left to be sent."""
        for device in (self.asks, self.answers):
            flow = await device.flow()
            assert (VerificationStage.DONE, None) == (flow.stage, flow.cancel_code)

    async def know(self) -> None:
        """Both ask for the keys of both users."""
        await self.arrive()
        for device in (self.asks, self.answers):
            await device.ask(UpdateDevices(users=(self.asks.session.user_id, self.answers.session.user_id)))


@asynccontextmanager
async def pair(homeserver: Homeserver, *, one_user: bool = False) -> AsyncGenerator[Pair]:
    """Two devices that know each other: of two users with an identity each, or a new one of a user who has one."""
    ours, theirs = (Ours(session=session) for session in await sessions(homeserver, one_user=one_user))
    async with AsyncExitStack() as stack:
        for device in (ours, theirs):
            await device.open(stack)
        await ours.ask(BootstrapCrossSigning())
        if not one_user:
            await theirs.ask(BootstrapCrossSigning())
        room_id = await ours.session.create_room(invite=() if one_user else (theirs.session.user_id,))
        if not one_user:
            await theirs.session.join(room_id)
        two = Pair(ours, theirs, room_id)
        await two.know()
        yield two


async def is_verified(device: Ours, user_id: UserId) -> bool:
    identity = await device.process.ask(Identity(user_id=user_id))
    return identity is not None and identity.state is IdentityState.VERIFIED


@where
@pytest.mark.parametrize("by_code", [False, True])
async def test_two_users_of_ours_verify_each_other(homeserver: Homeserver, *, in_room: bool, by_code: bool) -> None:
    async with pair(homeserver) as two:
        await two.begin(in_room=in_room)
        await (two.scan() if by_code else two.compare())
        await two.are_done()
        await two.know()
        assert await is_verified(two.asks, two.answers.session.user_id)
        assert await is_verified(two.answers, two.asks.session.user_id)


@pytest.mark.parametrize("by_code", [False, True])
async def test_a_new_device_of_ours_is_verified_and_signed_by_an_old_one(
    homeserver: Homeserver, *, by_code: bool
) -> None:
    async with pair(homeserver, one_user=True) as two:
        await two.begin(in_room=False)
        await (two.scan() if by_code else two.compare())
        await two.are_done()
        await two.know()
        user_id = two.asks.session.user_id
        for device in (two.asks, two.answers):
            assert await is_verified(device, user_id)
            signers = {each.cross_signed_by for each in await device.process.ask(Devices(user_id=user_id))}
            assert 1 == len(signers)
            assert None not in signers


@where
@pytest.mark.parametrize("we_request", [False, True])
async def test_emoji_are_those_of_the_rust_sdk(
    homeserver: Homeserver, rust: Program, *, in_room: bool, we_request: bool
) -> None:
    async with meeting(rust, homeserver, in_room=in_room) as two:
        await two.begin(we_request=we_request)
        await two.compare(we_start=not we_request)
        await two.they_do("sas_confirm")
        await two.we_do(ConfirmVerification)
        await two.are_done()
        await both_users_are_verified(two)


@where
@pytest.mark.parametrize("we_show", [False, True])
async def test_codes_are_those_of_the_rust_sdk(
    homeserver: Homeserver, rust: Program, *, in_room: bool, we_show: bool
) -> None:
    async with meeting(rust, homeserver, in_room=in_room) as two:
        await two.begin(we_request=we_show)
        await two.show_and_scan(we_show=we_show)
        await (two.we_do(ConfirmVerification) if we_show else two.they_do("qr_confirm"))
        await two.are_done()
        await both_users_are_verified(two)


@pytest.mark.parametrize("ours_is_old", [False, True])
async def test_a_device_of_ours_and_one_of_the_rust_sdks_sign_each_other(
    homeserver: Homeserver, rust: Program, *, ours_is_old: bool
) -> None:
    async with meeting(
        rust, homeserver, one_user=True, we_have_identity=ours_is_old, they_have_identity=not ours_is_old
    ) as two:
        await two.begin(we_request=True)
        await two.compare(we_start=True)
        await two.they_do("sas_confirm")
        await two.we_do(ConfirmVerification)
        await two.are_done()
        await both_devices_are_signed(two)
