"""Whom a session is for: what somebody publishes under another's identity key never uses up the other's session."""

from __future__ import annotations

import json
import os

import pytest
from vodozemac import Account, Curve25519PublicKey

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    DecryptToDevice,
    DeviceId,
    DeviceIdentity,
    EncryptToDevice,
    IdentityKeys,
    ImportAccount,
    JsonObject,
    OlmSessionPickle,
    RoomId,
    ShareRoomKey,
    UndecryptableToDevice,
    UserId,
)
from olmstate.storage import START, Row, Table, open_store
from tests.cost.longest_step import longest_step
from tests.operations.conftest import Device
from tests.operations.device import KEY, claim, decrypt, send
from tests.operations.peer import Peer, keys_query

MALLORY = UserId("@mallory:example.org")
FREE = 20
"""Messages on a session that nobody is known to have the other end of."""


def thief(victim: Peer, number: int = 0, user_id: UserId = MALLORY) -> tuple[Peer, JsonObject]:
    """A device of mallory's, and its keys as published, with the victim's identity key among them."""
    device = Peer(user_id, DeviceId(f"M{number}"))
    keys = {
        f"curve25519:{device.device_id}": victim.curve25519,
        f"ed25519:{device.device_id}": device.ed25519,
    }
    return device, device.device_keys(keys=keys)


async def thieves(supervisor: Supervisor, victim: Peer, number: int) -> tuple[Peer, ...]:
    """Devices of mallory's that are known under the victim's identity key."""
    made = [thief(victim, at) for at in range(number)]
    added = await supervisor.ask(AddDevices(response=keys_query(*(keys for _, keys in made))))
    assert number == len(added.added)
    return tuple(device for device, _ in made)


async def test_devices_published_under_anothers_identity_key_use_up_no_steps_of_their_session(
    alice: Supervisor, friend: Peer
) -> None:
    """Once, 2,100 such devices were enough: nobody skips more than 2,000 messages."""
    devices = await thieves(alice, friend, 2_100)
    addresses = tuple(device.address for device in devices)

    encrypted = await alice.ask(EncryptToDevice(devices=addresses, type="m.test", content={}))

    assert (addresses, {}) == (encrypted.missing, encrypted.messages)
    assert {"body": "still there?"} == (await send(alice, friend, "still there?"))["content"]


async def test_nor_do_a_hundred_in_twenty_one_rooms(alice: Supervisor, other: Supervisor, friend: Peer) -> None:
    devices = await thieves(alice, friend, 100)
    addresses = tuple(device.address for device in devices)

    for number in range(21):
        room_id = RoomId(f"!room{number}:example.org")
        share = await (alice, other)[number % 2].ask(ShareRoomKey(room_id=room_id, devices=addresses))
        assert (addresses, ()) == (share.missing, share.requests)

    assert {"body": "still there?"} == (await send(alice, friend, "still there?"))["content"]


async def test_a_thief_who_is_known_first_gets_nothing_either(alice: Supervisor, friend: Peer) -> None:
    """The session's owner is whose payload was believed, whatever devices are known."""
    (mallory,) = await thieves(alice, friend, 1)
    await alice.ask(AddDevices(response={"device_keys": {friend.user_id: {}}}))

    encrypted = await alice.ask(EncryptToDevice(devices=(mallory.address,), type="m.test", content={}))

    assert (mallory.address,) == encrypted.missing


async def test_a_claimed_key_gives_the_thief_a_session_of_their_own(alice: Supervisor, friend: Peer) -> None:
    (mallory,) = await thieves(alice, friend, 1)
    await claim(alice, mallory)

    encrypted = await alice.ask(EncryptToDevice(devices=(mallory.address,), type="m.test", content={}))

    assert () == encrypted.missing
    assert {"body": "still there?"} == (await send(alice, friend, "still there?"))["content"]


async def test_what_the_owner_sends_is_not_tried_on_the_sessions_of_thieves(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    """Nobody can write on those; each made the owner's messages dearer, until they waited for turns of their own."""
    made = [thief(friend, at, UserId(f"@m{at}:example.org")) for at in range(30)]
    await alice.ask(AddDevices(response=keys_query(friend, *(keys for _, keys in made))))
    await claim(alice, *(device for device, _ in made))

    async with longest_step(only="decrypt") as counted:
        await decrypt(alice, friend.event(me, "m.test"))

    assert 1 == counted.total


# --- sessions that have no owner yet


@pytest.fixture(params=["imported", "stored-before"])
async def ownerless(request: pytest.FixtureRequest, empty: Supervisor, device: Device) -> Peer:
    """A device with a session of which nobody has said whose it is."""
    account, bob, key = Account(), Peer(), os.urandom(32)
    account.generate_one_time_keys(1)
    ((_, one_time_key),) = account.one_time_keys.items()
    session = bob.account.create_outbound_session(
        account.curve25519_key, Curve25519PublicKey.from_base64(one_time_key.to_base64())
    )
    bob.sessions.append(session)
    pre_key = session.encrypt(b"hello").to_pre_key()
    assert pre_key is not None
    inbound, _ = account.create_inbound_session(bob.account.curve25519_key, pre_key)
    pickled = OlmSessionPickle(sender_key=bob.curve25519, pickle=inbound.pickle(key))
    await empty.ask(ImportAccount(pickle=account.pickle(key), pickle_key=key, olm_sessions=(pickled,)))
    await empty.ask(AddDevices(response=keys_query(bob)))
    if request.param == "stored-before":
        await _take_owners_away(device)
    return bob


async def _take_owners_away(device: Device) -> None:
    """Have the rows of sessions be as an earlier version has written them."""
    store = await open_store(device.folder, key=KEY)
    assert store.lock.acquire_nowait()
    (row,) = await store.page(Table.OLM_SESSIONS, START, 10)
    record = json.loads(row.value or b"")
    del record["owner"], record["steps_for_anybody"]
    old = Row(row.key, row.partition, json.dumps(record).encode())
    await store.commit({Table.OLM_SESSIONS: [old]}, seen=store.changes(None).generation)
    store.lock.release()
    await store.aclose()


async def test_a_session_without_an_owner_is_good_for_a_few_messages_and_then_for_its_owner_only(
    ownerless: Peer, empty: Supervisor
) -> None:
    me = await empty.ask(IdentityKeys())
    (mallory,) = await thieves(empty, ownerless, 1)
    message = EncryptToDevice(devices=(mallory.address,), type="m.test", content={})
    used = [await empty.ask(message) for _ in range(FREE + 5)]

    assert FREE == sum(encrypted.missing == () for encrypted in used)
    encrypted = await empty.ask(EncryptToDevice(devices=(ownerless.address,), type="m.test", content={}))
    assert (ownerless.address,) == encrypted.missing

    await decrypt(empty, ownerless.event(me))

    assert {"body": "so it is yours"} == (await send(empty, ownerless, "so it is yours"))["content"]
    assert (mallory.address,) == (await empty.ask(message)).missing


async def test_who_puts_the_owners_message_into_another_envelope_does_not_become_the_owner(
    ownerless: Peer, empty: Supervisor
) -> None:
    me = await empty.ask(IdentityKeys())
    event = ownerless.event(me)
    (mallory,) = await thieves(empty, ownerless, 1)
    (outcome,) = await empty.ask(DecryptToDevice(events=({**event, "sender": MALLORY},)))
    assert isinstance(outcome, UndecryptableToDevice)

    await decrypt(empty, event)

    encrypted = await empty.ask(EncryptToDevice(devices=(mallory.address,), type="m.test", content={}))
    assert (mallory.address,) == encrypted.missing
    assert {"body": "hello"} == (await send(empty, ownerless, "hello"))["content"]


async def test_an_imported_session_may_say_whose_it_is(empty: Supervisor) -> None:
    account, bob, key = Account(), Peer(), os.urandom(32)
    session = account.create_outbound_session(
        bob.account.curve25519_key,
        Curve25519PublicKey.from_base64(bob.one_time_key().popitem()[1]["key"]),
    )
    pickled = OlmSessionPickle(sender_key=bob.curve25519, pickle=session.pickle(key), user_id=bob.user_id)
    await empty.ask(ImportAccount(pickle=account.pickle(key), pickle_key=key, olm_sessions=(pickled,)))
    await empty.ask(AddDevices(response=keys_query(bob)))
    (mallory,) = await thieves(empty, bob, 1)

    encrypted = await empty.ask(EncryptToDevice(devices=(mallory.address,), type="m.test", content={}))

    assert (mallory.address,) == encrypted.missing
    for number in range(FREE + 5):
        assert {"body": f"{number}"} == (await send(empty, bob, f"{number}"))["content"]
