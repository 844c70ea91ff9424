"""A store that was restored from a backup: the original may have gone on, so nothing goes out on its sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.messages import (
    DecryptRoomEvent,
    DeviceIdentity,
    EncryptRoomEvent,
    EncryptToDevice,
    IdentityKeys,
    MarkRoomKeyShared,
    PrepareRoomKey,
    ReceiveSync,
    RoomKeyNotShared,
    RoomKeyReplaced,
    SyncToken,
)
from olmstate.storage import backup, open_store
from tests.operations.conftest import Device
from tests.operations.device import ALICE, KEY, ROOM, claim, decrypt, ready_room, refused, send
from tests.operations.peer import Peer

SYNC = {"next_batch": "s1", "device_one_time_keys_count": {"signed_curve25519": 50}}


@pytest.fixture
async def restored(alice: Supervisor, friend: Peer, device: Device, tmp_path: Path) -> AsyncIterator[Supervisor]:
    """A supervisor on a backup of a store with an Olm session, a room in use and a token."""
    await ready_room(alice)
    await alice.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={}))
    await alice.ask(ReceiveSync(sync=SYNC))
    store = await open_store(device.folder, key=KEY)
    try:
        await backup(store, tmp_path / "backup")
    finally:
        await store.aclose()
    async with device.open(tmp_path / "backup") as supervisor:
        yield supervisor


async def test_it_is_the_same_device_and_has_read_as_far(
    restored: Supervisor, alice: Supervisor, me: DeviceIdentity
) -> None:
    assert me == await restored.ask(IdentityKeys())
    assert "s1" == await restored.ask(SyncToken())


async def test_its_rooms_get_new_sessions(restored: Supervisor, alice: Supervisor) -> None:
    old = await alice.ask(PrepareRoomKey(room_id=ROOM))
    async with refused(restored, RoomKeyNotShared):
        await restored.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={}))
    async with refused(restored, RoomKeyReplaced):
        await restored.ask(MarkRoomKeyShared(room_id=ROOM, session_id=old.session_id, devices=()))

    new = await ready_room(restored)

    assert old.session_id != new.session_id
    assert frozenset() == new.shared_with
    sent = await restored.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={"n": 1}))
    assert (new.session_id, 0) == (sent.session_id, sent.message_index)


async def test_its_olm_sessions_decrypt_and_never_encrypt(
    restored: Supervisor, device: Device, me: DeviceIdentity, friend: Peer, tmp_path: Path
) -> None:
    async def missing(supervisor: Supervisor) -> bool:
        encrypted = await supervisor.ask(EncryptToDevice(devices=(friend.address,), type="m", content={}))
        return encrypted.missing == (friend.address,)

    assert await missing(restored)
    assert {"n": 1} == (await decrypt(restored, friend.event(me, content={"n": 1}))).content
    assert await missing(restored)  # though it was written since
    async with device.open(tmp_path / "backup") as again:
        assert await missing(again)
        assert {"n": 2} == (await decrypt(again, friend.event(me, content={"n": 2}))).content
        assert await missing(again)


async def test_a_new_olm_session_is_used_again(restored: Supervisor, me: DeviceIdentity, friend: Peer) -> None:
    await claim(restored, friend)

    assert {"body": "anew"} == (await send(restored, friend, "anew"))["content"]
    assert {"n": 1} == (await decrypt(restored, friend.event(me, content={"n": 1}))).content
    assert {"body": "on"} == (await send(restored, friend, "on"))["content"]


async def test_what_it_could_read_it_still_reads(
    alice: Supervisor, friend: Peer, me: DeviceIdentity, device: Device, tmp_path: Path
) -> None:
    group = GroupSession()
    await decrypt(alice, friend.event(me, "m.room_key", friend.room_key(ROOM, group)))
    await ready_room(alice)
    own = await alice.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={"n": 0}))
    store = await open_store(device.folder, key=KEY)
    try:
        await backup(store, tmp_path / "backup")
    finally:
        await store.aclose()

    async with device.open(tmp_path / "backup") as restored:
        theirs = await restored.ask(
            DecryptRoomEvent(room_id=ROOM, event=friend.room_event(ROOM, group, {"n": 1}, event_id="$1"))
        )
        ours = await restored.ask(
            DecryptRoomEvent(room_id=ROOM, event={"content": own.content, "sender": ALICE, "event_id": "$0"})
        )

    assert ({"n": 1}, {"n": 0}) == (theirs.content, ours.content)


async def test_the_original_goes_on_as_if_nothing_had_happened(
    restored: Supervisor, alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    await ready_room(restored)

    await alice.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={}))
    assert {"body": "original"} == (await send(alice, friend, "original"))["content"]
    assert {"n": 1} == (await decrypt(alice, friend.event(me, content={"n": 1}))).content
