"""CreateOlmSessions and EncryptToDevice: starting sessions, and which of them is used."""

from __future__ import annotations

import json

import pytest
from vodozemac import AnyOlmMessage

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    CreateOlmSessions,
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    EncryptToDevice,
    InvalidSignature,
    Json,
    JsonObject,
    MalformedContent,
    MalformedMessage,
    OlmStateError,
    SignedDeviceKeys,
    UnknownDevice,
    UserId,
)
from tests.operations.conftest import Device
from tests.operations.device import ALICE, FORMS, Form, KeyServer, claim, decrypt, meet, refused, send, unchanged
from tests.operations.peer import Peer, claimed, keys_query, peers
from tests.peer.encoding import unb64

# --- starting sessions


async def test_a_session_is_started_with_each_device_that_a_key_was_claimed_for(
    alice: Supervisor, other: Supervisor
) -> None:
    devices = [*peers(3), *peers(2, "@carol:example.org")]
    await alice.ask(AddDevices(response=keys_query(*devices)))

    created = await alice.ask(CreateOlmSessions(one_time_keys=claimed(devices)))

    assert {peer.address for peer in devices} == set(created.created)
    assert {} == created.rejected
    for number, peer in enumerate(devices):
        assert {"body": "hi"} == (await send((alice, other)[number % 2], peer, "hi"))["content"]


async def test_a_session_can_be_started_with_a_fallback_key(alice: Supervisor, bob: Peer) -> None:
    key = bob.one_time_key(fallback=True)

    await alice.ask(CreateOlmSessions(one_time_keys={bob.user_id: {bob.device_id: key}}))

    assert {"body": "hi"} == (await send(alice, bob, "hi"))["content"]


async def test_what_it_starts_goes_on_in_both_directions(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, bob: Peer
) -> None:
    await claim(alice, bob)
    await send(alice, bob, "one")

    assert {"n": 2} == (await decrypt(other, bob.event(me, content={"n": 2}))).content
    assert {"body": "three"} == (await send(other, bob, "three"))["content"]
    assert {"n": 4} == (await decrypt(alice, bob.event(me, content={"n": 4}))).content
    assert 1 == len(bob.sessions)


def bad_keys(peer: Peer) -> dict[str, tuple[Json, type[OlmStateError]]]:
    """Claimed keys that no session may be started with."""
    good = peer.one_time_key().popitem()[1]
    stranger = Peer(peer.user_id, peer.device_id)
    return {
        "changed": ({**good, "key": stranger.curve25519}, InvalidSignature),
        "unsigned": ({"key": good["key"]}, InvalidSignature),
        "signed-by-another": (stranger.one_time_key().popitem()[1], InvalidSignature),
        "fallback-added": ({**good, "fallback": True}, InvalidSignature),
        "short": (peer.signed({"key": "AAAA"}), MalformedMessage),
        "no-key": (peer.signed({}), MalformedMessage),
        "key-number": (peer.signed({"key": 5}), MalformedMessage),
        "text": (good["key"], MalformedMessage),
        "null": (None, MalformedMessage),
        "zero": (peer.signed({"key": "A" * 43}), MalformedMessage),
    }


@pytest.mark.parametrize("what", bad_keys(Peer()))
async def test_a_bad_key_is_rejected_alone_and_starts_no_session(what: str, alice: Supervisor, bob: Peer) -> None:
    phone = Peer(device_id=DeviceId("PHONE"))
    await alice.ask(AddDevices(response=keys_query(bob, phone)))
    key, error = bad_keys(bob)[what]
    keys = claimed([phone])
    keys[bob.user_id][bob.device_id] = {"signed_curve25519:AAAA": key}

    created = await alice.ask(CreateOlmSessions(one_time_keys=keys))

    assert (phone.address,) == created.created
    assert [bob.address] == list(created.rejected)
    assert isinstance(created.rejected[bob.address], error)
    encrypted = await alice.ask(EncryptToDevice(devices=(bob.address, phone.address), type="m", content={}))
    assert (bob.address,) == encrypted.missing


async def test_a_device_whose_keys_are_not_known_is_rejected(alice: Supervisor) -> None:
    stranger = Peer()

    async with unchanged(alice):
        created = await alice.ask(CreateOlmSessions(one_time_keys=claimed([stranger])))

    assert () == created.created
    error = created.rejected[stranger.address]
    assert isinstance(error, UnknownDevice)
    assert (stranger.user_id, stranger.device_id) == (error.user_id, error.device_id)


async def test_keys_of_algorithms_that_are_not_known_are_passed_over(alice: Supervisor, bob: Peer) -> None:
    keys: JsonObject = {bob.user_id: {bob.device_id: {"curve25519:AAAA": bob.curve25519}, "EMPTY": {}}}

    async with unchanged(alice):
        created = await alice.ask(CreateOlmSessions(one_time_keys=keys))

    assert ((), {}) == (created.created, created.rejected)


@pytest.mark.parametrize(
    "one_time_keys",
    [
        *(None, [], "keys", "[]", b"\xff", {"failures": {}}, {"one_time_keys": []}, {"one_time_keys": None}),
        *({"@bob:example.org": []}, {"@bob:example.org": {"BOBDEV": []}}, {"@bob:example.org": None}),
    ],
)
async def test_what_is_no_answer_to_a_claim_is_refused(one_time_keys: Json, alice: Supervisor, bob: Peer) -> None:
    good = claimed([bob])

    async with refused(alice, MalformedMessage):
        await alice.ask(CreateOlmSessions(one_time_keys=one_time_keys))

    assert (bob.address,) == (await alice.ask(CreateOlmSessions(one_time_keys=good))).created


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("whole", [False, True])
async def test_an_answer_to_a_claim_is_taken_whole_or_in_part_parsed_or_as_it_came(
    alice: Supervisor, bob: Peer, *, whole: bool, form: Form
) -> None:
    """Once, the whole of it was taken for nobody's keys, without a word."""
    keys = claimed([bob])

    answer = form({"failures": {"other.org": {}}, "one_time_keys": keys} if whole else keys)

    assert (bob.address,) == (await alice.ask(CreateOlmSessions(one_time_keys=answer))).created


# --- encrypting


async def test_one_event_reaches_many_devices_and_says_who_sent_it(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity
) -> None:
    devices = peers(5)
    await alice.ask(AddDevices(response=keys_query(*devices)))
    await claim(alice, *devices)
    content = {"body": "ключ 🔐", "n": [1, {"x": None}]}

    addresses = tuple(peer.address for peer in devices)
    encrypted = await other.ask(EncryptToDevice(devices=addresses, type="m.test", content=content))

    assert () == encrypted.missing
    assert {address.device_id for address in addresses} == set(encrypted.messages[devices[0].user_id])
    for peer in devices:
        payload = peer.read(encrypted.messages[peer.user_id][peer.device_id])
        assert {
            "type": "m.test",
            "content": content,
            "sender": me.user_id,
            "keys": {"ed25519": me.ed25519},
            "sender_device_keys": await alice.ask(SignedDeviceKeys()),
            "recipient": peer.user_id,
            "recipient_keys": {"ed25519": peer.ed25519},
        } == payload


async def test_devices_without_a_session_or_known_keys_are_missing(alice: Supervisor, friend: Peer) -> None:
    known = Peer(device_id=DeviceId("KNOWN"))
    await alice.ask(AddDevices(response=keys_query(friend, known)))
    nobody = DeviceAddress(user_id=UserId("@nobody:example.org"), device_id=DeviceId("NONE"))
    devices = (nobody, known.address, friend.address, nobody)

    encrypted = await alice.ask(EncryptToDevice(devices=devices, type="m", content={}))

    assert (nobody, known.address) == encrypted.missing
    assert {friend.user_id: {friend.device_id}} == {user: set(to) for user, to in encrypted.messages.items()}


async def test_nobody_to_encrypt_to_is_no_work(alice: Supervisor) -> None:
    async with unchanged(alice):
        encrypted = await alice.ask(EncryptToDevice(devices=(), type="m", content={}))

    assert ({}, ()) == (encrypted.messages, encrypted.missing)


async def test_a_device_that_is_named_twice_is_sent_one_message(alice: Supervisor, friend: Peer) -> None:
    encrypted = await alice.ask(EncryptToDevice(devices=(friend.address,) * 3, type="m", content={}))

    assert "m" == friend.read(encrypted.messages[friend.user_id][friend.device_id])["type"]


@pytest.mark.parametrize(
    "content",
    [
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": "\ud800"},
        {"\ud800": 1},
        {"x": b"bytes"},
        {"x": {1, 2}},
        {"x": object()},
        {1: "a key that is no string"},
        {None: "another"},
        {"x": {"y": {2.5: "inside"}}},
        ["a list"],
        "text",
        None,
        5,
    ],
    ids=repr,
)
async def test_content_that_is_no_json_object_is_refused_and_moves_no_ratchet(
    content: Json, alice: Supervisor, friend: Peer
) -> None:
    async with refused(alice, MalformedContent) as caught:
        await alice.ask(EncryptToDevice(devices=(friend.address,), type="m", content=content))

    assert "inside" not in str(caught.value)
    assert {"body": "next"} == (await send(alice, friend, "next"))["content"]


async def test_content_that_is_nested_too_deep_or_without_end_is_refused(alice: Supervisor, friend: Peer) -> None:
    endless: JsonObject = {}
    endless["x"] = endless
    deep: Json = {}
    for _ in range(10_000):
        deep = {"x": deep}

    for content in (endless, deep):
        async with refused(alice, MalformedContent):
            await alice.ask(EncryptToDevice(devices=(friend.address,), type="m", content=content))


async def test_a_type_that_utf_8_cannot_hold_is_refused(alice: Supervisor, friend: Peer) -> None:
    async with refused(alice, MalformedContent):
        await alice.ask(EncryptToDevice(devices=(friend.address,), type="\ud800", content={}))


# --- which session


async def test_the_session_with_the_most_recent_successful_decryption_is_used(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    first, second = (bob.start_session(me, server.claim_key()) for _ in range(2))
    for session in (first, second):
        await decrypt(alice, bob.event(me, session=session))
    assert second.session_id == await session_used(alice, bob)

    await decrypt(other, bob.event(me, session=first))

    for supervisor in (alice, other):
        assert first.session_id == await session_used(supervisor, bob)


async def test_encrypting_and_messages_that_fail_do_not_change_which_session_is_used(
    alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    first, second = (bob.start_session(me, server.claim_key()) for _ in range(2))
    event = bob.event(me, session=first)
    for each in (event, bob.event(me, session=second)):
        await decrypt(alice, each)

    await alice.ask(EncryptToDevice(devices=(bob.address,), type="m", content={}))
    with pytest.raises(AssertionError):
        await decrypt(alice, event)  # a replay on the first one

    assert second.session_id == await session_used(alice, bob)


async def test_a_new_session_is_used_until_the_other_device_answers_on_an_old_one(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    old = friend.sessions[-1]
    await claim(alice, friend)
    assert old.session_id != await session_used(alice, friend)

    await decrypt(alice, friend.event(me, session=old))

    assert old.session_id == await session_used(alice, friend)


async def session_used(supervisor: Supervisor, peer: Peer) -> str:
    """The id of the session that a message to ``peer`` comes on."""
    encrypted = await supervisor.ask(EncryptToDevice(devices=(peer.address,), type="m", content={}))
    ciphertext = encrypted.messages[peer.user_id][peer.device_id]["ciphertext"][peer.curve25519]
    message = AnyOlmMessage.from_parts(ciphertext["type"], unb64(ciphertext["body"]))
    if (pre_key := message.to_pre_key()) is not None:
        return pre_key.session_id()
    for session in peer.sessions:
        try:
            session.decrypt(message)
        except ValueError:
            continue
        return session.session_id
    raise AssertionError("no session of the peer's decrypts it")


async def test_a_session_survives_reopening_and_goes_on_where_it_was(
    alice: Supervisor, device: Device, me: DeviceIdentity, friend: Peer
) -> None:
    await send(alice, friend, "before")
    async with device.open() as third:
        assert {"body": "after"} == (await send(third, friend, "after"))["content"]
        assert {"n": 1} == (await decrypt(third, friend.event(me, content={"n": 1}))).content

    assert {"body": "still"} == (await send(alice, friend, "still"))["content"]


async def test_two_supervisors_never_use_a_ratchet_step_twice(
    alice: Supervisor, other: Supervisor, server: KeyServer
) -> None:
    """Whatever order the messages are read in, each can be read."""
    bob = Peer()
    await alice.ask(AddDevices(response=keys_query(bob)))
    await meet(alice, bob, server)
    message = EncryptToDevice(devices=(bob.address,), type="m", content={})
    sent: list[JsonObject] = []
    for number in range(20):
        encrypted = await (alice, other)[number % 3 == 0].ask(message)
        sent.append(encrypted.messages[bob.user_id][bob.device_id])

    bodies = {json.dumps(content["ciphertext"]) for content in sent}
    assert 20 == len(bodies)
    for content in reversed(sent):
        assert "m" == bob.read(content)["type"]


async def test_to_device_messages_to_oneself_need_a_session_like_all_others(alice: Supervisor) -> None:
    keys = await alice.ask(SignedDeviceKeys())
    await alice.ask(AddDevices(response=keys_query(keys)))
    address = DeviceAddress(user_id=ALICE, device_id=keys["device_id"])

    encrypted = await alice.ask(EncryptToDevice(devices=(address,), type="m", content={}))

    assert (address,) == encrypted.missing
