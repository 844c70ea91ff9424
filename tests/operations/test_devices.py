"""AddDevices and Devices: whose keys are believed."""

from __future__ import annotations

import pytest

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    Curve25519Key,
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    DeviceKeyChanged,
    DeviceKeys,
    Devices,
    DevicesAdded,
    DevicesChanged,
    InvalidSignature,
    Json,
    JsonObject,
    MalformedMessage,
    UserId,
)
from tests.operations.conftest import Device
from tests.operations.device import FORMS, Form, KeyServer, claim, decrypt, meet, refused, send, unchanged
from tests.operations.peer import MEGOLM, OLM, Peer, keys_query, peers

BOB = UserId("@bob:example.org")
MALLORY = UserId("@mallory:example.org")


def known(peer: Peer) -> DeviceKeys:
    """What should be known of ``peer``."""
    return DeviceKeys(
        user_id=peer.user_id,
        device_id=peer.device_id,
        curve25519=peer.curve25519,
        ed25519=peer.ed25519,
        algorithms=(OLM, MEGOLM),
    )


async def test_the_devices_of_several_users_come_user_by_user(alice: Supervisor) -> None:
    phones, carol = peers(3), Peer(user_id=UserId("@carol:example.org"))
    await alice.ask(AddDevices(response=keys_query(carol, *phones)))
    of_bob, of_carol = tuple(map(known, phones)), (known(carol),)

    assert (*of_carol, *of_bob) == await alice.ask(Devices(users=(carol.user_id, BOB)))
    assert (*of_bob, *of_carol) == await alice.ask(Devices(user_id=BOB, users=(carol.user_id, BOB)))
    assert of_bob == await alice.ask(Devices(users=(BOB, UserId("@nobody:example.org"))))


def test_devices_of_nobody_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="must name somebody"):
        Devices()


def test_a_device_knows_its_address() -> None:
    assert Peer().address == known(Peer()).address


async def test_devices_are_taken_in_for_all_supervisors(alice: Supervisor, other: Supervisor, device: Device) -> None:
    phones = peers(3)
    carol = Peer(user_id=UserId("@carol:example.org"))

    added = await alice.ask(AddDevices(response=keys_query(*phones, carol)))

    assert {*(phone.address for phone in phones), carol.address} == set(added.added)
    assert ((), {}) == (added.removed, added.rejected)
    for supervisor in (alice, other):
        assert tuple(known(phone) for phone in phones) == await supervisor.ask(Devices(user_id=BOB))
        assert (known(carol),) == await supervisor.ask(Devices(user_id=carol.user_id))
        assert () == await supervisor.ask(Devices(user_id=UserId("@nobody:example.org")))
    async with device.open() as third:
        reopened = await third.ask(Devices(user_id=BOB))
        assert 3 == len(reopened)


@pytest.mark.parametrize("form", FORMS)
async def test_a_response_may_come_as_it_came(form: Form, alice: Supervisor) -> None:
    peer = Peer()

    added = await alice.ask(AddDevices(response=form(keys_query(peer))))

    assert (peer.address,) == added.added


async def test_the_same_response_again_changes_nothing(alice: Supervisor, other: Supervisor, bob: Peer) -> None:
    async with unchanged(other):
        assert DevicesAdded(added=(), removed=(), rejected={}) == await other.ask(AddDevices(response=keys_query(bob)))

    assert (known(bob),) == await alice.ask(Devices(user_id=BOB))


async def test_devices_that_a_response_leaves_out_are_removed(alice: Supervisor, other: Supervisor) -> None:
    first, second, third = peers(3)
    carol = Peer(user_id=UserId("@carol:example.org"))
    await alice.ask(AddDevices(response=keys_query(first, second, carol)))

    changed = await other.ask(AddDevices(response=keys_query(second, third)))

    assert ((third.address,), (first.address,)) == (changed.added, changed.removed)
    assert (known(second), known(third)) == await alice.ask(Devices(user_id=BOB))
    assert (known(carol),) == await alice.ask(Devices(user_id=carol.user_id))  # nothing was said of her
    await alice.ask(AddDevices(response={"device_keys": {BOB: {}}}))
    assert () == await other.ask(Devices(user_id=BOB))


async def test_changes_are_published_and_only_changes(alice: Supervisor) -> None:
    first, second = peers(2)
    with alice.subscribe(DevicesChanged) as events:
        await alice.ask(AddDevices(response=keys_query(first)))
        await alice.ask(AddDevices(response=keys_query(first)))
        await alice.ask(AddDevices(response=keys_query(second)))

        assert DevicesChanged(added=(first.address,), removed=()) == await events.receive()
        assert DevicesChanged(added=(second.address,), removed=(first.address,)) == await events.receive()
        assert 0 == events.statistics().current_buffer_used


# --- what is not believed


def forged(peer: Peer, **changes: Json) -> JsonObject:
    """Keys that were changed after they were signed."""
    return {**peer.device_keys(), **changes}


def of_others(peer: Peer) -> dict[str, tuple[Json, type[Exception]]]:
    """Keys under ``peer``'s name that aren't believed, and why."""
    stranger = Peer(user_id=peer.user_id, device_id=peer.device_id)
    keys = peer.device_keys()
    return {
        "changed-after-signing": (forged(peer, algorithms=[OLM]), InvalidSignature),
        "unsigned": ({**keys, "signatures": {}}, InvalidSignature),
        "another-users-signature": ({**keys, "signatures": {MALLORY: {"ed25519:BOBDEV": "A" * 86}}}, InvalidSignature),
        "key-swapped": (forged(peer, keys=stranger.device_keys()["keys"]), InvalidSignature),
        "another-device": (peer.device_keys(device_id="OTHER"), MalformedMessage),
        "another-user": (peer.device_keys(user_id=MALLORY), MalformedMessage),
        "no-keys": (peer.device_keys(keys={}), MalformedMessage),
        "short-key": (
            peer.device_keys(keys={**keys["keys"], "curve25519:BOBDEV": "AAAA"}),
            MalformedMessage,
        ),
        "float": (forged(peer, unknown=1.5), MalformedMessage),
        "surrogate": (forged(peer, unknown="\ud800"), MalformedMessage),
        "text": ("keys", MalformedMessage),
        "null": (None, MalformedMessage),
    }


@pytest.mark.parametrize("what", list(of_others(Peer())))
async def test_keys_that_their_device_did_not_sign_as_its_own_are_rejected_alone(what: str, alice: Supervisor) -> None:
    bob, phone = Peer(), Peer(device_id=DeviceId("PHONE"))
    keys, error = of_others(bob)[what]
    response = {"device_keys": {BOB: {bob.device_id: keys, phone.device_id: phone.device_keys()}}}

    added = await alice.ask(AddDevices(response=response))

    assert (phone.address,) == added.added
    assert [bob.address] == list(added.rejected)
    assert isinstance(added.rejected[bob.address], error)
    assert (known(phone),) == await alice.ask(Devices(user_id=BOB))


async def test_a_known_device_outlives_keys_that_are_not_believed(alice: Supervisor, bob: Peer) -> None:
    for keys, _ in of_others(bob).values():
        async with unchanged(alice):
            await alice.ask(AddDevices(response={"device_keys": {BOB: {bob.device_id: keys}}}))

    assert (known(bob),) == await alice.ask(Devices(user_id=BOB))


async def test_a_device_that_comes_with_another_key_is_refused_and_the_first_one_stays(
    alice: Supervisor, other: Supervisor, bob: Peer
) -> None:
    impostor = Peer()

    async with unchanged(other):
        added = await other.ask(AddDevices(response=keys_query(impostor)))

    assert ((), ()) == (added.added, added.removed)
    error = added.rejected[bob.address]
    assert isinstance(error, DeviceKeyChanged)
    assert bob.ed25519 == error.ed25519
    assert (known(bob),) == await alice.ask(Devices(user_id=BOB))


async def test_a_device_that_signs_another_identity_key_is_refused_and_the_first_one_stays(
    alice: Supervisor, other: Supervisor, bob: Peer
) -> None:
    """Also after it was gone."""
    keys = {f"curve25519:{bob.device_id}": Peer().curve25519, f"ed25519:{bob.device_id}": bob.ed25519}

    async with unchanged(other):
        added = await other.ask(AddDevices(response=keys_query(bob.device_keys(keys=keys))))
    assert isinstance(added.rejected[bob.address], DeviceKeyChanged)
    assert (known(bob),) == await alice.ask(Devices(user_id=BOB))
    await alice.ask(AddDevices(response={"device_keys": {BOB: {}}}))
    again = await other.ask(AddDevices(response=keys_query(bob.device_keys(keys=keys))))
    assert isinstance(again.rejected[bob.address], DeviceKeyChanged)


async def test_a_device_may_change_its_algorithms(alice: Supervisor, bob: Peer) -> None:
    await alice.ask(AddDevices(response=keys_query(bob.device_keys(algorithms=[MEGOLM]))))

    (now,) = await alice.ask(Devices(user_id=BOB))
    assert (MEGOLM,) == now.algorithms


@pytest.mark.parametrize(
    "response",
    [
        None,
        [],
        "response",
        {},
        {"device_keys": None},
        {"device_keys": []},
        {"device_keys": {BOB: None}},
        {"device_keys": {BOB: []}},
        {"device_keys": {"@carol:example.org": {}, BOB: "x"}},
    ],
)
async def test_what_is_no_response_is_refused_and_removes_nobody(response: Json, alice: Supervisor, bob: Peer) -> None:
    async with refused(alice, MalformedMessage):
        await alice.ask(AddDevices(response=response))

    assert (known(bob),) == await alice.ask(Devices(user_id=BOB))


async def test_a_device_that_is_nested_too_deep_is_refused_and_the_others_are_taken_in(alice: Supervisor) -> None:
    nested: Json = []
    for _ in range(10_000):
        nested = [nested]
    bob, carol = Peer(), Peer(UserId("@carol:example.org"))
    response = keys_query(bob, carol)
    response["device_keys"][carol.user_id][carol.device_id]["x"] = nested

    added = await alice.ask(AddDevices(response={**response, "x": nested}))

    assert (bob.address,) == added.added
    assert isinstance(added.rejected[carol.address], MalformedMessage)


async def test_ids_may_be_any_text(alice: Supervisor) -> None:
    strange = "\ud800 \0 '; drop table devices; --"

    added = await alice.ask(AddDevices(response={"device_keys": {strange: {strange: {}}}}))

    assert [DeviceAddress(user_id=UserId(strange), device_id=DeviceId(strange))] == list(added.rejected)
    assert () == await alice.ask(Devices(user_id=UserId(strange)))


# --- another's identity key


async def test_whoever_claims_anothers_identity_key_is_not_taken_for_him(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    mallory = Peer(user_id=MALLORY)
    keys = {f"curve25519:{mallory.device_id}": friend.curve25519, f"ed25519:{mallory.device_id}": mallory.ed25519}
    await alice.ask(AddDevices(response=keys_query(mallory.device_keys(keys=keys))))

    outcome = await decrypt(alice, friend.event(me, content={"n": 1}))

    assert friend.identity == outcome.sender_device


async def test_whoever_claims_anothers_identity_key_cannot_cut_him_off(
    alice: Supervisor, server: KeyServer, friend: Peer
) -> None:
    """A session with the claimant can be read by neither, so it must not become the one that the owner is sent on."""
    mallory = Peer(user_id=MALLORY)
    keys = {f"curve25519:{mallory.device_id}": friend.curve25519, f"ed25519:{mallory.device_id}": mallory.ed25519}
    await alice.ask(AddDevices(response=keys_query(mallory.device_keys(keys=keys))))

    await claim(alice, mallory)

    assert {"body": "still here"} == (await send(alice, friend, "still here"))["content"]


async def test_the_owner_of_an_identity_key_can_still_meet_the_device(
    alice: Supervisor, server: KeyServer, bob: Peer
) -> None:
    mallory = Peer(user_id=MALLORY)
    stolen = Curve25519Key(bob.curve25519)
    keys = {f"curve25519:{mallory.device_id}": stolen, f"ed25519:{mallory.device_id}": mallory.ed25519}
    await alice.ask(AddDevices(response=keys_query(mallory.device_keys(keys=keys))))
    await claim(alice, mallory)

    await meet(alice, bob, server)

    assert {"body": "hello"} == (await send(alice, bob, "hello"))["content"]
