"""Actors without a supervisor: a turn ends when the test says so, whole or not at all."""

from __future__ import annotations

import pytest

from olmstate.actors._account.actor import Create
from olmstate.actors._devices.actor import LookUp, StoreDevices
from olmstate.actors.testing import ActorsUnderTest, Faults, MemoryDisk, MemoryStore, run_actor
from olmstate.messages import ActorStopped, Devices, IdentityKeys, NoAccount, StoreBusy, StoreError, StoreFull, UserId
from olmstate.storage import Fenced, Table
from tests.operations.peer import Peer

BOB = UserId("@bob:example.org")


def said(*devices: Peer) -> StoreDevices:
    return StoreDevices(users={BOB: {device.device_id: device.keys for device in devices}})


async def test_all_actors_share_a_turn() -> None:
    disk, bob = MemoryDisk(), Peer()
    actors = ActorsUnderTest(MemoryStore(disk))
    async with run_actor(actors.account) as account, run_actor(actors.devices) as devices:
        made = await account.ask(Create())
        await devices.ask(said(bob))
        assert await actors.commit() == 1
        assert made == await account.ask(IdentityKeys())
        assert (bob.keys,) == await devices.ask(Devices(user_id=BOB))
    assert (len(disk.rows(Table.ACCOUNT)), len(disk.rows(Table.DEVICES))) == (1, 1)
    assert disk.slot.holder is None


@pytest.mark.parametrize("error", [StoreFull(), StoreBusy(holder_pid=7, waited=0), Fenced()])
async def test_a_commit_that_fails_rolls_all_actors_back(error: StoreError | Fenced) -> None:
    disk, faults = MemoryDisk(), Faults()
    actors, holder = ActorsUnderTest(MemoryStore(disk, faults=faults)), MemoryStore(disk, pid=7).lock
    async with run_actor(actors.account) as account, run_actor(actors.devices) as devices:
        await account.ask(Create())
        await devices.ask(said(Peer()))
        if isinstance(error, StoreBusy):
            holder.acquire_nowait()
        else:
            faults.at("commit", error)
        with pytest.raises(type(error)):
            await actors.commit()
        with pytest.raises(NoAccount):
            await account.ask(IdentityKeys())
        assert ({},) == await devices.ask(LookUp(users=(BOB,)))
    assert disk.slot.holder is (holder if isinstance(error, StoreBusy) else None)
    assert disk.generation == 0


async def test_a_look_drops_what_others_have_written_and_nothing_else() -> None:
    disk, bob = MemoryDisk(), Peer()
    actors, others = ActorsUnderTest(MemoryStore(disk)), ActorsUnderTest(MemoryStore(disk))
    async with run_actor(actors.devices) as devices, run_actor(others.devices) as other:
        await devices.ask(Devices(user_id=BOB))
        actors.refresh()
        await devices.ask(Devices(user_id=BOB))
        assert devices.statistics()["devices"].loaded == 1
        await other.ask(said(bob))
        await others.commit()
        assert () == await devices.ask(Devices(user_id=BOB))  # nobody has looked
        actors.refresh()
        assert (bob.keys,) == await devices.ask(Devices(user_id=BOB))


async def test_capacities_are_the_users() -> None:
    actors = ActorsUnderTest(MemoryStore(MemoryDisk()), capacities={Table.DEVICES: 0})
    async with run_actor(actors.devices) as devices:
        for _ in range(2):
            await devices.ask(Devices(user_id=BOB))
        assert devices.statistics()["devices"].loaded == 2


async def test_an_actor_answers_only_while_it_runs() -> None:
    actors = ActorsUnderTest(MemoryStore(MemoryDisk()))
    async with run_actor(actors.devices) as devices:
        await devices.ask(Devices(user_id=BOB))
    with pytest.raises(ActorStopped):
        await devices.ask(Devices(user_id=BOB))
