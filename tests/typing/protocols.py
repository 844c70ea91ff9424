# pyright: reportUnnecessaryTypeIgnoreComment=error
"""What fits where: stores, actors, channels. Checked by both type checkers, never run."""

from __future__ import annotations

from typing import Any, assert_type

import trio

from olmstate.actors import Supervisor, open_supervisor, run_supervisor
from olmstate.actors._account.actor import AccountActor, Create, LookUpOwnDevice, MakeKeys, OwnDevice
from olmstate.actors._devices.actor import DevicesActor
from olmstate.actors._engine.actor import Actor
from olmstate.actors._rooms.actor import EncryptReserved
from olmstate.actors._wire.room_event import MegolmCiphertext
from olmstate.actors.testing import DEVICE, USER, ActorsUnderTest, MemoryDisk, MemoryLock, MemoryStore, run_actor
from olmstate.messages import (
    DeviceIdentity,
    DevicesChanged,
    RoomKeyImportProgress,
    RoomKeysReceived,
    StoreChanged,
    SyncToken,
    UnpublishedKeys,
)
from olmstate.storage import Lock, RowReader, SqliteStore, Store, Turnstile


def both_stores_are_stores(on_disk: SqliteStore, in_memory: MemoryStore) -> tuple[Store, Store, RowReader]:
    return on_disk, in_memory, in_memory


def both_locks_are_locks(on_disk: Turnstile, in_memory: MemoryLock) -> tuple[Lock, Lock]:
    return on_disk, in_memory


async def a_supervisor_comes_out_of_its_block() -> None:
    async with open_supervisor("folder", user_id="@alice:example.org", device_id="ALICE", key=None) as one:
        assert_type(one, Supervisor)
    async with run_supervisor(MemoryStore(MemoryDisk()), user_id=USER, device_id=DEVICE) as other:
        assert_type(other, Supervisor)


async def an_actor_comes_out_as_what_it_is(actors: ActorsUnderTest) -> None:
    async with run_actor(actors.devices) as devices:
        assert_type(devices, DevicesActor)
    async with run_actor(actors.account) as account:
        assert_type(account, AccountActor)
    everyone: tuple[Actor[Any], ...] = actors.all
    del everyone


async def steps_and_queries_name_their_replies(actors: ActorsUnderTest, encrypt: EncryptReserved) -> None:
    assert_type(await actors.account.ask(SyncToken()), str | None)
    assert_type(await actors.account.ask(Create()), DeviceIdentity)
    assert_type(await actors.account.ask(LookUpOwnDevice()), OwnDevice)
    assert_type(await actors.account.ask(MakeKeys(now=0)), UnpublishedKeys)
    assert_type(await actors.outbound_group_sessions.ask(encrypt), tuple[MegolmCiphertext | None, ...])


async def a_subscription_to_several_gives_a_union(supervisor: Supervisor) -> None:
    with supervisor.subscribe(DevicesChanged, StoreChanged) as two:
        assert_type(await two.receive(), DevicesChanged | StoreChanged)
    with supervisor.subscribe(DevicesChanged, StoreChanged, RoomKeysReceived) as three:
        assert_type(await three.receive(), DevicesChanged | StoreChanged | RoomKeysReceived)
    with supervisor.subscribe(DevicesChanged, StoreChanged, RoomKeysReceived, RoomKeyImportProgress) as four:
        assert_type(await four.receive(), DevicesChanged | StoreChanged | RoomKeysReceived | RoomKeyImportProgress)


async def a_subscription_gives_its_events(supervisor: Supervisor) -> None:
    with supervisor.subscribe(DevicesChanged) as events:
        assert_type(events, trio.MemoryReceiveChannel[DevicesChanged])
        async for event in events:
            assert_type(event, DevicesChanged)
