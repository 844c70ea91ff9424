"""PrepareOneTimeKeys and MarkKeysPublished: how many keys are made, how they are marked, and the fallback key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from olmstate.actors import Supervisor
from olmstate.actors._wire.signatures import verify_signed
from olmstate.messages import (
    DecryptToDevice,
    DeviceIdentity,
    Ed25519Key,
    Json,
    JsonObject,
    KeyId,
    MalformedMessage,
    MarkKeysPublished,
    PrepareOneTimeKeys,
    ReceiveSync,
    ReplayedToDevice,
    UndecryptableToDevice,
    UnknownOlmSession,
    UnpublishedKeys,
)
from tests.operations.conftest import Device
from tests.operations.device import ALICE, ALICE_DEVICE, DAY, FORMS, Clock, Form, KeyServer, decrypt, refused, unchanged
from tests.operations.peer import Peer

HOUR = DAY // 24


async def told(supervisor: Supervisor, count: int, *, fallback: bool = True) -> None:
    """Have a sync say how many one-time keys the server has, and whether the fallback key is unused."""
    sync: JsonObject = {
        "next_batch": "s",
        "device_one_time_keys_count": {"signed_curve25519": count},
        "device_unused_fallback_key_types": ["signed_curve25519"] if fallback else [],
    }
    await supervisor.ask(ReceiveSync(sync=sync))


async def publish(supervisor: Supervisor, keys: UnpublishedKeys, count: int | None) -> None:
    """Have the server take ``keys``."""
    counts = None if count is None else {"signed_curve25519": count}
    await supervisor.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=counts))


def public_keys(keys: UnpublishedKeys) -> set[str]:
    """The public parts."""
    return {key["key"] for key in (*keys.one_time_keys.values(), *keys.fallback_keys.values())}


# --- what waits


async def test_a_new_account_has_fifty_keys_and_a_fallback_key_to_upload_all_signed(
    alice: Supervisor, me: DeviceIdentity
) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())

    assert (50, 1) == (len(keys.one_time_keys), len(keys.fallback_keys))
    for key_id, key in (*keys.one_time_keys.items(), *keys.fallback_keys.items()):
        assert key_id.startswith("signed_curve25519:")
        verify_signed(key, ALICE, ALICE_DEVICE, Ed25519Key(me.ed25519))
    assert [{"key", "fallback", "signatures"}] == [set(key) for key in keys.fallback_keys.values()]
    assert all({"key", "signatures"} == set(key) for key in keys.one_time_keys.values())
    assert all(key["fallback"] is True for key in keys.fallback_keys.values())
    assert 51 == len(public_keys(keys))


async def test_nobody_can_change_stored_keys_through_a_reply(alice: Supervisor, device: Device, clock: Clock) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())
    expected = json.loads(json.dumps(keys.fallback_keys))
    for key in (*keys.one_time_keys.values(), *keys.fallback_keys.values()):
        key["key"] = "changed"
        key["signatures"].clear()
    keys.one_time_keys.clear()

    assert expected == (await alice.ask(PrepareOneTimeKeys())).fallback_keys
    await told(alice, 0)
    clock.now += HOUR
    async with device.open() as third:
        assert expected == (await third.ask(PrepareOneTimeKeys())).fallback_keys


async def test_marked_keys_are_handed_out_no_more(alice: Supervisor, other: Supervisor) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())

    await publish(other, keys, 50)

    for supervisor in (alice, other):
        async with unchanged(supervisor):
            assert UnpublishedKeys(one_time_keys={}, fallback_keys={}) == await supervisor.ask(PrepareOneTimeKeys())


async def test_of_keys_that_were_only_partly_taken_the_others_are_not_offered_again(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity
) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())
    taken = tuple(keys.one_time_keys)[:20]

    await alice.ask(MarkKeysPublished(key_ids=taken, one_time_key_counts={"signed_curve25519": 20}))

    new = await other.ask(PrepareOneTimeKeys())
    assert 30 == len(new.one_time_keys)
    assert not keys.one_time_keys.keys() & new.one_time_keys.keys()
    assert keys.fallback_keys == new.fallback_keys
    for key in list(keys.one_time_keys.values())[10:30]:  # somebody may have them all the same
        bob = Peer()
        bob.start_session(me, key)
        await decrypt(other, bob.event(me))


async def test_ids_that_do_not_wait_are_passed_over(alice: Supervisor) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())

    async with unchanged(alice):
        await alice.ask(MarkKeysPublished(key_ids=(KeyId("signed_curve25519:nobody"), KeyId("\ud800"), KeyId(""))))

    await publish(alice, keys, 50)
    async with unchanged(alice):
        await publish(alice, keys, 50)


async def test_an_id_stands_for_one_key_so_either_kind_can_be_marked_alone(alice: Supervisor) -> None:
    """One-time keys and fallback keys are counted apart by vodozemac: once, the first of each had one id."""
    keys = await alice.ask(PrepareOneTimeKeys())
    assert not keys.one_time_keys.keys() & keys.fallback_keys.keys()

    await alice.ask(MarkKeysPublished(key_ids=tuple(keys.one_time_keys)))

    assert UnpublishedKeys(one_time_keys={}, fallback_keys=keys.fallback_keys) == await alice.ask(PrepareOneTimeKeys())


async def test_ids_may_be_named_twice(alice: Supervisor) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())

    await alice.ask(MarkKeysPublished(key_ids=(*keys.key_ids, *keys.key_ids)))

    assert UnpublishedKeys(one_time_keys={}, fallback_keys={}) == await alice.ask(PrepareOneTimeKeys())


# --- how many are made


@pytest.mark.parametrize(("count", "due"), [(0, 50), (1, 49), (49, 1), (50, 0), (51, 0), (1000, 0)])
async def test_keys_are_made_up_to_fifty_on_the_server_never_more(count: int, due: int, alice: Supervisor) -> None:
    old = await alice.ask(PrepareOneTimeKeys())
    await publish(alice, old, 50)

    await told(alice, count)

    new = await alice.ask(PrepareOneTimeKeys())
    assert due == len(new.one_time_keys)
    assert not public_keys(old) & public_keys(new)
    assert not set(old.key_ids) & set(new.key_ids)


async def test_a_server_that_names_no_count_says_nothing(alice: Supervisor) -> None:
    """It should have none (spec). But some never say, and were given 50 keys at each sync."""
    await publish(alice, await alice.ask(PrepareOneTimeKeys()), 50)
    for sync in ({"next_batch": "a"}, {"next_batch": "b", "device_one_time_keys_count": {"other": 7}}):
        await alice.ask(ReceiveSync(sync=sync))

        assert {} == (await alice.ask(PrepareOneTimeKeys())).one_time_keys


@pytest.mark.parametrize("count", ["5", -1, True, 5.0, [[]]])
async def test_a_count_that_is_no_number_says_nothing_and_the_keys_are_marked(count: Json, alice: Supervisor) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())

    counts = {"signed_curve25519": count}
    await alice.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=counts))

    assert () == (await alice.ask(PrepareOneTimeKeys())).key_ids


@pytest.mark.parametrize("answer", [[], "", "no JSON", b"\xff", "[]", 5])
async def test_what_is_no_answer_is_refused_and_marks_nothing(answer: Json, alice: Supervisor) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())

    async with refused(alice, MalformedMessage):
        await alice.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=answer))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("form", FORMS)
async def test_an_answer_is_taken_whole_or_in_part_parsed_or_as_it_came(
    alice: Supervisor, *, whole: bool, form: Form
) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())
    counts: JsonObject = {"signed_curve25519": 48, "other": 7}
    answer = form({"one_time_key_counts": counts} if whole else counts)

    await alice.ask(MarkKeysPublished(key_ids=keys.key_ids, one_time_key_counts=answer))

    assert 2 == len((await alice.ask(PrepareOneTimeKeys())).key_ids)


async def test_without_counts_in_its_answer_the_server_is_taken_to_have_what_it_took(alice: Supervisor) -> None:
    await publish(alice, await alice.ask(PrepareOneTimeKeys()), None)
    assert {} == (await alice.ask(PrepareOneTimeKeys())).one_time_keys
    await told(alice, 30)
    await publish(alice, await alice.ask(PrepareOneTimeKeys()), None)

    assert {} == (await alice.ask(PrepareOneTimeKeys())).one_time_keys


# --- using them


async def test_a_key_that_was_used_before_it_was_marked_shows_that_the_upload_has_landed(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity
) -> None:
    """The server took it, somebody claimed it, and the answer to the upload was lost."""
    keys = await alice.ask(PrepareOneTimeKeys())
    bob = Peer()
    bob.start_session(me, next(iter(keys.one_time_keys.values())))

    await decrypt(other, bob.event(me))

    new = await other.ask(PrepareOneTimeKeys())
    assert (1, False) == (len(new.one_time_keys), new.count_wanted)
    assert not keys.one_time_keys.keys() & new.one_time_keys.keys()


async def test_a_one_time_key_makes_one_session(alice: Supervisor, me: DeviceIdentity, server: KeyServer) -> None:
    await server.upload(alice)
    key = server.claim_key()
    bob, carol = Peer(), Peer()
    bob.start_session(me, key)
    carol.start_session(me, key)
    await decrypt(alice, bob.event(me))

    (outcome,) = await alice.ask(DecryptToDevice(events=(carol.event(me),)))

    assert isinstance(outcome, UndecryptableToDevice)
    assert isinstance(outcome.error, UnknownOlmSession)


async def test_no_key_id_and_no_key_ever_comes_twice(alice: Supervisor, other: Supervisor) -> None:
    seen_ids: list[str] = []
    seen_keys: list[str] = []
    for turn in range(6):
        keys = await (alice, other)[turn % 2].ask(PrepareOneTimeKeys())
        seen_ids += keys.key_ids
        seen_keys += [key["key"] for key in (*keys.one_time_keys.values(), *keys.fallback_keys.values())]
        await publish((other, alice)[turn % 2], keys, 50)
        await told(alice, 10 * turn, fallback=False)

    assert len(seen_ids) == len(set(seen_ids)) > 6
    assert len(seen_keys) == len(set(seen_keys)) == len(seen_ids)


# --- the fallback key


async def test_a_fallback_key_serves_many_senders(alice: Supervisor, me: DeviceIdentity, server: KeyServer) -> None:
    await server.upload(alice)
    server.one_time_keys.clear()
    key = server.claim_key()

    for number in range(3):
        peer = Peer()
        peer.start_session(me, key)
        assert {"n": number} == (await decrypt(alice, peer.event(me, content={"n": number}))).content


async def test_a_used_up_fallback_key_is_replaced_once_and_works_until_the_next_but_one(
    alice: Supervisor, me: DeviceIdentity, server: KeyServer, clock: Clock
) -> None:
    await server.upload(alice)
    keys: list[Any] = [server.fallback_key]
    for _ in range(2):
        clock.now += HOUR
        await told(alice, 50, fallback=False)
        await server.upload(alice)
        keys.append(server.fallback_key)
        async with unchanged(alice):
            assert {} == (await alice.ask(PrepareOneTimeKeys())).fallback_keys
        assert len(keys) == len({key["key"] for key in keys})

    outcomes: list[type[object]] = []
    for key in keys:
        peer = Peer()
        peer.start_session(me, key)
        (outcome,) = await alice.ask(DecryptToDevice(events=(peer.event(me),)))
        outcomes.append(type(outcome))

    assert UndecryptableToDevice is outcomes[0]
    assert UndecryptableToDevice not in outcomes[1:]


async def test_a_fallback_key_is_replaced_after_seven_days_though_nobody_used_it(
    alice: Supervisor, server: KeyServer, clock: Clock
) -> None:
    await server.upload(alice)
    await told(alice, 50)
    clock.now += 7 * DAY - 1
    assert {} == (await alice.ask(PrepareOneTimeKeys())).fallback_keys

    clock.now += 1

    assert 1 == len((await alice.ask(PrepareOneTimeKeys())).fallback_keys)


async def test_a_fallback_key_that_is_used_at_once_does_not_push_the_one_before_out_within_the_hour(
    alice: Supervisor, me: DeviceIdentity, server: KeyServer, clock: Clock
) -> None:
    """Messages that were encrypted with the one before may be on their way."""
    await server.upload(alice)
    first = server.fallback_key
    assert first is not None
    await told(alice, 50, fallback=False)
    await server.upload(alice)

    clock.now += HOUR - 1
    await told(alice, 50, fallback=False)

    assert {} == (await alice.ask(PrepareOneTimeKeys())).fallback_keys
    bob = Peer()
    bob.start_session(me, first)
    await decrypt(alice, bob.event(me))
    clock.now += 1
    assert 1 == len((await alice.ask(PrepareOneTimeKeys())).fallback_keys)


async def test_a_fallback_key_of_an_upload_in_doubt_is_handed_out_again_and_replaced_when_the_server_has_it(
    alice: Supervisor, me: DeviceIdentity, server: KeyServer
) -> None:
    """Making another one would push out the one that the server may still give out; but it may have been used."""
    first = (await alice.ask(PrepareOneTimeKeys())).fallback_keys
    assert first == (await alice.ask(PrepareOneTimeKeys())).fallback_keys
    assert first == (await alice.ask(PrepareOneTimeKeys())).fallback_keys

    await alice.ask(MarkKeysPublished(key_ids=tuple(first)))

    second = (await alice.ask(PrepareOneTimeKeys())).fallback_keys
    assert first.keys().isdisjoint(second)
    for key in (*first.values(), *second.values()):
        bob = Peer()
        bob.start_session(me, key)
        await decrypt(alice, bob.event(me))
    await alice.ask(MarkKeysPublished(key_ids=tuple(second)))
    await told(alice, 50)
    assert {} == (await alice.ask(PrepareOneTimeKeys())).fallback_keys


async def test_a_fallback_key_that_the_server_says_is_unused_where_the_last_was_used_has_landed(
    alice: Supervisor, server: KeyServer
) -> None:
    await server.upload(alice)
    await told(alice, 50, fallback=False)
    assert 1 == len((await alice.ask(PrepareOneTimeKeys())).fallback_keys)

    await told(alice, 50)

    assert {} == (await alice.ask(PrepareOneTimeKeys())).fallback_keys


async def test_a_fallback_key_that_waits_for_upload_is_not_replaced(alice: Supervisor, clock: Clock) -> None:
    keys = await alice.ask(PrepareOneTimeKeys())

    await told(alice, 0, fallback=False)
    clock.now += 30 * DAY

    assert keys.fallback_keys == (await alice.ask(PrepareOneTimeKeys())).fallback_keys


async def test_a_server_that_does_not_tell_of_fallback_keys_is_not_given_one_after_another(
    alice: Supervisor, server: KeyServer
) -> None:
    await server.upload(alice)

    await alice.ask(ReceiveSync(sync={"next_batch": "s", "device_one_time_keys_count": {"signed_curve25519": 50}}))

    assert {} == (await alice.ask(PrepareOneTimeKeys())).fallback_keys


async def test_a_replay_on_the_fallback_key_starts_no_second_session(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, server: KeyServer
) -> None:
    await server.upload(alice)
    server.one_time_keys.clear()
    bob = Peer()
    bob.start_session(me, server.claim_key())
    event = bob.event(me)
    await decrypt(alice, event)

    for supervisor in (alice, other):
        (outcome,) = await supervisor.ask(DecryptToDevice(events=(event,)))
        assert ReplayedToDevice(claimed_sender=bob.user_id, claimed_sender_key=bob.curve25519) == outcome
