"""Stores that earlier versions wrote: opened, read whole, and used."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlite_utils import Database
from vodozemac import Account, InboundGroupSession, Session, SessionKey

from olmstate.actors import Options, Supervisor, open_supervisor
from olmstate.messages import (
    AddDevices,
    Curve25519Key,
    DecryptedRoomEvent,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DecryptToDevice,
    DeviceId,
    DeviceIdentity,
    Devices,
    Ed25519Key,
    EncryptRoomEvent,
    EncryptToDevice,
    ExportRoomKeys,
    IdentityKeys,
    JsonObject,
    MarkRoomKeyShared,
    PrepareOneTimeKeys,
    ReplayedMessage,
    ReplayedToDevice,
    RoomKeyWithheld,
    ShareRoomKey,
    SyncToken,
    UserId,
)
from olmstate.storage import START, Table, open_store
from olmstate.storage.sqlite import schema
from olmstate.storage.sqlite.migrations import MIGRATIONS
from tests.operations.device import ALICE, ALICE_DEVICE, KEY, ROOM, Clock, decrypt, unchanged
from tests.operations.peer import Peer, keys_query, read_room_event
from tests.peer.requests import reached_by
from tests.recordings.stores.record import PICKLE_KEY
from tests.recordings.stores.recorded import RECORDED, unpack


@attrs.frozen
class Recorded:
    """A copy of a recorded store, and what is known of it."""

    schema: int
    folder: Path
    facts: dict[str, Any]

    @property
    def database(self) -> Path:
        return self.folder / "olmstate.sqlite"

    @property
    def me(self) -> DeviceIdentity:
        keys = self.facts["identity"]
        return DeviceIdentity(
            user_id=ALICE,
            device_id=ALICE_DEVICE,
            curve25519=Curve25519Key(keys["curve25519"]),
            ed25519=Ed25519Key(keys["ed25519"]),
        )

    def peer(self, name: str) -> Peer:
        """As it was when the store was recorded."""
        facts = self.facts[name]
        return Peer(
            UserId(facts["user_id"]),
            DeviceId(facts["device_id"]),
            Account.from_pickle(facts["account"], PICKLE_KEY),
            [Session.from_pickle(facts["session"], PICKLE_KEY)],
        )


@pytest.fixture(params=RECORDED, ids=lambda version: f"schema {version}")
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Recorded:
    version: int = request.param
    folder = tmp_path / "store"
    return Recorded(version, folder, unpack(version, folder))


@pytest.fixture
async def alice(recorded: Recorded) -> AsyncIterator[Supervisor]:
    options = Options(wall_clock=Clock())
    async with open_supervisor(
        recorded.folder, user_id=ALICE, device_id=ALICE_DEVICE, key=KEY, options=options
    ) as supervisor:
        yield supervisor


def ddl(path: Path) -> set[tuple[str, str]]:
    """The schema of a database that nobody has open."""
    with closing(sqlite3.connect(path)) as db:
        return set(db.execute("SELECT name, sql FROM sqlite_master"))


def ddl_after(version: int) -> set[tuple[str, str]]:
    """What this version's migrations up to ``version`` make of nothing."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        db = Database(connection, execute_plugins=False)
        for migration in MIGRATIONS[:version]:
            migration(db)
        return set(connection.execute("SELECT name, sql FROM sqlite_master"))


# --- the schema ---------------------------------------------------------------------------------------------


async def test_a_version_had_the_schema_that_its_migrations_make_now(recorded: Recorded) -> None:
    with closing(sqlite3.connect(recorded.database)) as db:
        assert (recorded.schema,) == db.execute("SELECT schema FROM meta").fetchone()
    assert ddl_after(recorded.schema) == ddl(recorded.database)


async def test_migrated_it_has_the_schema_of_a_new_store_and_all_its_rows(recorded: Recorded) -> None:
    store = await open_store(recorded.folder, key=KEY)
    assert schema.newest() == store.info().schema
    counts = store.counts()
    read = {table: len(await store.page(table, START, 1000)) for table in Table}
    changed = store.changes(0).partitions
    assert changed is not None
    assert store.key(Table.DEVICES, "@gone:example.org") in changed[Table.DEVICES]  # a deleted row's mark
    await store.aclose()

    assert counts == read
    assert recorded.facts["rows"] == {table: rows for table, rows in counts.items() if table in recorded.facts["rows"]}
    assert all(recorded.facts["rows"].values())
    assert ddl_after(schema.newest()) == ddl(recorded.database)
    with closing(sqlite3.connect(recorded.database)) as db:
        assert ("ok",) == db.execute("PRAGMA integrity_check").fetchone()


# --- what is in it ------------------------------------------------------------------------------------------


async def test_its_account_goes_on(alice: Supervisor, recorded: Recorded) -> None:
    assert recorded.me == await alice.ask(IdentityKeys())
    assert "the token" == await alice.ask(SyncToken())
    bob = recorded.peer("bob")
    assert [bob.ed25519] == [device.ed25519 for device in await alice.ask(Devices(user_id=bob.user_id))]
    assert () == await alice.ask(Devices(user_id=UserId("@gone:example.org")))
    # those claimed are made anew; the key that a peer has claimed is still there
    assert len((await alice.ask(PrepareOneTimeKeys())).one_time_keys) > 0
    stranger = Peer(UserId("@dave:example.org"), DeviceId("DAVEDEV"))
    await alice.ask(AddDevices(response=keys_query(stranger)))
    stranger.start_session(recorded.me, recorded.facts["one_time_key"])
    assert {"hello": 1} == (await decrypt(alice, stranger.event(recorded.me, "m.test", {"hello": 1}))).content


async def test_its_olm_sessions_go_on_and_what_was_decrypted_is_known(alice: Supervisor, recorded: Recorded) -> None:
    outcomes = await alice.ask(DecryptToDevice(events=tuple(recorded.facts["replayed"])))
    assert [ReplayedToDevice, ReplayedToDevice] == [type(outcome) for outcome in outcomes]
    for name in ("bob", "carol"):
        peer = recorded.peer(name)
        assert {"to": "Alice"} == (await decrypt(alice, peer.event(recorded.me, "m.test", {"to": "Alice"}))).content
        message = EncryptToDevice(devices=(peer.address,), type="m.test", content={"to": name})
        encrypted = await alice.ask(message)
        assert {"to": name} == peer.read(encrypted.messages[peer.user_id][peer.device_id])["content"]


async def test_its_room_keys_decrypt_and_used_indices_are_known(alice: Supervisor, recorded: Recorded) -> None:
    events: list[JsonObject] = recorded.facts["unread"]
    outcomes = await alice.ask(DecryptRoomEvents(events=tuple((ROOM, event) for event in events)))
    expected = [(event["event_id"], {"body": event["event_id"]}) for event in events]
    assert expected == [
        (outcome.event_id, outcome.content) for outcome in outcomes if isinstance(outcome, DecryptedRoomEvent)
    ]
    read = recorded.facts["read"]
    assert {"body": "$read"} == (await alice.ask(DecryptRoomEvent(room_id=ROOM, event=read))).content
    with pytest.raises(ReplayedMessage):
        await alice.ask(DecryptRoomEvent(room_id=ROOM, event={**read, "event_id": "$another"}))
    with pytest.raises(RoomKeyWithheld, match=r"m\.unverified"):
        await alice.ask(DecryptRoomEvent(room_id=ROOM, event=recorded.facts["withheld"]))
    room_keys = await alice.ask(ExportRoomKeys())
    assert recorded.facts["rows"]["inbound_group_sessions"] == len(room_keys)


async def test_its_rooms_go_on_behind_what_was_sent(alice: Supervisor, recorded: Recorded) -> None:
    sent = await alice.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={"body": "later"}))
    assert sent.message_index > recorded.facts["message_index"]
    group = InboundGroupSession(SessionKey(recorded.facts["session_key"]))
    assert {"body": "later"} == read_room_event(group, sent.content)[1]["content"]
    # Bob was marked as having the key, Carol was not
    bob, carol = recorded.peer("bob"), recorded.peer("carol")
    share = await alice.ask(ShareRoomKey(room_id=ROOM, devices=(bob.address, carol.address)))
    assert (sent.session_id, [(carol.user_id, carol.device_id)]) == (share.session_id, reached_by(share.requests))
    await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=share.session_id, devices=(carol.address,)))
    # without Bob there is another session
    again = await alice.ask(ShareRoomKey(room_id=ROOM, devices=(carol.address,)))
    assert sent.session_id != again.session_id


async def test_its_room_keys_are_found_by_their_room_once_somebody_has_looked(
    alice: Supervisor, recorded: Recorded
) -> None:
    everything = await alice.ask(ExportRoomKeys())
    rooms = {key["room_id"] for key in everything}
    for room_id in rooms:
        expected = sorted(key["session_id"] for key in everything if key["room_id"] == room_id)
        assert expected == sorted(key["session_id"] for key in await alice.ask(ExportRoomKeys(room_id=room_id)))
    with closing(sqlite3.connect(recorded.database)) as db:
        (ungrouped,) = db.execute("SELECT count(*) FROM inbound_group_sessions WHERE grouped IS NULL").fetchone()
    assert 0 == ungrouped
    async with unchanged(alice):
        await alice.ask(ExportRoomKeys(room_id=rooms.pop()))
