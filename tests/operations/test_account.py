"""CreateAccount, ImportAccount, IdentityKeys, SignedDeviceKeys: who the device is."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from vodozemac import Account, AnyOlmMessage, Curve25519PublicKey, GroupSession, PreKeyMessage, Session

from olmstate.actors import Supervisor
from olmstate.messages import (
    AccountExists,
    AddDevices,
    Command,
    CreateAccount,
    CreateOlmSessions,
    Curve25519Key,
    DecryptedToDevice,
    DecryptToDevice,
    DeviceId,
    DeviceIdentity,
    DeviceKeyChanged,
    Devices,
    DevicesChanged,
    DeviceTrust,
    EncryptRoomEvent,
    EncryptToDevice,
    IdentityKeys,
    ImportAccount,
    ImportedDevice,
    JsonObject,
    MalformedMessage,
    MalformedPickle,
    MarkKeysPublished,
    Message,
    NoAccount,
    OlmSessionPickle,
    PrepareAccount,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    ReceiveSync,
    RotateRoomKey,
    ShareRoomKey,
    SignedDeviceKeys,
    StoreCorrupt,
    SyncToken,
    UserId,
)
from tests.operations.conftest import Device
from tests.operations.device import ALICE, ALICE_DEVICE, ROOM, decrypt, refused, send, unchanged
from tests.operations.peer import Peer, keys_query
from tests.peer.encoding import unb64

PICKLE_KEY = bytes(range(32, 64))
LIBOLM = json.loads((Path(__file__).parent / "recorded_libolm.json").read_text())


def identity_of(account: Account) -> DeviceIdentity:
    """What olmstate should say of ``account``."""
    peer = Peer(account=account)
    return DeviceIdentity(user_id=ALICE, device_id=ALICE_DEVICE, curve25519=peer.curve25519, ed25519=peer.ed25519)


def as_alice(account: Account) -> Peer:
    """``account`` as a peer of vodozemac's that has the tested device's names."""
    return Peer(user_id=ALICE, device_id=ALICE_DEVICE, account=account)


# --- creating


async def test_a_created_account_is_the_same_in_every_supervisor_and_after_reopening(
    empty: Supervisor, device: Device
) -> None:
    created = await empty.ask(CreateAccount())

    assert (ALICE, ALICE_DEVICE) == (created.user_id, created.device_id)
    assert created == await empty.ask(IdentityKeys())
    async with device.open() as other:
        assert created == await other.ask(IdentityKeys())


async def test_a_second_account_is_refused_and_the_first_one_stays(alice: Supervisor, me: DeviceIdentity) -> None:
    for message in (CreateAccount(), ImportAccount(pickle=Account().pickle(PICKLE_KEY), pickle_key=PICKLE_KEY)):
        async with refused(alice, AccountExists):
            await alice.ask(message)

    assert me == await alice.ask(IdentityKeys())


async def test_a_device_that_has_lost_its_account_makes_no_other(alice: Supervisor, device: Device) -> None:
    # without the row, there was "no account yet", and the device became another one under its name
    with closing(sqlite3.connect(device.folder / "olmstate.sqlite")) as database, database:
        database.execute("DELETE FROM account")
    async with device.open() as other:
        pickle = Account().pickle(PICKLE_KEY)
        for message in (IdentityKeys(), CreateAccount(), ImportAccount(pickle=pickle, pickle_key=PICKLE_KEY)):
            with pytest.raises(StoreCorrupt, match="account is gone"):
                await other.ask(message)


async def test_of_two_supervisors_that_create_at_once_one_succeeds(empty: Supervisor, device: Device) -> None:
    async with device.open() as other:
        created = await empty.ask(CreateAccount())
        async with refused(other, AccountExists):
            await other.ask(CreateAccount())

        assert created == await other.ask(IdentityKeys())


async def test_device_keys_are_signed_by_the_device_and_the_same_each_time(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity
) -> None:
    keys = await alice.ask(SignedDeviceKeys())

    assert keys == await other.ask(SignedDeviceKeys())
    assert (ALICE, ALICE_DEVICE) == (keys["user_id"], keys["device_id"])
    assert {f"curve25519:{ALICE_DEVICE}": me.curve25519, f"ed25519:{ALICE_DEVICE}": me.ed25519} == keys["keys"]
    added = await alice.ask(AddDevices(response=keys_query(keys)))
    assert {} == added.rejected  # its signature was checked


async def test_nobody_can_change_the_device_through_a_reply(alice: Supervisor) -> None:
    keys = await alice.ask(SignedDeviceKeys())
    expected = json.loads(json.dumps(keys))
    keys["keys"].clear()
    keys["user_id"] = "@mallory:example.org"

    assert expected == await alice.ask(SignedDeviceKeys())


# --- taking over


async def test_a_vodozemac_account_is_taken_over_with_all_it_can_do(empty: Supervisor, device: Device) -> None:
    account = Account()
    theirs = as_alice(account)
    published, fallback = theirs.one_time_key(), theirs.one_time_key(fallback=True)
    bob, carol = Peer(), Peer(device_id=Peer().device_id)
    identity = identity_of(account)
    session = bob.start_session(identity, next(iter(published.values())))
    first = bob.event(identity, content={"n": 1})
    carol.start_session(identity, next(iter(fallback.values())))
    second = carol.event(identity, content={"n": 2})

    imported = await empty.ask(ImportAccount(pickle=account.pickle(PICKLE_KEY), pickle_key=PICKLE_KEY))

    assert identity == imported
    assert {"n": 1} == (await decrypt(empty, first)).content
    async with device.open() as other:
        assert imported == await other.ask(IdentityKeys())
        assert {"n": 2} == (await decrypt(other, second)).content
        assert {"n": 3} == (await decrypt(other, bob.event(identity, content={"n": 3}, session=session))).content


async def test_keys_that_an_imported_account_had_not_published_are_for_receiving_only(
    empty: Supervisor,
) -> None:
    """The other library may have uploaded them, and not have heard of it."""
    account = Account()
    account.generate_one_time_keys(3)
    unpublished = {f"signed_curve25519:{key_id}": key.to_base64() for key_id, key in account.one_time_keys.items()}

    await empty.ask(ImportAccount(pickle=account.pickle(PICKLE_KEY), pickle_key=PICKLE_KEY))

    keys = await empty.ask(PrepareOneTimeKeys())
    assert 50 == len(keys.one_time_keys)
    assert unpublished.keys().isdisjoint(keys.one_time_keys)
    me = identity_of(account)
    for key in unpublished.values():
        bob = Peer()
        bob.start_session(me, {"key": key})
        await decrypt(empty, bob.event(me))


@pytest.mark.parametrize("spell", ["{}=", "{}=="], ids=["padded", "oddly-padded"])
async def test_an_imported_session_is_found_however_its_key_is_spelt(spell: str, empty: Supervisor) -> None:
    """Once, one whose key was padded was imported and never found."""
    account, bob = Account(), Peer()
    (key,) = bob.one_time_key().values()
    session = account.create_outbound_session(bob.account.curve25519_key, Curve25519PublicKey.from_base64(key["key"]))
    pickled = OlmSessionPickle(
        sender_key=Curve25519Key(spell.format(bob.curve25519)), pickle=session.pickle(PICKLE_KEY)
    )
    await empty.ask(ImportAccount(pickle=account.pickle(PICKLE_KEY), pickle_key=PICKLE_KEY, olm_sessions=(pickled,)))
    await empty.ask(AddDevices(response=keys_query(bob)))

    assert {"body": "found"} == (await send(empty, bob, "found"))["content"]


@pytest.mark.parametrize("key", ["", "AAAA", "no base64", "/" * 43, "\ud800"])
async def test_a_session_whose_key_is_none_is_not_imported(key: str, empty: Supervisor) -> None:
    pickled = OlmSessionPickle(sender_key=Curve25519Key(key), pickle=SESSION.pickle(PICKLE_KEY))

    async with refused(empty, MalformedPickle) as caught:
        await empty.ask(
            ImportAccount(pickle=Account().pickle(PICKLE_KEY), pickle_key=PICKLE_KEY, olm_sessions=(pickled,))
        )

    assert "Olm session" in str(caught.value)


async def test_imported_olm_sessions_go_on_where_they_were(empty: Supervisor) -> None:
    account, bob = Account(), Peer()
    identity = identity_of(account)
    bob.start_session(identity, next(iter(as_alice(account).one_time_key().values())))
    ours, _ = account.create_inbound_session(
        Curve25519PublicKey.from_base64(bob.curve25519), _pre_key(bob.event(identity), identity)
    )
    pickled = OlmSessionPickle(sender_key=bob.curve25519, pickle=ours.pickle(PICKLE_KEY))

    await empty.ask(ImportAccount(pickle=account.pickle(PICKLE_KEY), pickle_key=PICKLE_KEY, olm_sessions=(pickled,)))
    await empty.ask(AddDevices(response=keys_query(bob)))

    assert {"n": 1} == (await decrypt(empty, bob.event(identity, content={"n": 1}))).content
    assert {"body": "back"} == (await send(empty, bob, "back"))["content"]
    assert 1 == len(bob.sessions)


async def test_devices_that_the_other_library_knew_are_trusted_and_pinned_from_the_first_message_on(
    empty: Supervisor,
) -> None:
    account, bob = Account(), Peer()
    carol = Peer(user_id=UserId("@carol:example.org"), device_id=DeviceId("CAROL"))
    devices = tuple(
        ImportedDevice(
            user_id=peer.user_id,
            device_id=peer.device_id,
            curve25519=peer.curve25519,
            ed25519=peer.ed25519,
            trust=trust,
        )
        for peer, trust in (
            (bob, DeviceTrust.BLOCKED),
            (carol, DeviceTrust.VERIFIED),
            (as_alice(account), DeviceTrust.UNSET),
        )
    )

    with empty.subscribe(DevicesChanged) as events:
        await empty.ask(ImportAccount(pickle=account.pickle(PICKLE_KEY), pickle_key=PICKLE_KEY, devices=devices))
        assert {bob.address, carol.address} == set((await events.receive()).added)

    known = await empty.ask(Devices(users=(bob.user_id, carol.user_id, ALICE)))
    assert {bob.device_id: DeviceTrust.BLOCKED, carol.device_id: DeviceTrust.VERIFIED} == {
        device.device_id: device.trust for device in known
    }
    await empty.ask(AddDevices(response=keys_query(bob, carol)))
    assert known == await empty.ask(Devices(users=(bob.user_id, carol.user_id, ALICE)))
    forged = Peer(device_id=bob.device_id)
    added = await empty.ask(AddDevices(response=keys_query(forged, carol)))
    assert [DeviceKeyChanged] == [type(error) for error in added.rejected.values()]


@pytest.mark.parametrize("field", ["curve25519", "ed25519"])
async def test_a_device_whose_key_is_none_is_not_imported(field: str, empty: Supervisor) -> None:
    bob = Peer()
    keys: dict[str, Any] = {"curve25519": bob.curve25519, "ed25519": bob.ed25519, field: "no key"}
    device = ImportedDevice(user_id=bob.user_id, device_id=bob.device_id, **keys)

    async with refused(empty, MalformedMessage):
        await empty.ask(ImportAccount(pickle=Account().pickle(PICKLE_KEY), pickle_key=PICKLE_KEY, devices=(device,)))


def _pre_key(event: JsonObject, identity: DeviceIdentity) -> PreKeyMessage:
    ciphertext = event["content"]["ciphertext"][identity.curve25519]
    message = AnyOlmMessage.from_parts(ciphertext["type"], unb64(ciphertext["body"])).to_pre_key()
    assert message is not None
    return message


ACCOUNT = Account()
SESSION = Account().create_outbound_session(
    ACCOUNT.curve25519_key, Curve25519PublicKey.from_base64(Account().curve25519_key.to_base64())
)


@pytest.mark.parametrize(
    "message",
    [
        ImportAccount(pickle=ACCOUNT.pickle(PICKLE_KEY), pickle_key=bytes(32)),
        ImportAccount(pickle=ACCOUNT.pickle(PICKLE_KEY), pickle_key=b"short"),
        ImportAccount(pickle=ACCOUNT.pickle(PICKLE_KEY), pickle_key=b""),
        ImportAccount(pickle=ACCOUNT.pickle(PICKLE_KEY), pickle_key=PICKLE_KEY, format="libolm"),
        ImportAccount(pickle=ACCOUNT.pickle(PICKLE_KEY)[:-5], pickle_key=PICKLE_KEY),
        ImportAccount(pickle="", pickle_key=PICKLE_KEY),
        ImportAccount(pickle="\ud800", pickle_key=PICKLE_KEY),
        ImportAccount(pickle="no pickle!", pickle_key=PICKLE_KEY),
        ImportAccount(pickle=LIBOLM["account"], pickle_key=b"another key", format="libolm"),
        ImportAccount(pickle=LIBOLM["account"], pickle_key=LIBOLM["pickle_key"].encode()),
        ImportAccount(pickle=LIBOLM["account"][4:], pickle_key=LIBOLM["pickle_key"].encode(), format="libolm"),
        ImportAccount(
            pickle=LIBOLM["sessions"][0]["pickle"], pickle_key=LIBOLM["pickle_key"].encode(), format="libolm"
        ),
        ImportAccount(
            pickle=ACCOUNT.pickle(PICKLE_KEY),
            pickle_key=PICKLE_KEY,
            olm_sessions=(
                OlmSessionPickle(sender_key=Curve25519Key("A" * 43), pickle=SESSION.pickle(PICKLE_KEY)),
                OlmSessionPickle(sender_key=Curve25519Key("B" * 43), pickle=SESSION.pickle(bytes(32))),
            ),
        ),
    ],
    ids=[
        "wrong-key",
        "short-key",
        "no-key",
        "wrong-format",
        "cut-off",
        "empty",
        "surrogate",
        "no-base64",
        "libolm-wrong-key",
        "libolm-as-vodozemac",
        "libolm-cut-off",
        "libolm-session-as-account",
        "second-session-with-another-key",
    ],
)
async def test_a_pickle_that_cannot_be_read_is_refused_and_the_store_stays_empty(
    message: ImportAccount, empty: Supervisor
) -> None:
    async with refused(empty, MalformedPickle) as caught:
        await empty.ask(message)

    assert PICKLE_KEY.hex() not in str(caught.value)
    with pytest.raises(NoAccount):
        await empty.ask(IdentityKeys())
    await empty.ask(CreateAccount())


# --- libolm


def libolm_import() -> ImportAccount:
    """What libolm has pickled."""
    return ImportAccount(
        pickle=LIBOLM["account"],
        pickle_key=LIBOLM["pickle_key"].encode(),
        format="libolm",
        olm_sessions=tuple(
            OlmSessionPickle(sender_key=session["sender_key"], pickle=session["pickle"])
            for session in LIBOLM["sessions"]
        ),
    )


async def test_a_libolm_account_is_taken_over_with_its_sessions_and_keys(empty: Supervisor) -> None:
    imported = await empty.ask(libolm_import())

    assert (LIBOLM["curve25519"], LIBOLM["ed25519"]) == (imported.curve25519, imported.ed25519)
    bob = Peer(account=Account.from_libolm_pickle(LIBOLM["peer"], LIBOLM["pickle_key"].encode()))
    await empty.ask(AddDevices(response=keys_query(bob)))
    for event in LIBOLM["events"]:
        (outcome,) = await empty.ask(DecryptToDevice(events=(event["event"],)))
        assert isinstance(outcome, DecryptedToDevice), (event["what"], outcome)
        assert {"what": event["what"]} == outcome.content
    keys = await empty.ask(PrepareOneTimeKeys())
    assert not set(LIBOLM["unpublished"]) & {key["key"] for key in keys.one_time_keys.values()}


async def test_libolm_reads_what_is_sent_on_a_session_that_it_pickled(empty: Supervisor) -> None:
    await empty.ask(libolm_import())
    bob = Peer(account=Account.from_libolm_pickle(LIBOLM["peer"], LIBOLM["pickle_key"].encode()))
    bob.sessions.append(Session.from_libolm_pickle(LIBOLM["peer_session"], LIBOLM["pickle_key"].encode()))
    await empty.ask(AddDevices(response=keys_query(bob)))

    payload = await send(empty, bob, "from the new home")

    assert {"body": "from the new home"} == payload["content"]
    assert 1 == len(bob.sessions)


# --- one or another


async def test_whoever_prepares_an_account_gets_the_one_that_there_is(empty: Supervisor, device: Device) -> None:
    made = await empty.ask(PrepareAccount())

    async with unchanged(empty):
        assert made == await empty.ask(PrepareAccount())
        assert made == await empty.ask(IdentityKeys())
    async with device.open() as another:
        assert made == await another.ask(PrepareAccount())
    async with refused(empty, AccountExists):
        await empty.ask(CreateAccount())


async def test_of_many_who_prepare_an_account_at_once_one_makes_it(empty: Supervisor, device: Device) -> None:
    made: list[DeviceIdentity] = []

    async def prepare(supervisor: Supervisor) -> None:
        made.append(await supervisor.ask(PrepareAccount()))

    async with device.open() as another, trio.open_nursery() as nursery:
        for supervisor in (empty, another) * 10:
            nursery.start_soon(prepare, supervisor)
    assert 20 == len(made)
    assert 1 == len(set(made))


# --- no account

NEED_AN_ACCOUNT: list[Message[Any]] = [
    IdentityKeys(),
    SignedDeviceKeys(),
    PrepareOneTimeKeys(),
    MarkKeysPublished(key_ids=()),
    CreateOlmSessions(one_time_keys={}),
    EncryptToDevice(devices=(), type="m.test", content={}),
    DecryptToDevice(events=()),
    PrepareRoomKey(room_id=ROOM),
    RotateRoomKey(room_id=ROOM),
    ShareRoomKey(room_id=ROOM, devices=()),
    EncryptRoomEvent(room_id=ROOM, type="m.test", content={}),
    ReceiveSync(sync={"next_batch": "s1"}),
]


@pytest.mark.parametrize("message", NEED_AN_ACCOUNT, ids=lambda message: type(message).__name__)
async def test_without_an_account_what_needs_one_is_refused(message: Message[Any], empty: Supervisor) -> None:
    async with refused(empty, NoAccount):
        await empty.ask(message)

    assert await empty.ask(SyncToken()) is None
    await empty.ask(CreateAccount())


async def test_what_needs_no_account_works_without_one(empty: Supervisor) -> None:
    bob = Peer()
    without: list[Command[Any]] = [AddDevices(response=keys_query(bob)), bob.add_room_key(ROOM, GroupSession())]
    for message in without:
        await empty.ask(message)

    assert await empty.ask(SyncToken()) is None
