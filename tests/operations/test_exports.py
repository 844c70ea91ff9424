"""ExportRoomKeys, ImportRoomKeys, ExportKeyFile, ImportKeyFile: taking room keys along."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import trio
from vodozemac import GroupSession, InboundGroupSession, SessionKey

from olmstate.actors import Supervisor
from olmstate.actors._room_keys.claims import USERS_A_SESSION
from olmstate.actors._room_keys.operations import CHUNK
from olmstate.messages import (
    CreateAccount,
    DecryptRoomEvent,
    EncryptRoomEvent,
    ExportKeyFile,
    ExportRoomKeys,
    ImportKeyFile,
    ImportRoomKeys,
    Json,
    JsonObject,
    MalformedKeyFile,
    MarkKeysPublished,
    RoomId,
    RoomKeyImportProgress,
    RoomKeysImported,
    RoomKeysReceived,
    StoreUnavailable,
    UnknownMessageIndex,
    WrongPassphrase,
)
from olmstate.storage import Table, open_store
from tests.operations.conftest import Device
from tests.operations.device import ALICE, KEY, ROOM, ready_room, refused, unchanged
from tests.operations.peer import MEGOLM, OLM, Peer, exported

OTHER_ROOM = RoomId("!other:example.org")
PASSPHRASE = "correct horse \ud800 battery"
ROUNDS = 1000


def exports(peer: Peer, number: int, room_id: RoomId = ROOM) -> tuple[JsonObject, ...]:
    """Exported keys of different sessions."""
    groups = [GroupSession() for _ in range(number)]
    return tuple(
        exported(peer, room_id, InboundGroupSession(SessionKey(group.session_key.to_base64()))) for group in groups
    )


def by_session(keys: tuple[JsonObject, ...]) -> dict[str, JsonObject]:
    """The keys by their sessions, since an export has no order."""
    found = {key["session_id"]: key for key in keys}
    assert len(found) == len(keys)
    return found


@pytest.fixture
async def elsewhere(device: Device, tmp_path: Path) -> AsyncIterator[Supervisor]:
    """A supervisor on another store."""
    async with device.open(tmp_path / "elsewhere") as supervisor:
        await supervisor.ask(CreateAccount())
        yield supervisor


# --- round trips


async def test_exported_keys_are_imported_as_they_were(alice: Supervisor, elsewhere: Supervisor, bob: Peer) -> None:
    group = GroupSession()
    event = bob.room_event(ROOM, group, {"n": 0})
    late_key = bob.add_room_key(ROOM, group)
    events = [bob.room_event(ROOM, group, {"n": number}, event_id=f"${number}") for number in (1, 2)]
    await alice.ask(late_key)
    keys = await alice.ask(ExportRoomKeys())

    (key,) = keys
    assert {
        "algorithm": MEGOLM,
        "room_id": ROOM,
        "session_id": group.session_id,
        "session_key": key["session_key"],
        "sender_key": bob.curve25519,
        "sender_claimed_keys": {"ed25519": bob.ed25519},
        "forwarding_curve25519_key_chain": [],
    } == key
    assert RoomKeysImported(total=1, imported=1, rejected=0) == await elsewhere.ask(ImportRoomKeys(keys=keys))
    assert keys == await elsewhere.ask(ExportRoomKeys())
    for number, each in enumerate(events, 1):
        decrypted = await elsewhere.ask(DecryptRoomEvent(room_id=ROOM, event=each))
        assert ({"n": number}, number, True) == (
            decrypted.content,
            decrypted.message_index,
            decrypted.encryption_info.imported,
        )
    with pytest.raises(UnknownMessageIndex):
        await elsewhere.ask(DecryptRoomEvent(room_id=ROOM, event=event))


async def test_own_sessions_are_exported_too(alice: Supervisor, elsewhere: Supervisor) -> None:
    room_key = await ready_room(alice)

    keys = await alice.ask(ExportRoomKeys())
    await elsewhere.ask(ImportRoomKeys(keys=keys))

    assert [room_key.session_id] == [key["session_id"] for key in keys]


async def test_an_export_may_be_of_one_room(alice: Supervisor, bob: Peer) -> None:
    await alice.ask(ImportRoomKeys(keys=(*exports(bob, 3), *exports(bob, 2, OTHER_ROOM))))

    some = await alice.ask(ExportRoomKeys(room_id=OTHER_ROOM))

    assert [OTHER_ROOM] * 2 == [key["room_id"] for key in some]
    assert () == await alice.ask(ExportRoomKeys(room_id=RoomId("!none:example.org")))
    everything = await alice.ask(ExportRoomKeys())
    assert 5 == len(everything)


async def test_a_key_file_carries_all_keys(alice: Supervisor, elsewhere: Supervisor, bob: Peer) -> None:
    keys = exports(bob, 3)
    await alice.ask(ImportRoomKeys(keys=keys))

    file = await alice.ask(ExportKeyFile(passphrase=PASSPHRASE, rounds=ROUNDS))

    assert not [key for key in keys if key["session_key"] in file]
    imported = await elsewhere.ask(ImportKeyFile(file=file, passphrase=PASSPHRASE))
    assert RoomKeysImported(total=3, imported=3, rejected=0) == imported
    assert by_session(keys) == by_session(await elsewhere.ask(ExportRoomKeys()))


@pytest.mark.parametrize("grouped", ["by-session", "by-room", "not-at-all"])
async def test_whose_a_key_is_goes_along_wherever_a_version_has_kept_it(
    grouped: str, alice: Supervisor, device: Device, bob: Peer
) -> None:
    """Of sessions that many claim: by their session, or as earlier versions have written it."""
    group, others = GroupSession(), [Peer(f"@user{number}:example.org") for number in range(USERS_A_SESSION + 2)]
    for each in (*others, bob):
        await alice.ask(each.add_room_key(ROOM, group))
    store = await open_store(device.folder, key=KEY)
    names = {"by-session": (ROOM, group.session_id), "by-room": (ROOM,)}
    value = store.key(Table.ROOM_KEY_CLAIMS, *names[grouped]) if grouped in names else None
    await store.aclose()
    with closing(sqlite3.connect(device.folder / "olmstate.sqlite")) as db, db:
        if grouped == "by-session":
            (kept,) = db.execute("SELECT DISTINCT grouped FROM room_key_claims").fetchone()
            assert value == kept
        else:
            db.execute("UPDATE room_key_claims SET grouped = ?", (value,))

    for room_id in (None, ROOM):
        keys = await alice.ask(ExportRoomKeys(room_id=room_id))
        assert {each.curve25519 for each in (*others, bob)} == {key["sender_key"] for key in keys}


async def test_a_key_file_may_be_of_one_room(alice: Supervisor, elsewhere: Supervisor, bob: Peer) -> None:
    await alice.ask(ImportRoomKeys(keys=(*exports(bob, 1), *exports(bob, 2, OTHER_ROOM))))

    file = await alice.ask(ExportKeyFile(passphrase="x", rounds=ROUNDS, room_id=OTHER_ROOM))

    assert 2 == (await elsewhere.ask(ImportKeyFile(file=file, passphrase="x"))).total


async def test_an_empty_store_exports_an_empty_file(alice: Supervisor, elsewhere: Supervisor) -> None:
    file = await alice.ask(ExportKeyFile(passphrase="x", rounds=ROUNDS))

    assert RoomKeysImported(total=0, imported=0, rejected=0) == await elsewhere.ask(
        ImportKeyFile(file=file, passphrase="x")
    )
    assert () == await alice.ask(ExportRoomKeys())


async def test_keys_are_exported_and_imported_without_an_account(empty: Supervisor) -> None:
    keys = exports(Peer(), 2)

    await empty.ask(ImportRoomKeys(keys=keys))

    assert by_session(keys) == by_session(await empty.ask(ExportRoomKeys()))


# --- many keys


async def test_an_import_goes_in_steps_tells_how_far_it_is_and_lets_others_in_between(
    alice: Supervisor, other: Supervisor, bob: Peer
) -> None:
    keys = exports(bob, 2 * CHUNK + 1)
    group = GroupSession()
    with alice.subscribe(RoomKeyImportProgress) as progress:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.ask, ImportRoomKeys(keys=keys))
            first = await progress.receive()
            assert "new" == await other.ask(bob.add_room_key(OTHER_ROOM, group))
        done = [first.done] + [(await progress.receive()).done for _ in range(2)]

    assert [CHUNK, 2 * CHUNK, 2 * CHUNK + 1] == done
    assert len(keys) == first.total
    everything = await other.ask(ExportRoomKeys(room_id=ROOM))
    assert by_session(keys) == by_session(everything)


async def test_an_import_that_was_cut_short_goes_on_from_there(alice: Supervisor, other: Supervisor, bob: Peer) -> None:
    keys = exports(bob, 3 * CHUNK)
    with alice.subscribe(RoomKeyImportProgress) as progress:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.ask, ImportRoomKeys(keys=keys))
            await progress.receive()
            nursery.cancel_scope.cancel()
    await alice.ask(MarkKeysPublished(key_ids=()))  # a step that was begun is finished before
    so_far = await other.ask(ExportRoomKeys())
    assert CHUNK <= len(so_far) <= 3 * CHUNK

    imported = await other.ask(ImportRoomKeys(keys=keys))

    assert RoomKeysImported(total=3 * CHUNK, imported=3 * CHUNK - len(so_far), rejected=0) == imported
    assert by_session(keys) == by_session(await alice.ask(ExportRoomKeys()))


async def test_what_an_import_brings_is_announced(alice: Supervisor, bob: Peer) -> None:
    keys = exports(bob, 2)
    with alice.subscribe(RoomKeysReceived) as events:
        await alice.ask(ImportRoomKeys(keys=keys))
        await alice.ask(ImportRoomKeys(keys=keys))

        assert {key["session_id"] for key in keys} == {each for _, each in (await events.receive()).room_keys}
        assert 0 == events.statistics().current_buffer_used


# --- what is no key


def no_keys(peer: Peer) -> dict[str, Json]:
    """Entries that are rejected."""
    (good,) = exports(peer, 1)
    deep: Json = {}
    for _ in range(10_000):
        deep = {"x": deep}
    return {
        "null": None,
        "text": "key",
        "empty": {},
        "another-algorithm": {**good, "algorithm": OLM},
        "another-session": {**good, "session_id": GroupSession().session_id},
        "session-list": {**good, "session_id": []},
        "no-room": {**good, "room_id": None},
        "room-surrogate": {**good, "room_id": "\ud800"},
        "no-key": {**good, "session_key": None},
        "key-cut-off": {**good, "session_key": good["session_key"][:-4]},
        "key-no-base64": {**good, "session_key": "?"},
        "key-surrogate": {**good, "session_key": "\ud800"},
        "a-signed-key": {**good, "session_key": GroupSession().session_key.to_base64()},
        "no-sender-key": {**good, "sender_key": None},
        "sender-key-that-is-none": {**good, "sender_key": "hello"},
        "claimed-key-that-is-none": {**good, "sender_claimed_keys": {"ed25519": "hello"}},
        "no-claimed-keys": {**good, "sender_claimed_keys": None},
        "claimed-keys-list": {**good, "sender_claimed_keys": []},
        "no-claimed-ed25519": {**good, "sender_claimed_keys": {}},
        "nested": {**good, "x": deep},
    }


@pytest.mark.parametrize("what", no_keys(Peer()))
async def test_what_is_no_key_is_rejected_alone(what: str, alice: Supervisor, bob: Peer) -> None:
    good = exports(bob, 2)

    imported = await alice.ask(ImportRoomKeys(keys=(good[0], no_keys(bob)[what], good[1])))

    assert RoomKeysImported(total=3, imported=2, rejected=1) == imported
    assert by_session(good) == by_session(await alice.ask(ExportRoomKeys()))


async def test_keys_that_are_padded_are_written_as_devices_have_them(alice: Supervisor, bob: Peer) -> None:
    (key,) = exports(bob, 1)
    padded = {**key, "sender_key": f"{bob.curve25519}=", "sender_claimed_keys": {"ed25519": f"{bob.ed25519}="}}

    await alice.ask(ImportRoomKeys(keys=(padded,)))

    assert by_session((key,)) == by_session(await alice.ask(ExportRoomKeys()))


@pytest.mark.parametrize("chain", [None, [], ["A" * 43], 5, [5], "text", {"x": 1}])
async def test_a_forwarding_chain_of_any_shape_does_no_harm(chain: Json, alice: Supervisor, bob: Peer) -> None:
    (key,) = exports(bob, 1)

    imported = await alice.ask(ImportRoomKeys(keys=({**key, "forwarding_curve25519_key_chain": chain},)))

    assert 1 == imported.imported + imported.rejected
    if chain == ["A" * 43]:
        (again,) = await alice.ask(ExportRoomKeys())
        assert chain == again["forwarding_curve25519_key_chain"]


# --- key files that can't be used


async def test_a_wrong_passphrase_is_named_and_nothing_imported(
    alice: Supervisor, elsewhere: Supervisor, bob: Peer
) -> None:
    await alice.ask(ImportRoomKeys(keys=exports(bob, 1)))
    file = await alice.ask(ExportKeyFile(passphrase=PASSPHRASE, rounds=ROUNDS))

    for passphrase in ("", "correct", PASSPHRASE + " "):
        async with refused(elsewhere, WrongPassphrase) as caught:
            await elsewhere.ask(ImportKeyFile(file=file, passphrase=passphrase))
        assert not passphrase or passphrase not in str(caught.value)

    assert () == await elsewhere.ask(ExportRoomKeys())


@pytest.mark.parametrize(
    "file",
    [
        "",
        "\ud800",
        "no key file",
        json.dumps([]),
        "-----BEGIN MEGOLM SESSION DATA-----\n?\n-----END MEGOLM SESSION DATA-----",
        "-----BEGIN MEGOLM SESSION DATA-----\nAAAA\n-----END MEGOLM SESSION DATA-----",
    ],
)
async def test_what_is_no_key_file_is_refused(file: str, alice: Supervisor) -> None:
    async with refused(alice, MalformedKeyFile):
        await alice.ask(ImportKeyFile(file=file, passphrase="x"))


async def test_importing_what_is_known_writes_nothing(alice: Supervisor, other: Supervisor, bob: Peer) -> None:
    keys = exports(bob, 3)
    await alice.ask(ImportRoomKeys(keys=keys))

    async with unchanged(other):
        assert RoomKeysImported(total=3, imported=0, rejected=0) == await other.ask(ImportRoomKeys(keys=keys))


async def test_a_supervisor_reads_its_own_messages_wherever_its_keys_went(
    alice: Supervisor, elsewhere: Supervisor
) -> None:
    await ready_room(alice)
    sent = await alice.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={"n": 1}))
    await elsewhere.ask(ImportRoomKeys(keys=await alice.ask(ExportRoomKeys())))

    event = {"content": sent.content, "sender": ALICE, "event_id": "$1"}
    assert {"n": 1} == (await elsewhere.ask(DecryptRoomEvent(room_id=ROOM, event=event))).content


async def test_where_no_thread_can_be_started_a_key_file_is_unavailable_and_nothing_is_lost(
    alice: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ready_room(alice)
    file = await alice.ask(ExportKeyFile(passphrase=PASSPHRASE, rounds=ROUNDS))

    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(trio.to_thread, "run_sync", refuse)
        with pytest.raises(StoreUnavailable, match="can't start new thread"):
            await alice.ask(ImportKeyFile(file=file, passphrase=PASSPHRASE))
        with pytest.raises(StoreUnavailable, match="can't start new thread"):
            await alice.ask(ExportKeyFile(passphrase=PASSPHRASE, rounds=ROUNDS))
    done = await alice.ask(ImportKeyFile(file=file, passphrase=PASSPHRASE))
    assert (1, 0, 0) == (done.total, done.imported, done.rejected)
