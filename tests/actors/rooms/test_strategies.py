"""Which devices get a room's key, by strategy: of verified users, of others, signed or not, and what was decided."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

import attrs
import pytest
from trio.testing import MockClock

from olmstate.actors import Supervisor
from olmstate.actors._identities.operations import MarkVerified
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    AddDevices,
    CrossSigningNotSetUp,
    DeviceAddress,
    DeviceId,
    DeviceTrust,
    EncryptedRoomEvent,
    EncryptForRoom,
    JsonObject,
    MarkRoomKeyShared,
    PinIdentity,
    RoomId,
    RoomKeyShare,
    SendingFromUnsignedDevice,
    SetDeviceTrust,
    ShareRoomKey,
    SharingStrategy,
    SignedDeviceKeys,
    Statistics,
    UserId,
    VerifiedUserChangedIdentity,
    VerifiedUserHasUnsignedDevice,
    WithdrawVerification,
)
from tests.actors.world import World
from tests.operations.peer import Peer, keys_query
from tests.peer.identity import PeerIdentity, merged

ROOM = RoomId("!room:example.org")
BOB, CAROL, DAVE = (UserId(f"@{name}:example.org") for name in ("bob", "carol", "dave"))
ALL, ERROR, IDENTITY, TRUSTED = SharingStrategy


def address(name: str) -> DeviceAddress:
    """A user and a device, as in `EVERYBODY`."""
    user, device_id = name.split()
    return DeviceAddress(user_id=UserId(f"@{user}:example.org"), device_id=DeviceId(device_id))


def named(addresses: Iterable[DeviceAddress]) -> set[str]:
    return {f"{each.user_id[1:].partition(':')[0]} {each.device_id}" for each in addresses}


@attrs.define
class Room:
    """Bob is verified and has a signed device and another; Carol is not, with a signed one; Dave has no identity."""

    device: Supervisor
    own: PeerIdentity = attrs.field(factory=lambda: PeerIdentity(USER))
    bob: PeerIdentity = attrs.field(factory=lambda: PeerIdentity(BOB))
    carol: PeerIdentity = attrs.field(factory=lambda: PeerIdentity(CAROL))

    async def fill(self, *, own: bool = True, signed: bool = True) -> None:
        itself = await self.device.ask(SignedDeviceKeys())
        self.own.verify(self.bob)
        answers = [self.bob.answer(), self.carol.answer()]
        if own:
            answers.append(self.own.answer(own=True))
        devices: list[Peer | JsonObject] = [
            self.bob.sign_device(Peer(BOB, DeviceId("ONE")).device_keys()),
            Peer(BOB, DeviceId("TWO")),
            self.carol.sign_device(Peer(CAROL, DeviceId("ONE")).device_keys()),
            Peer(DAVE, DeviceId("ONE")),
            self.own.sign_device(itself) if signed else itself,
        ]
        await self.device.ask(AddDevices(response=merged(*answers, keys_query(*devices))))
        if own:
            await self.device.ask(MarkVerified(user_id=USER, master_key=self.own.public_key("master")))

    async def trust(self, name: str, trust: DeviceTrust) -> None:
        device = address(name)
        await self.device.ask(SetDeviceTrust(user_id=device.user_id, device_id=device.device_id, trust=trust))

    async def replace_bob(self) -> PeerIdentity:
        other = PeerIdentity(BOB)
        await self.device.ask(AddDevices(response={"device_keys": {}, **other.answer()}))
        return other

    async def share(self, strategy: SharingStrategy) -> RoomKeyShare:
        devices = tuple(map(address, ("bob ONE", "bob TWO", "carol ONE", "dave ONE")))
        return await self.device.ask(ShareRoomKey(room_id=ROOM, devices=devices, strategy=strategy))


@asynccontextmanager
async def room(*, own: bool = True, signed: bool = True) -> AsyncGenerator[Room]:
    async with World().process(transport=False) as device:
        made = Room(device)
        await made.fill(own=own, signed=signed)
        yield made


EVERYBODY = {"bob ONE", "bob TWO", "carol ONE", "dave ONE"}


@pytest.mark.parametrize(
    ("strategy", "decided", "expected"),
    [
        (ALL, {}, EVERYBODY),
        (ALL, {"dave ONE": DeviceTrust.BLOCKED}, EVERYBODY - {"dave ONE"}),
        (ERROR, {"bob TWO": DeviceTrust.IGNORED}, EVERYBODY),
        (ERROR, {"bob TWO": DeviceTrust.VERIFIED}, EVERYBODY),
        (ERROR, {"bob TWO": DeviceTrust.BLOCKED}, EVERYBODY - {"bob TWO"}),
        (IDENTITY, {}, {"bob ONE", "carol ONE"}),
        (IDENTITY, {"bob TWO": DeviceTrust.IGNORED, "dave ONE": DeviceTrust.VERIFIED}, {"bob ONE", "carol ONE"}),
        (IDENTITY, {"bob ONE": DeviceTrust.BLOCKED}, {"carol ONE"}),
        (TRUSTED, {}, {"bob ONE"}),
        (TRUSTED, {"carol ONE": DeviceTrust.VERIFIED}, {"bob ONE", "carol ONE"}),
        (TRUSTED, {"dave ONE": DeviceTrust.IGNORED, "bob ONE": DeviceTrust.BLOCKED}, {"dave ONE"}),
    ],
)
async def test_who_gets_the_key(strategy: SharingStrategy, decided: dict[str, DeviceTrust], expected: set[str]) -> None:
    async with room() as made:
        for name, trust in decided.items():
            await made.trust(name, trust)
        share = await made.share(strategy)
        assert expected == named(share.missing)  # they have no Olm sessions
        assert EVERYBODY - expected == named(share.withheld)
        for device, code in share.withheld.items():
            blocked = decided.get(next(iter(named([device])))) is DeviceTrust.BLOCKED
            assert ("m.blacklisted" if blocked else "m.unverified") == code


async def test_a_device_that_a_verified_user_has_not_signed_is_an_error_that_names_it() -> None:
    async with room() as made:
        before = (await made.device.ask(Statistics())).commits
        with pytest.raises(VerifiedUserHasUnsignedDevice) as caught:
            await made.share(ERROR)
        assert (address("bob TWO"),) == caught.value.devices
        assert "TWO" in str(caught.value)
        assert before == (await made.device.ask(Statistics())).commits


@pytest.mark.parametrize("strategy", [ERROR, IDENTITY])
async def test_a_verified_user_who_has_another_identity_is_an_error_until_that_is_given_up(
    strategy: SharingStrategy,
) -> None:
    async with room() as made:
        await made.trust("bob TWO", DeviceTrust.IGNORED)
        master_key = (await made.replace_bob()).public_key("master")
        with pytest.raises(VerifiedUserChangedIdentity) as caught:
            await made.share(strategy)
        assert (BOB,) == caught.value.users
        await made.device.ask(PinIdentity(user_id=BOB, master_key=master_key))
        with pytest.raises(VerifiedUserChangedIdentity):
            await made.share(strategy)
        await made.device.ask(WithdrawVerification(user_id=BOB, master_key=master_key))
        await made.share(strategy)


async def test_an_identity_of_our_own_that_was_verified_and_is_another_now_counts_too() -> None:
    async with room() as made:
        await made.trust("bob TWO", DeviceTrust.IGNORED)
        await made.device.ask(AddDevices(response={"device_keys": {}, **PeerIdentity(USER).answer(own=True)}))
        with pytest.raises(VerifiedUserChangedIdentity) as caught:
            await made.share(ERROR)
        assert {USER, BOB} == set(caught.value.users)


async def test_without_an_identity_of_our_own_nothing_is_sent_by_identities() -> None:
    async with room(own=False) as made:
        with pytest.raises(CrossSigningNotSetUp):
            await made.share(IDENTITY)
        assert set() == named((await made.share(TRUSTED)).missing)


async def test_a_device_that_is_not_signed_itself_sends_nothing_by_identities() -> None:
    async with room(signed=False) as made:
        with pytest.raises(SendingFromUnsignedDevice):
            await made.share(IDENTITY)


async def test_a_key_that_an_old_self_signing_key_has_signed_is_signed_no_more() -> None:
    async with room() as made:
        await made.device.ask(AddDevices(response={"device_keys": {}, **PeerIdentity(CAROL).answer()}))
        assert {"bob ONE"} == named((await made.share(IDENTITY)).missing)


async def test_a_device_that_has_the_key_and_is_refused_costs_the_room_a_new_one() -> None:
    async with room() as made:
        first = await made.share(ALL)
        marked = MarkRoomKeyShared(room_id=ROOM, session_id=first.session_id, devices=(address("bob ONE"),))
        await made.device.ask(marked)
        assert first.session_id == (await made.share(TRUSTED)).session_id
        await made.device.ask(attrs.evolve(marked, devices=(address("dave ONE"),)))
        assert first.session_id == (await made.share(ALL)).session_id
        assert first.session_id != (await made.share(TRUSTED)).session_id


async def test_nobodys_keys_are_claimed_who_gets_no_room_key_and_who_is_trusted_later_gets_it(
    world: World, autojump_clock: MockClock
) -> None:
    bob = await world.log_in(BOB, one_time_keys=1)
    carol = await world.log_in(CAROL, one_time_keys=1)
    hello = {"body": "hello"}

    async def send(device: Supervisor) -> EncryptedRoomEvent:
        event = EncryptForRoom(
            room_id=ROOM, members=(BOB, CAROL), type="m.room.message", content=hello, strategy=TRUSTED
        )
        return await device.ask(event)

    async with world.process() as device, world.process() as other:
        first = await send(device)
        assert [] == world.asked_for("/keys/claim")
        assert DEVICE not in bob.room_keys
        trust = SetDeviceTrust(user_id=BOB, device_id=bob.peer.device_id, trust=DeviceTrust.VERIFIED)
        await other.ask(trust)
        second = await send(device)
        assert first.session_id == second.session_id
        assert hello == await bob.read(second)
        (claim,) = world.asked_for("/keys/claim")
        assert [BOB] == list(claim["one_time_keys"])
        with pytest.raises(KeyError):
            await carol.read(second)
