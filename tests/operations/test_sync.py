"""ReceiveSync and SyncToken: what a response brings, and how far it was read."""

from __future__ import annotations

import json

import pytest
from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.actors._wire.untrusted_json import is_object
from olmstate.messages import (
    DecryptedToDevice,
    DecryptRoomEvent,
    DeviceIdentity,
    ExportRoomKeys,
    Json,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    PlainToDevice,
    PrepareOneTimeKeys,
    ReceiveSync,
    ReplayedToDevice,
    RoomKeysReceived,
    SyncReceived,
    SyncToken,
    UndecryptableToDevice,
)
from tests.operations.conftest import Device
from tests.operations.device import FORMS, ROOM, Form, KeyServer, refused, unchanged
from tests.operations.peer import Peer


def sync(next_batch: Json, *events: Json, **fields: Json) -> JsonObject:
    """A response of a server that has all keys that it should have."""
    return {
        "next_batch": next_batch,
        "to_device": {"events": list(events)},
        "device_one_time_keys_count": {"signed_curve25519": 50},
        "device_unused_fallback_key_types": ["signed_curve25519"],
        **fields,
    }


async def test_a_response_is_taken_in_with_its_token_for_all_supervisors(
    alice: Supervisor, other: Supervisor, device: Device, me: DeviceIdentity, friend: Peer
) -> None:
    group = GroupSession()
    session_id = MegolmSessionId(group.session_id)
    plain: JsonObject = {"type": "m.plain", "content": {}}
    broken: JsonObject = {"type": "m.room.encrypted"}
    events = (friend.event(me, "m.room_key", friend.room_key(ROOM, group)), plain, broken)
    with alice.subscribe(RoomKeysReceived) as published:
        received = await alice.ask(ReceiveSync(sync=sync("s1", *events)))
        assert RoomKeysReceived(room_keys=((ROOM, session_id),)) == await published.receive()

    assert [DecryptedToDevice, PlainToDevice, UndecryptableToDevice] == [type(each) for each in received.to_device]
    assert ((ROOM, session_id),) == received.room_keys
    assert received.token_stored
    event = friend.room_event(ROOM, group)
    async with device.open() as third:
        for supervisor in (alice, other, third):
            assert "s1" == await supervisor.ask(SyncToken())
            assert 0 == (await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))).message_index


async def test_the_same_response_again_is_harmless(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    group = GroupSession()
    response = sync("s1", friend.event(me, "m.room_key", friend.room_key(ROOM, group)))
    await alice.ask(ReceiveSync(sync=response, since=None))

    async with unchanged(other):
        again = await other.ask(ReceiveSync(sync=response))

    assert (
        SyncReceived(
            to_device=(ReplayedToDevice(claimed_sender=friend.user_id, claimed_sender_key=friend.curve25519),),
            room_keys=(),
            token_stored=True,
        )
        == again
    )


@pytest.mark.parametrize("form", ["object", "text", "bytes"])
async def test_a_response_may_come_parsed_or_as_it_came(
    form: str, alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    response = sync("s1", friend.event(me, "m.x", {"body": "ключ \u2028"}))
    forms: dict[str, Json] = {
        "object": response,
        "text": json.dumps(response, ensure_ascii=False),
        "bytes": json.dumps(response).encode(),
    }

    received = await alice.ask(ReceiveSync(sync=forms[form]))

    (outcome,) = received.to_device
    assert isinstance(outcome, DecryptedToDevice)
    assert {"body": "ключ \u2028"} == outcome.content


# --- the token


async def test_a_new_store_has_no_token(alice: Supervisor) -> None:
    assert await alice.ask(SyncToken()) is None


async def test_a_request_made_since_the_stored_token_moves_it(alice: Supervisor, other: Supervisor) -> None:
    await alice.ask(ReceiveSync(sync=sync("s1")))

    received = await other.ask(ReceiveSync(sync=sync("s2"), since="s1"))

    assert received.token_stored
    assert "s2" == await alice.ask(SyncToken())


async def test_a_request_made_since_an_older_token_leaves_it_alone_but_its_events_are_taken_in(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    """Two processes have asked since s1; the other one's answer was taken in first."""
    group = GroupSession()
    await alice.ask(ReceiveSync(sync=sync("s1")))
    await other.ask(ReceiveSync(sync=sync("s3"), since="s1"))

    received = await alice.ask(
        ReceiveSync(sync=sync("s2", friend.event(me, "m.room_key", friend.room_key(ROOM, group))), since="s1")
    )

    assert not received.token_stored
    assert 1 == len(received.room_keys)
    assert "s3" == await other.ask(SyncToken())
    exported = await alice.ask(ExportRoomKeys())
    assert 1 == len(exported)


async def test_a_first_request_that_names_a_token_leaves_none_behind(alice: Supervisor) -> None:
    received = await alice.ask(ReceiveSync(sync=sync("s2"), since="s1"))

    assert not received.token_stored
    assert await alice.ask(SyncToken()) is None


async def test_a_response_to_a_request_without_a_token_always_counts(alice: Supervisor) -> None:
    """As after a reset: the homeserver doesn't know the old token any more."""
    await alice.ask(ReceiveSync(sync=sync("s9")))

    assert (await alice.ask(ReceiveSync(sync=sync("s1")))).token_stored

    assert "s1" == await alice.ask(SyncToken())


# --- what is no response

NO_RESPONSES: dict[str, Json] = {
    "null": None,
    "array": [],
    "number": 5,
    "no-token": {"to_device": {"events": []}},
    "token-number": sync(5),
    "token-null": sync(None),
    "token-surrogate": sync("\ud800"),
    "to-device-list": {**sync("s2"), "to_device": []},
    "events-object": {**sync("s2"), "to_device": {"events": {}}},
    "events-text": {**sync("s2"), "to_device": {"events": "x"}},
    "text": "no JSON",
    "empty-text": "",
    "bytes": b"\xff",
    "json-array": "[]",
    "json-nan": '{"next_batch":"s2","x":NaN}',
    "nested-text": '{"next_batch":"s2","x":' + "[" * 100_000 + "]" * 100_000 + "}",
    "nested-bytes": b'{"next_batch":"s2","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("what", NO_RESPONSES)
async def test_what_is_no_response_is_refused_and_nothing_of_it_taken_in(
    what: str, alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    response = NO_RESPONSES[what]
    event = friend.event(me, content={"n": 1})
    if is_object(response) and response.get("to_device") == {"events": []}:
        response = {**response, "to_device": {"events": [event]}}
    await alice.ask(ReceiveSync(sync=sync("s1")))

    async with refused(alice, MalformedMessage):
        await alice.ask(ReceiveSync(sync=response))

    assert "s1" == await alice.ask(SyncToken())
    (outcome,) = (await alice.ask(ReceiveSync(sync=sync("s2", event)))).to_device
    assert isinstance(outcome, DecryptedToDevice)


ODD_FIELDS: dict[str, JsonObject] = {
    "counts-list": {"device_one_time_keys_count": []},
    "counts-text": {"device_one_time_keys_count": "50"},
    "count-text": {"device_one_time_keys_count": {"signed_curve25519": "50"}},
    "count-bool": {"device_one_time_keys_count": {"signed_curve25519": True}},
    "count-float": {"device_one_time_keys_count": {"signed_curve25519": 50.0}},
    "count-negative": {"device_one_time_keys_count": {"signed_curve25519": -1}},
    "count-list": {"device_one_time_keys_count": {"signed_curve25519": [[]]}},
    "fallback-object": {"device_unused_fallback_key_types": {}},
    "fallback-numbers": {"device_unused_fallback_key_types": [1]},
    "fallback-text": {"device_unused_fallback_key_types": "signed_curve25519"},
}


@pytest.mark.parametrize("odd", ODD_FIELDS.values(), ids=ODD_FIELDS)
@pytest.mark.parametrize("form", FORMS)
async def test_an_odd_count_costs_that_field_alone(
    alice: Supervisor,
    me: DeviceIdentity,
    friend: Peer,
    server: KeyServer,
    *,
    odd: JsonObject,
    form: Form,
) -> None:
    """Once, it cost the whole response, each time that it came."""
    await server.upload(alice)
    response = {**sync("s2", friend.event(me)), **odd}

    received = await alice.ask(ReceiveSync(sync=form(response)))

    assert [DecryptedToDevice] == [type(outcome) for outcome in received.to_device]
    assert "s2" == await alice.ask(SyncToken())
    assert 1 >= len((await alice.ask(PrepareOneTimeKeys())).key_ids)


@pytest.mark.parametrize(
    "response",
    [
        {"next_batch": "s1"},
        {"next_batch": "s1", "to_device": None, "device_one_time_keys_count": None},
        {"next_batch": "s1", "to_device": {}, "device_unused_fallback_key_types": None, "rooms": "whatever"},
        {"next_batch": "s1", "to_device": {"events": None}},
        {"next_batch": "", "device_one_time_keys_count": {"signed_curve25519": None}},
        {"next_batch": "s1", "device_one_time_keys_count": {"signed_curve25519": 2**70}},
    ],
)
async def test_fields_that_are_missing_or_null_are_no_fault(response: JsonObject, alice: Supervisor) -> None:
    received = await alice.ask(ReceiveSync(sync=response))

    assert ((), ()) == (received.to_device, received.room_keys)
    assert response["next_batch"] == await alice.ask(SyncToken())
    await alice.ask(PrepareOneTimeKeys())


async def test_an_event_that_is_nested_deep_does_not_cost_the_others(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    deep: Json = []
    for _ in range(300):
        deep = [deep]
    response = sync("s1", {"type": "m.x", "content": deep}, friend.event(me))

    for form in (response, json.dumps(response)):
        first, second = (await alice.ask(ReceiveSync(sync=form))).to_device
        assert isinstance(first, UndecryptableToDevice)
        assert isinstance(second, DecryptedToDevice | ReplayedToDevice)


async def test_room_events_in_a_response_are_not_looked_at(alice: Supervisor, server: KeyServer) -> None:
    await server.upload(alice)
    response = sync("s1", rooms={"join": {ROOM: {"timeline": {"events": [None, 5, {"type": "m.room.encrypted"}]}}}})

    assert () == (await alice.ask(ReceiveSync(sync=response))).to_device
