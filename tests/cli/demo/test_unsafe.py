"""The control's store: it really takes away what makes sharing safe, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from olmstate.actors import Supervisor, run_supervisor
from olmstate.cli.demo._unsafe import UnsafeStore
from olmstate.messages import (
    CreateAccount,
    DeviceId,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    MarkRoomKeyShared,
    PrepareRoomKey,
    RoomId,
    UserId,
)
from olmstate.storage import Row, Store, Table, open_store

ALICE, PHONE = UserId("@alice:example.org"), DeviceId("PHONE")
ROOM = RoomId("!room:example.org")


async def encrypt(supervisor: Supervisor) -> EncryptedRoomEvent:
    return await supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={"body": "text"}))


@pytest.mark.parametrize("unsafe", [False, True])
async def test_two_supervisors_use_an_index_twice_only_on_unsafe_stores(tmp_path: Path, *, unsafe: bool) -> None:
    stores = [await open_store(tmp_path, user_id=ALICE, device_id=PHONE, key=None) for _ in range(2)]
    one, other = (UnsafeStore(store) if unsafe else store for store in stores)
    async with (
        run_supervisor(one, user_id=ALICE, device_id=PHONE) as first,
        run_supervisor(other, user_id=ALICE, device_id=PHONE) as second,
    ):
        await first.ask(CreateAccount())
        key = await first.ask(PrepareRoomKey(room_id=ROOM))
        await first.ask(MarkRoomKeyShared(room_id=ROOM, session_id=key.session_id, devices=()))
        sent = [await encrypt(supervisor) for supervisor in (second, first, second, first)]
    for store in stores:
        await store.aclose()

    used = {(event.session_id, event.message_index) for event in sent}
    assert unsafe == (len(used) < len(sent))


async def test_everybody_holds_its_lock_at_once(tmp_path: Path) -> None:
    store = await open_store(tmp_path, user_id=ALICE, device_id=PHONE, key=None)
    one, other = UnsafeStore(store), UnsafeStore(store)

    assert one.lock.acquire_nowait()
    await other.lock.acquire(0)
    held = (one.lock.held, other.lock.held, store.lock.held)
    one.lock.release()
    after = (one.lock.held, other.lock.held)
    await store.aclose()

    assert held == (True, True, False)
    assert after == (False, True)


async def test_it_writes_whatever_the_rows_derive_from_and_hears_of_nothing(tmp_path: Path) -> None:
    store = await open_store(tmp_path, user_id=ALICE, device_id=PHONE, key=None)
    unsafe: Store = UnsafeStore(store)
    key = unsafe.key(Table.DEVICES, "one")

    for value in (b"first", b"second"):
        assert await unsafe.commit({Table.DEVICES: [Row(key, key, value)]}, 0) == 0

    assert await unsafe.look(0) is None
    [row] = (await unsafe.read(Table.DEVICES, [key]))[key]
    assert row.value == b"second"
    assert store.info().generation == 2
    await store.aclose()
