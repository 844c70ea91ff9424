"""What is possible after all: docs/security.md says so, and these show that it says neither too much nor too little."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from vodozemac import Account

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    DecryptedRoomEvent,
    DecryptRoomEvent,
    DeviceId,
    DeviceKeyChanged,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    ImportRoomKeys,
    MalformedMessage,
    MissingRoomKey,
    ReplayedMessage,
    RequiredTrust,
    RoomKeyWithheld,
    SenderState,
    UntrustedSender,
)
from tests.hostile.people import Us, conversation, read, told
from tests.operations.conftest import Device
from tests.operations.device import ROOM, ready_room
from tests.operations.peer import Peer, exported, keys_query
from tests.operations.test_room_key_copies import Session

# --- the homeserver


async def test_the_first_keys_that_are_told_of_a_device_are_believed(us: Us) -> None:
    bob = Peer()
    first = Peer(bob.user_id, bob.device_id)
    await us.know(first)

    added = await us.know(bob)

    assert isinstance(added.rejected[bob.address], DeviceKeyChanged)
    room = conversation(first)
    await us.give(first, room)
    assert first.identity == told(await us.read(room.events[0]))


async def test_a_device_that_the_homeserver_adds_is_its_users_as_far_as_no_identity_is_asked_for(
    us: Us, bob: Peer
) -> None:
    added = Peer(bob.user_id, DeviceId("ADDED"))
    await us.know(bob, added)
    room = conversation(added)
    await us.give(added, room)

    decrypted = await us.read(room.events[0])

    assert isinstance(decrypted, DecryptedRoomEvent)
    assert added.identity == told(decrypted)
    assert SenderState.DEVICE == decrypted.encryption_info.sender_state
    required = RequiredTrust.CROSS_SIGNED
    with pytest.raises(UntrustedSender):
        await us.supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=room.events[0], required_trust=required))


async def test_a_homeserver_can_have_a_key_seem_withheld_until_it_comes(us: Us, bob: Peer) -> None:
    room = conversation(bob)
    content = {"room_id": ROOM, "session_id": room.session_id, "code": "m.blacklisted"}
    await us.hand({"type": "m.room_key.withheld", "sender": bob.user_id, "content": content})
    assert isinstance(await us.read(room.events[0]), RoomKeyWithheld)

    await us.give(bob, room)

    assert isinstance(await us.read(room.events[0]), DecryptedRoomEvent)


# --- members


async def test_whoever_was_given_a_room_key_can_have_a_message_be_read_as_theirs(
    us: Us, bob: Peer, mallory: Peer
) -> None:
    """Which doesn't make it any less of its maker's."""
    room = conversation(bob)
    await us.know(bob)
    await us.know(mallory)
    await us.give(bob, room)
    await us.give(mallory, room)

    for sender in (mallory, bob):
        event = {**room.events[0], "event_id": f"${sender.device_id}"}
        assert sender.identity == told(await us.read(event, sender=sender.user_id))


async def test_whoever_writes_to_this_device_can_have_it_keep_room_keys_without_end(us: Us, mallory: Peer) -> None:
    """Nobody could tell those of rooms that this device is about to join from those of rooms that don't exist."""
    rooms = [conversation(mallory) for _ in range(20)]
    for room in rooms:
        await us.give(mallory, room)

    kept = [await us.read(room.events[0]) for room in rooms]

    assert {DecryptedRoomEvent} == {type(each) for each in kept}
    assert {None} == {told(each) for each in kept}


# --- files of keys


async def test_whoever_writes_a_key_file_can_keep_out_what_another_file_says_and_no_device(us: Us, bob: Peer) -> None:
    session = Session(bob)
    forged = tuple(session.forged_export(0, seed) for seed in range(1, 6))
    await us.supervisor.ask(ImportRoomKeys(keys=forged))

    await us.supervisor.ask(ImportRoomKeys(keys=(session.export(3),)))
    assert isinstance(await us.read(session.events[4]), MalformedMessage)

    await us.supervisor.ask(session.signed[3])
    assert isinstance(await us.read(session.events[4]), DecryptedRoomEvent)


async def test_a_session_that_only_an_export_names_is_whoevers_it_is_shown_as(us: Us) -> None:
    room = conversation(Peer())
    await us.supervisor.ask(ImportRoomKeys(keys=(exported(room.maker, ROOM, room.inbound),)))

    decrypted = await us.read(room.events[0], sender="@anybody:example.org")

    assert isinstance(decrypted, DecryptedRoomEvent)
    info = decrypted.encryption_info
    assert (SenderState.INSECURE_SOURCE, None, None) == (info.sender_state, info.sender_device, info.claimed_device)


# --- who can write to the files


Edit = Callable[[Path], None]


def without_rows(*tables: str) -> Edit:
    """Rows are taken out, one by one or all of a table."""

    def edit(database: Path) -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            for table in tables:
                assert connection.execute(f"DELETE FROM {table}").rowcount  # noqa: S608 - our own names

    return edit


def rows(database: Path, table: str) -> Sequence[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our own names


def put_back(database: Path, table: str, before: Iterable[tuple[object, ...]]) -> None:
    """Have a table be as it was."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
        for row in before:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608 - our own names


async def encrypt(supervisor: Supervisor, body: str) -> EncryptedRoomEvent:
    return await supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={"body": body}))


async def test_rows_that_are_put_back_are_not_noticed_and_an_index_is_used_twice(device: Device, us: Us) -> None:
    database, table = device.folder / "olmstate.sqlite", "outbound_group_sessions"
    await ready_room(us.supervisor)
    async with device.open() as one:
        first = await encrypt(one, "before")
    before = rows(database, table)
    async with device.open() as one:
        second = await encrypt(one, 64 * "a" + "yes")
    put_back(database, table, before)

    async with device.open() as one:
        third = await encrypt(one, 64 * "a" + "no")

    assert first.content["session_id"] == third.content["session_id"]
    assert first.message_index < second.message_index == third.message_index
    beginnings = [sent.content["ciphertext"][:64] for sent in (first, second, third)]
    assert beginnings[0] != beginnings[1] == beginnings[2]


async def test_guards_that_are_deleted_are_not_missed_and_a_message_is_read_as_two_events(
    device: Device, us: Us, bob: Peer
) -> None:
    room = conversation(bob)
    await us.give(bob, room)
    again = {**room.events[0], "event_id": "$again"}
    assert isinstance(await us.read(room.events[0]), DecryptedRoomEvent)
    await us.give(bob, conversation(bob))  # a turn, with which it is written
    async with device.open() as one:
        assert isinstance(await read(one, again), ReplayedMessage)

    without_rows("message_indices")(device.folder / "olmstate.sqlite")

    async with device.open() as one:
        assert isinstance(await read(one, again), DecryptedRoomEvent)


async def test_devices_that_are_deleted_are_not_missed_and_can_come_back_as_others(
    device: Device, us: Us, bob: Peer
) -> None:
    impostor = Peer(bob.user_id, bob.device_id)
    without_rows("devices", "device_fingerprints")(device.folder / "olmstate.sqlite")

    async with device.open() as one:
        assert (impostor.address,) == (await one.ask(AddDevices(response=keys_query(impostor)))).added


async def test_room_keys_that_are_deleted_are_not_missed(device: Device, us: Us, bob: Peer) -> None:
    room = conversation(bob)
    await us.give(bob, room)
    without_rows("inbound_group_sessions")(device.folder / "olmstate.sqlite")

    async with device.open() as one:
        assert isinstance(await read(one, room.events[0]), MissingRoomKey)


# --- who reads the memory


async def test_whoever_reads_the_memory_finds_the_account(us: Us) -> None:
    seen: set[int] = set()
    found: list[Account] = []
    todo: list[object] = [us.supervisor]
    while todo and not found:
        each = todo.pop()
        if id(each) not in seen and not isinstance(each, (type, ModuleType)):
            seen.add(id(each))
            found += [each] if isinstance(each, Account) else []
            todo += gc.get_referents(each)
    (account,) = found
    assert us.me.curve25519 == account.curve25519_key.to_base64()
