"""The devices actor: a device's key never changes, and a user's devices are those that the server names."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest

from olmstate.actors._devices.actor import DevicesActor, LookUp, RemoveDevices, StoreDevices, Trust
from olmstate.actors._wire.steps import at_once
from olmstate.actors.testing import ActorsUnderTest, MemoryDisk, MemoryStore, run_actor
from olmstate.messages import (
    DeviceAddress,
    DeviceId,
    DeviceKeyChanged,
    DeviceKeys,
    Devices,
    DeviceTrust,
    InvalidSignature,
    OlmStateError,
    UnknownDevice,
    UserId,
)
from olmstate.storage import Table
from tests.operations.peer import Peer

BOB = UserId("@bob:example.org")


def said(*devices: Peer, user_id: UserId = BOB) -> StoreDevices:
    """All that the server says of a user."""
    told: dict[DeviceId, DeviceKeys | OlmStateError] = {device.device_id: device.keys for device in devices}
    return StoreDevices(users={user_id: told})


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def actors(disk: MemoryDisk) -> ActorsUnderTest:
    return ActorsUnderTest(MemoryStore(disk))


@pytest.fixture
async def devices(actors: ActorsUnderTest) -> AsyncIterator[DevicesActor]:
    async with run_actor(actors.devices) as devices:
        yield devices


@pytest.fixture
def phone() -> Peer:
    return Peer(device_id="PHONE")


@pytest.fixture
def laptop() -> Peer:
    return Peer(device_id="LAPTOP")


async def test_a_user_of_whom_nothing_is_known_has_no_devices(devices: DevicesActor) -> None:
    assert () == await devices.ask(Devices(user_id=BOB))
    assert ({}, {}) == await devices.ask(LookUp(users=(BOB, UserId("@carol:example.org"))))


async def test_devices_are_told_by_their_ids(
    devices: DevicesActor, actors: ActorsUnderTest, phone: Peer, laptop: Peer
) -> None:
    added = await devices.ask(said(phone, laptop))
    await actors.commit()
    assert {phone.address, laptop.address} == set(added.added)
    assert ((), {}) == (added.removed, added.rejected)
    assert (laptop.keys, phone.keys) == await devices.ask(Devices(user_id=BOB))


async def test_a_turn_sees_its_own_devices_and_a_query_the_committed_ones(
    devices: DevicesActor, actors: ActorsUnderTest, phone: Peer
) -> None:
    await devices.ask(said(phone))
    assert ({phone.device_id: phone.keys},) == await devices.ask(LookUp(users=(BOB,)))
    assert () == await devices.ask(Devices(user_id=BOB))
    actors.roll_back()
    assert ({},) == await devices.ask(LookUp(users=(BOB,)))


async def test_a_device_that_is_removed_is_kept_as_gone(
    devices: DevicesActor, actors: ActorsUnderTest, phone: Peer, laptop: Peer, disk: MemoryDisk
) -> None:
    await devices.ask(said(phone, laptop))
    await actors.commit()
    await devices.ask(RemoveDevices(devices=(phone.address,)))
    await actors.commit()
    assert (laptop.keys,) == await devices.ask(Devices(user_id=BOB))
    assert len(disk.rows(Table.DEVICES)) == 2  # it is kept as gone


async def test_a_device_that_comes_with_another_key_is_refused_and_the_first_stays(
    devices: DevicesActor, actors: ActorsUnderTest, phone: Peer
) -> None:
    await devices.ask(said(phone))
    await actors.commit()
    added = await devices.ask(said(Peer(device_id="PHONE")))
    error = added.rejected[phone.address]
    assert isinstance(error, DeviceKeyChanged)
    assert error.ed25519 == phone.ed25519
    assert at_once(devices.changed_rows()) == {}
    assert (phone.keys,) == await devices.ask(Devices(user_id=BOB))


async def test_a_device_that_is_not_believed_stays_as_it_was(
    devices: DevicesActor, actors: ActorsUnderTest, phone: Peer, laptop: Peer
) -> None:
    await devices.ask(said(phone))
    await actors.commit()
    bad = InvalidSignature(reason="wrong")
    added = await devices.ask(
        StoreDevices(users={BOB: {phone.device_id: bad, laptop.device_id: laptop.keys, DeviceId("THIRD"): bad}})
    )
    await actors.commit()
    assert (laptop.address,) == added.added
    assert () == added.removed
    assert {phone.address, DeviceAddress(user_id=BOB, device_id=DeviceId("THIRD"))} == set(added.rejected)
    assert (laptop.keys, phone.keys) == await devices.ask(Devices(user_id=BOB))


async def test_what_a_device_says_anew_of_itself_is_stored_and_is_no_new_device(
    devices: DevicesActor, actors: ActorsUnderTest, phone: Peer
) -> None:
    await devices.ask(said(phone))
    await actors.commit()
    more = attrs.evolve(phone.keys, algorithms=(*phone.keys.algorithms, "m.new"))
    added = await devices.ask(StoreDevices(users={BOB: {phone.device_id: more}}))
    await actors.commit()
    assert ((), (), {}) == (added.added, added.removed, added.rejected)
    assert (more,) == await devices.ask(Devices(user_id=BOB))


async def test_nothing_new_writes_nothing(devices: DevicesActor, actors: ActorsUnderTest, phone: Peer) -> None:
    await devices.ask(said(phone))
    await actors.commit()
    await devices.ask(said(phone))
    assert at_once(devices.changed_rows()) == {}


async def test_only_devices_that_changed_are_written(
    devices: DevicesActor, actors: ActorsUnderTest, phone: Peer, laptop: Peer
) -> None:
    await devices.ask(said(phone))
    await actors.commit()
    await devices.ask(said(phone, laptop))
    assert len(at_once(devices.changed_rows())[Table.DEVICES]) == 1


async def test_a_users_devices_are_read_together_and_another_users_are_not(
    devices: DevicesActor, actors: ActorsUnderTest, phone: Peer, laptop: Peer, disk: MemoryDisk
) -> None:
    carol = Peer("@carol:example.org", "CAROL")
    await devices.ask(said(phone, laptop))
    await devices.ask(said(carol, user_id=carol.user_id))
    await actors.commit()
    async with run_actor(ActorsUnderTest(MemoryStore(disk)).devices) as another:
        assert (laptop.keys, phone.keys) == await another.ask(Devices(user_id=BOB))
        assert another.statistics()["devices"].loaded == 1


async def test_another_users_devices_survive_an_invalidation(
    devices: DevicesActor, actors: ActorsUnderTest, phone: Peer, laptop: Peer, disk: MemoryDisk
) -> None:
    carol, others = Peer("@carol:example.org", "CAROL"), ActorsUnderTest(MemoryStore(disk))
    await devices.ask(said(phone))
    await devices.ask(said(carol, user_id=carol.user_id))
    await actors.commit()
    async with run_actor(others.devices) as other:
        others.refresh()
        await other.ask(said(phone, laptop))
        await others.commit()
    actors.refresh()
    assert (carol.keys,) == await devices.ask(Devices(user_id=carol.user_id))
    assert devices.statistics()["devices"].loaded == 2  # as before
    assert (laptop.keys, phone.keys) == await devices.ask(Devices(user_id=BOB))
    assert devices.statistics()["devices"].loaded == 3


async def test_what_our_user_decides_stays_when_the_device_says_something_new_and_when_it_is_gone_and_back(
    devices: DevicesActor, actors: ActorsUnderTest, phone: Peer
) -> None:
    with pytest.raises(UnknownDevice):
        await devices.ask(Trust(device=phone.address, trust=DeviceTrust.BLOCKED))
    await devices.ask(said(phone))
    assert await devices.ask(Trust(device=phone.address, trust=DeviceTrust.BLOCKED))
    assert not await devices.ask(Trust(device=phone.address, trust=DeviceTrust.BLOCKED))
    await actors.commit()
    new = attrs.evolve(phone.keys, algorithms=("new",))
    await devices.ask(StoreDevices(users={BOB: {phone.device_id: new}}))
    await actors.commit()
    await devices.ask(RemoveDevices(devices=(phone.address,)))
    await actors.commit()
    with pytest.raises(UnknownDevice):
        await devices.ask(Trust(device=phone.address, trust=DeviceTrust.UNSET))
    await devices.ask(said(phone))
    await actors.commit()
    (known,) = await devices.ask(Devices(user_id=BOB))
    assert DeviceTrust.BLOCKED is known.trust
