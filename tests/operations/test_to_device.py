"""DecryptToDevice: what is decrypted, what is believed, and what is a replay."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import pytest
from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    DecryptedToDevice,
    DecryptionError,
    DecryptRoomEvent,
    DecryptToDevice,
    DeviceId,
    DeviceIdentity,
    ExportRoomKeys,
    Json,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    MismatchedRecipient,
    MismatchedSender,
    PlainToDevice,
    ReplayedToDevice,
    RoomKeysReceived,
    SenderState,
    UndecryptableToDevice,
    UnknownOlmSession,
    UnknownSender,
    UserId,
)
from tests.operations.conftest import Device
from tests.operations.device import ROOM, KeyServer, decrypt, meet, send, unchanged
from tests.operations.peer import MEGOLM, OLM, Peer, keys_query
from tests.operations.relatives import relatives
from tests.operations.spelling import spell_olm_message, spell_pre_key_message, with_keys_of, without_keys
from tests.peer.encoding import b64, unb64

MALLORY = UserId("@mallory:example.org")


async def outcome_of(supervisor: Supervisor, event: Json) -> Any:  # noqa: ANN401 - each test knows which
    """What becomes of one event."""
    (outcome,) = await supervisor.ask(DecryptToDevice(events=(event,)))
    return outcome


def nested(depth: int) -> Json:
    """Arrays in arrays."""
    value: Json = []
    for _ in range(depth):
        value = [value]
    return value


def _with_bit_255(key: str) -> str:
    """The key with the bit set that Curve25519 ignores."""
    octets = unb64(key)
    return b64(octets[:31] + bytes([octets[31] | 0x80]))


# --- the good cases


async def test_messages_are_decrypted_whatever_their_type_and_whoever_is_asked(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    bob.start_session(me, server.claim_key())
    pre_key = bob.event(me, "m.first", {"n": 1})

    first = await decrypt(other, pre_key)
    assert {"body": "hello"} == (await send(alice, bob, "hello"))["content"]  # now both use the session
    second = await decrypt(alice, bob.event(me, "m.second", {"n": 2}))

    for outcome, event_type, content in ((first, "m.first", {"n": 1}), (second, "m.second", {"n": 2})):
        assert outcome == DecryptedToDevice(
            type=event_type,
            content=content,
            sender_state=SenderState.DEVICE,
            sender_device=bob.identity,
            claimed_sender=bob.user_id,
            sender_key=bob.curve25519,
        )


async def test_messages_that_overtook_one_another_are_all_decrypted(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    events = [friend.event(me, content={"n": number}) for number in range(6)]

    for number in (5, 0, 3, 1, 4, 2):
        supervisor = (alice, other)[number % 2]
        assert {"n": number} == (await decrypt(supervisor, events[number])).content


async def test_one_command_may_carry_many_events_in_any_state(
    alice: Supervisor, me: DeviceIdentity, server: KeyServer
) -> None:
    """Old and new sessions, plain and broken events, and replays, of several devices, all at once."""
    await server.upload(alice)
    old, new, crowd = Peer(), Peer(device_id=DeviceId("NEW")), Peer(device_id=DeviceId("CROWD"))
    await alice.ask(AddDevices(response=keys_query(old, new, crowd)))
    await meet(alice, old, server)
    new.start_session(me, server.claim_key())
    crowd.start_session(me, server.claim_key())
    events: list[Json] = [
        new.event(me, content={"n": 0}),
        {"type": "m.plain", "content": {"n": 1}, "sender": old.user_id},
        old.event(me, content={"n": 2}),
        new.event(me, content={"n": 3}),
        None,
        crowd.event(me, content={"n": 5}),
    ]
    events.append(events[0])

    outcomes = await alice.ask(DecryptToDevice(events=tuple(events)))

    decrypted = {
        position: outcome.content["n"]
        for position, outcome in enumerate(outcomes)
        if isinstance(outcome, DecryptedToDevice)
    }
    assert {0: 0, 2: 2, 3: 3, 5: 5} == decrypted
    assert PlainToDevice(event=events[1]) == outcomes[1]
    assert isinstance(outcomes[4], UndecryptableToDevice)
    assert ReplayedToDevice(claimed_sender=new.user_id, claimed_sender_key=new.curve25519) == outcomes[6]


async def test_no_events_are_no_work(alice: Supervisor) -> None:
    async with unchanged(alice):
        assert () == await alice.ask(DecryptToDevice(events=()))


async def test_of_two_messages_on_one_one_time_key_the_first_one_gets_it(
    alice: Supervisor, me: DeviceIdentity, server: KeyServer
) -> None:
    await server.upload(alice)
    key = server.claim_key()
    bob, carol = Peer(), Peer(user_id=UserId("@carol:example.org"))
    bob.start_session(me, key)
    carol.start_session(me, key)

    first, second = await alice.ask(DecryptToDevice(events=(bob.event(me), carol.event(me))))

    assert isinstance(first, DecryptedToDevice)
    assert isinstance(second, UndecryptableToDevice)
    assert isinstance(second.error, UnknownOlmSession)


async def test_a_broken_copy_does_not_cost_the_one_time_key(
    alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    bob.start_session(me, server.claim_key())
    event = bob.event(me)
    broken = json.loads(json.dumps(event))
    ciphertext = broken["content"]["ciphertext"][me.curve25519]
    ciphertext["body"] = ciphertext["body"][:-8] + "AAAAAAAA"

    assert isinstance(await outcome_of(alice, broken), UndecryptableToDevice)

    assert {} == (await decrypt(alice, event)).content


# --- sessions


async def test_two_new_sessions_of_one_device_both_live(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    sessions = [bob.start_session(me, server.claim_key()) for _ in range(2)]
    for supervisor, session in zip((alice, other), sessions, strict=True):
        await decrypt(supervisor, bob.event(me, session=session))

    for session in sessions:
        assert {"n": 1} == (await decrypt(alice, bob.event(me, content={"n": 1}, session=session))).content


async def test_ten_sessions_of_a_device_are_kept_and_those_longest_unused_go_first(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    sessions = [bob.start_session(me, server.claim_key()) for _ in range(10)]
    for session in sessions:
        await decrypt(alice, bob.event(me, session=session))
    await decrypt(other, bob.event(me, session=sessions[0]))  # now the second is the one longest unused
    sessions.append(bob.start_session(me, server.claim_key()))
    await decrypt(alice, bob.event(me, session=sessions[-1]))

    alive = [
        isinstance(await outcome_of(other, bob.event(me, session=session)), DecryptedToDevice) for session in sessions
    ]

    # its messages still name their one-time key, which is used up
    assert [True, False, *[True] * 9] == alive


async def test_a_dropped_session_is_not_made_anew_from_a_replay(
    alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    fallback = server.fallback_key
    assert fallback is not None
    first = bob.start_session(me, fallback)
    event = bob.event(me, session=first)
    await decrypt(alice, event)
    for _ in range(10):
        await decrypt(alice, bob.event(me, session=bob.start_session(me, fallback)))

    assert isinstance(await outcome_of(alice, event), ReplayedToDevice)


SPELLINGS: list[Callable[[str], str]] = [lambda key: key + "=", _with_bit_255]


@pytest.mark.parametrize("spell", SPELLINGS, ids=["padding", "bit-255"])
async def test_a_message_is_a_replay_however_its_sender_key_is_spelt(
    spell: Callable[[str], str], alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    """Once, a server could have a message on a fallback key decrypted again: it looked like another device's."""
    await server.upload(alice)
    assert server.fallback_key is not None
    bob.start_session(me, server.fallback_key)
    event = bob.event(me)
    await decrypt(alice, event)
    event["content"]["sender_key"] = spell(event["content"]["sender_key"])

    async with unchanged(alice):
        assert not isinstance(await outcome_of(alice, event), DecryptedToDevice)


REWRITES: dict[str, Callable[[bytes], bytes]] = {
    "number": lambda body: body + b"\x28\x01",
    "bytes": lambda body: body + b"\x2a\x01a",
    "fixed32": lambda body: body + b"\x2d1234",
    "fixed64": lambda body: body + b"\x2912345678",
    "key-twice": lambda body: body[:1] + body[1:35] + body[1:],
    "other-order": lambda body: body[:1] + body[35:69] + body[1:35] + body[69:],
    "base-key-bit-255": lambda body: body[:68] + bytes([body[68] | 0x80]) + body[69:],
    "within": lambda body: with_keys_of(body, without_keys(body)[:-8] + b"\x28\x01" + without_keys(body)[-8:]),
    **{f"random-{seed}": partial(spell_pre_key_message, rng=random.Random(seed)) for seed in range(5)},
}
"""The same message to vodozemac, in other bytes."""


def _instead(new: bytes, old: bytes) -> bytes:
    """Something else altogether."""
    assert new != old
    return new


def _rewritten(event: JsonObject, me: DeviceIdentity, rewrite: Callable[[bytes], bytes], **changes: Json) -> JsonObject:
    """The event with another body."""
    copy: JsonObject = json.loads(json.dumps(event))
    ciphertext = copy["content"]["ciphertext"][me.curve25519]
    ciphertext.update(body=b64(rewrite(unb64(ciphertext["body"]))), **changes)
    return copy


@pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES)
async def test_a_replay_that_was_written_anew_is_a_replay_whether_its_session_is_there_or_was_dropped(
    rewrite: Callable[[bytes], bytes], alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    """Once, a replay was known by bytes that anybody could change."""
    await server.upload(alice)
    assert server.fallback_key is not None
    event = bob.event(me, session=bob.start_session(me, server.fallback_key))
    await decrypt(alice, event)
    spelt = _rewritten(event, me, rewrite)
    assert isinstance(await outcome_of(alice, spelt), ReplayedToDevice)

    for _ in range(10):
        await decrypt(alice, bob.event(me, session=bob.start_session(me, server.fallback_key)))

    assert isinstance(await outcome_of(alice, spelt), ReplayedToDevice)


async def test_a_normal_message_that_was_written_anew_is_a_replay(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    event = friend.event(me)
    await decrypt(alice, event)
    for seed in range(5):
        spelt = _rewritten(event, me, partial(spell_olm_message, rng=random.Random(seed)))
        assert isinstance(await outcome_of(other, spelt), ReplayedToDevice)


async def test_a_message_with_or_without_a_pre_key_messages_keys_is_the_same_message(
    alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    bob.start_session(me, server.claim_key())
    events = [bob.event(me), bob.event(me)]
    bare = [_rewritten(event, me, without_keys, type=1) for event in events]
    await decrypt(alice, events[0])
    await decrypt(alice, bare[1])

    for again in (bare[0], events[1]):
        assert isinstance(await outcome_of(alice, again), ReplayedToDevice)


async def test_a_session_begins_once_whatever_was_decrypted_on_it(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    """A message that came without its keys was known as a normal one only, and gone from memory with its session."""
    await server.upload(alice)
    fallback = server.fallback_key
    assert fallback is not None
    session = bob.start_session(me, fallback)
    await decrypt(alice, bob.event(me, session=session))
    event, late = bob.event(me, session=session), bob.event(me, session=session)
    await decrypt(alice, _rewritten(event, me, without_keys, type=1))
    for _ in range(10):
        await decrypt(alice, bob.event(me, session=bob.start_session(me, fallback)))

    for supervisor in (alice, other):
        for again in (event, late):
            outcome = await outcome_of(supervisor, again)
            assert isinstance(outcome, UndecryptableToDevice)
            assert isinstance(outcome.error, UnknownOlmSession)


@pytest.mark.parametrize("which", ["base-key", "identity-key", "both"])
async def test_a_session_begins_once_whatever_relatives_of_its_keys_name_it(
    which: str, alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    """A point of low order changes no secret, and the key that it is added to looks like another's."""
    await server.upload(alice)
    fallback = server.fallback_key
    assert fallback is not None
    session = bob.start_session(me, fallback)
    await decrypt(alice, bob.event(me, session=session))
    # which is believed of anybody, and was known only for as long as its session, since it came without its keys
    event = bob.event(me, "m.room_key", bob.room_key(ROOM, GroupSession()), session=session)
    await decrypt(alice, _rewritten(event, me, without_keys, type=1))
    for _ in range(10):
        await decrypt(alice, bob.event(me, session=bob.start_session(me, fallback)))
    ours = unb64(event["content"]["ciphertext"][me.curve25519]["body"])
    base_keys = relatives(ours[37:69]) if which != "identity-key" else [ours[37:69]]
    identity_keys = relatives(ours[71:103]) if which != "base-key" else [ours[71:103]]
    assert 4 <= max(len(base_keys), len(identity_keys))

    for base_key, identity_key in zip(cycle(base_keys), identity_keys + identity_keys[:1] * 8, strict=False):
        body = ours[:37] + base_key + ours[69:71] + identity_key + ours[103:]
        copy = _rewritten(event, me, partial(_instead, body))
        copy["content"]["sender_key"] = b64(identity_key)
        outcome = await outcome_of(alice, copy)
        assert isinstance(outcome, UndecryptableToDevice | ReplayedToDevice), outcome


# --- replays


async def test_a_replay_is_recognised_by_every_supervisor_and_after_reopening(
    alice: Supervisor, other: Supervisor, device: Device, me: DeviceIdentity, server: KeyServer
) -> None:
    bob = Peer()
    await alice.ask(AddDevices(response=keys_query(bob)))
    await server.upload(alice)
    bob.start_session(me, server.claim_key())
    events = [bob.event(me)]
    await decrypt(alice, events[0])
    await send(alice, bob, "so that the next one is a normal message")
    events.append(bob.event(me))
    await decrypt(other, events[1])

    async with device.open() as third:
        for supervisor in (alice, other, third):
            for event in events:
                async with unchanged(supervisor):
                    replay = ReplayedToDevice(claimed_sender=bob.user_id, claimed_sender_key=bob.curve25519)
                    assert replay == await outcome_of(supervisor, event)


async def test_an_undecryptable_message_is_no_replay_the_second_time(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    stranger = Peer()
    stranger.start_session(me, friend.one_time_key().popitem()[1])  # not a key of ours
    event = stranger.event(me)

    for _ in range(2):
        async with unchanged(alice):
            outcome = await outcome_of(alice, event)
            assert isinstance(outcome, UndecryptableToDevice)
            assert isinstance(outcome.error, UnknownOlmSession)


async def test_a_message_whose_payload_lies_is_no_replay_the_second_time(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    event = friend.event(me, sender=MALLORY)

    for _ in range(2):
        assert isinstance(await outcome_of(alice, event), UndecryptableToDevice)


# --- payloads that lie

LIES: dict[str, tuple[dict[str, Json], type[DecryptionError]]] = {
    "another-sender": ({"sender": MALLORY}, MismatchedSender),
    "no-sender": ({"sender": None}, MismatchedSender),
    "another-recipient": ({"recipient": MALLORY}, MismatchedRecipient),
    "no-recipient": ({"recipient": None}, MismatchedRecipient),
    "another-recipient-key": ({"recipient_keys": {"ed25519": "A" * 43}}, MismatchedRecipient),
    "no-recipient-keys": ({"recipient_keys": None}, MalformedMessage),
    "recipient-keys-list": ({"recipient_keys": []}, MalformedMessage),
    "another-key": ({"keys": {"ed25519": "A" * 43}}, MismatchedSender),
    "no-keys": ({"keys": None}, MalformedMessage),
    "no-ed25519": ({"keys": {}}, MalformedMessage),
    "key-number": ({"keys": {"ed25519": 5}}, MalformedMessage),
    "type-number": ({"type": 5}, MalformedMessage),
    "no-type": ({"type": None}, MalformedMessage),
    "no-content": ({"content": None}, MalformedMessage),
    "content-list": ({"content": []}, MalformedMessage),
    "sender-device-keys-text": ({"sender_device_keys": "keys"}, MalformedMessage),
    "type-surrogate": ({"type": "\ud800"}, MalformedMessage),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_payload_that_does_not_agree_is_not_believed_and_the_session_goes_on(
    lie: str, alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    changes, error = LIES[lie]
    fields = {**friend.payload(me, "m.test", {}), **changes}
    said = {field: value for field, value in fields.items() if value is not None}

    outcome = await outcome_of(alice, friend.olm_event(me, json.dumps(said).encode()))

    assert isinstance(outcome, UndecryptableToDevice)
    assert isinstance(outcome.error, error), outcome.error
    assert (friend.user_id, friend.curve25519) == (outcome.claimed_sender, outcome.claimed_sender_key)
    assert {"n": 1} == (await decrypt(other, friend.event(me, content={"n": 1}))).content


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"not JSON",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"type":NaN}',
        b'{"type":"m","content":{"n":1e999}}',
        b"[" * 100_000,
        b'{"content":' * 100_000,
    ],
    ids=["empty", "text", "no-utf8", "array", "null", "nan", "infinity", "brackets", "braces"],
)
async def test_a_plaintext_that_is_no_event_is_malformed_and_the_session_goes_on(
    plaintext: bytes, alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    outcome = await outcome_of(alice, friend.olm_event(me, plaintext))

    assert isinstance(outcome, UndecryptableToDevice)
    assert isinstance(outcome.error, MalformedMessage)
    assert {} == (await decrypt(alice, friend.event(me))).content


async def test_an_envelope_that_names_another_sender_is_not_believed(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    outcome = await outcome_of(alice, {**friend.event(me), "sender": MALLORY})

    assert isinstance(outcome, UndecryptableToDevice)
    assert isinstance(outcome.error, MismatchedSender)


async def test_a_room_key_in_a_payload_that_lies_is_not_stored(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    group = GroupSession()

    outcome = await outcome_of(alice, friend.event(me, "m.room_key", friend.room_key(ROOM, group), sender=MALLORY))

    assert isinstance(outcome, UndecryptableToDevice)
    assert () == await alice.ask(ExportRoomKeys())


# --- the sender's device


async def test_a_room_key_may_come_from_a_device_that_is_not_known_and_names_nobody(
    alice: Supervisor, me: DeviceIdentity, server: KeyServer
) -> None:
    await server.upload(alice)
    stranger = Peer()
    stranger.start_session(me, server.claim_key())
    group = GroupSession()

    event = stranger.event(me, "m.room_key", stranger.room_key(ROOM, group), sender_device_keys=None)
    outcome = await decrypt(alice, event)

    assert (SenderState.UNKNOWN_DEVICE, None) == (outcome.sender_state, outcome.sender_device)
    assert (stranger.user_id, stranger.curve25519) == (outcome.claimed_sender, outcome.sender_key)
    assert stranger.ed25519 not in repr(outcome)
    event = stranger.room_event(ROOM, group, {"n": 1})
    info = (await alice.ask(DecryptRoomEvent(room_id=ROOM, event=event))).encryption_info
    assert (SenderState.UNKNOWN_DEVICE, None, None) == (info.sender_state, info.sender_device, info.claimed_device)


async def test_what_is_no_room_key_waits_for_its_senders_device_to_be_known(
    alice: Supervisor, me: DeviceIdentity, server: KeyServer
) -> None:
    await server.upload(alice)
    stranger = Peer()
    stranger.start_session(me, server.claim_key())
    event = stranger.event(me, "m.test", {"n": 1}, sender_device_keys=None)

    outcome = await outcome_of(alice, event)

    assert isinstance(outcome, UndecryptableToDevice)
    assert isinstance(outcome.error, UnknownSender)
    assert stranger.user_id == outcome.error.user_id


@pytest.mark.parametrize("event_type", ["m.test", "m.dummy", "m.room_key"])
async def test_a_sender_that_sends_its_device_keys_along_is_believed_and_names_nobody(
    event_type: str, alice: Supervisor, me: DeviceIdentity, server: KeyServer
) -> None:
    """They show that it has the keys; anybody can make some and say that they are of any device of anybody's."""
    await server.upload(alice)
    stranger = Peer()
    stranger.start_session(me, server.claim_key())

    outcome = await decrypt(alice, stranger.event(me, event_type))

    assert (SenderState.UNKNOWN_DEVICE, None) == (outcome.sender_state, outcome.sender_device)


def wrong_device_keys(peer: Peer) -> dict[str, tuple[Json, type[DecryptionError]]]:
    """``sender_device_keys`` that aren't the sender's."""
    twin = Peer(peer.user_id, peer.device_id)
    stranger = Peer(user_id=MALLORY)
    keys = peer.device_keys()
    return {
        "another-device": (twin.device_keys(), MismatchedSender),
        "another-user": (stranger.device_keys(), MalformedMessage),
        "changed": ({**keys, "algorithms": []}, MismatchedSender),
        "unsigned": ({**keys, "signatures": {}}, MismatchedSender),
        "another-identity-key": (
            peer.device_keys(keys={**keys["keys"], f"curve25519:{peer.device_id}": twin.curve25519}),
            MismatchedSender,
        ),
        "no-device-id": ({"user_id": peer.user_id}, MalformedMessage),
        "array": ([keys], MalformedMessage),
        "nested": ({**keys, "unsigned": nested(200)}, MalformedMessage),
    }


@pytest.mark.parametrize("known", ["known", "unknown"])
@pytest.mark.parametrize("what", wrong_device_keys(Peer()))
async def test_device_keys_that_are_not_the_senders_are_not_believed(
    what: str, known: str, alice: Supervisor, me: DeviceIdentity, server: KeyServer
) -> None:
    bob = Peer()
    if known == "known":
        await alice.ask(AddDevices(response=keys_query(bob)))
    await meet_unknown(alice, bob, me, server)
    keys, error = wrong_device_keys(bob)[what]

    outcome = await outcome_of(alice, bob.event(me, sender_device_keys=keys))

    assert isinstance(outcome, UndecryptableToDevice)
    assert isinstance(outcome.error, error), outcome.error


async def test_nobody_passes_for_a_known_device_by_naming_keys_of_his_own_after_it(
    alice: Supervisor, me: DeviceIdentity, server: KeyServer
) -> None:
    """As a homeserver could: it makes a device of any name, whose keys it has itself."""
    bob = Peer()
    impostor = Peer(bob.user_id, bob.device_id)
    await alice.ask(AddDevices(response=keys_query(bob)))
    await server.upload(alice)
    impostor.start_session(me, server.claim_key())

    outcome = await outcome_of(alice, impostor.event(me))

    assert isinstance(outcome, UndecryptableToDevice)
    assert isinstance(outcome.error, MismatchedSender)
    assert isinstance((await outcome_of(alice, impostor.event(me, sender_device_keys=None))).error, UnknownSender)


async def meet_unknown(alice: Supervisor, bob: Peer, me: DeviceIdentity, server: KeyServer) -> None:
    """Give both a session though the device's keys may be unknown."""
    await server.upload(alice)
    bob.start_session(me, server.claim_key())
    await decrypt(alice, bob.event(me))


# --- room keys and notices in them


async def test_a_room_key_is_stored_and_its_secret_left_out_of_the_reply(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    group = GroupSession()
    room_key = friend.room_key(ROOM, group)
    with alice.subscribe(RoomKeysReceived) as events:
        outcome = await decrypt(alice, friend.event(me, "m.room_key", room_key))

        assert {field: value for field, value in room_key.items() if field != "session_key"} == outcome.content
        assert RoomKeysReceived(room_keys=((ROOM, MegolmSessionId(group.session_id)),)) == await events.receive()

    decrypted = await other.ask(DecryptRoomEvent(room_id=ROOM, event=friend.room_event(ROOM, group, {"body": "hi"})))
    assert {"body": "hi"} == decrypted.content
    info = decrypted.encryption_info
    assert (SenderState.DEVICE, friend.identity) == (info.sender_state, info.sender_device)
    assert friend.user_id == info.claimed_sender
    assert (friend.curve25519, friend.ed25519) == (info.claimed_curve25519, info.claimed_ed25519)
    assert not info.imported


def no_room_keys(peer: Peer) -> dict[str, JsonObject]:
    """Contents that are no room keys."""
    group, another = GroupSession(), GroupSession()
    good = peer.room_key(ROOM, group)
    return {
        "another-session": {**good, "session_id": another.session_id},
        "another-algorithm": {**good, "algorithm": OLM},
        "no-algorithm": {**good, "algorithm": None},
        "no-room": {**good, "room_id": None},
        "room-number": {**good, "room_id": 7},
        "room-surrogate": {**good, "room_id": "\ud800"},
        "broken-key": {**good, "session_key": good["session_key"][:-4]},
        "no-base64": {**good, "session_key": "!"},
        "no-key": {**good, "session_key": None},
        "key-list": {**good, "session_key": []},
        "empty": {},
    }


@pytest.mark.parametrize("what", no_room_keys(Peer()))
async def test_what_is_no_room_key_is_decrypted_and_not_stored(
    what: str, alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    content = no_room_keys(friend)[what]

    outcome = await decrypt(alice, friend.event(me, "m.room_key", content))

    assert {field: value for field, value in content.items() if field != "session_key"} == outcome.content
    assert () == await alice.ask(ExportRoomKeys())


@pytest.mark.parametrize("event_type", ["m.forwarded_room_key", "m.room_key.other"])
async def test_a_room_key_that_nobody_asked_for_is_not_stored(
    event_type: str, alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    group = GroupSession()

    await decrypt(alice, friend.event(me, event_type, friend.room_key(ROOM, group)))

    assert () == await alice.ask(ExportRoomKeys())


async def test_a_room_key_that_came_in_the_clear_is_not_stored(alice: Supervisor, bob: Peer) -> None:
    event = {"type": "m.room_key", "sender": bob.user_id, "content": bob.room_key(ROOM, GroupSession())}

    assert PlainToDevice(event=event) == await outcome_of(alice, event)

    assert () == await alice.ask(ExportRoomKeys())


# --- events that are none


def envelopes(peer: Peer, me: DeviceIdentity) -> dict[str, tuple[Json, type[DecryptionError], bool]]:
    """Broken events, what they are refused with, and whether their sender can be told."""
    event = peer.event(me)
    content = event["content"]
    ciphertext = content["ciphertext"][me.curve25519]

    def with_content(**changes: Json) -> JsonObject:
        return {**event, "content": {**content, **changes}}

    def with_ciphertext(**changes: Json) -> JsonObject:
        return with_content(ciphertext={me.curve25519: {**ciphertext, **changes}})

    body = ciphertext["body"]
    return {
        "null": (None, MalformedMessage, False),
        "text": ("event", MalformedMessage, False),
        "empty": ({}, MalformedMessage, False),
        "no-type": ({**event, "type": None}, MalformedMessage, True),
        "type-number": ({**event, "type": 5}, MalformedMessage, True),
        "no-sender": ({**event, "sender": None}, MalformedMessage, False),
        "sender-number": ({**event, "sender": 5}, MalformedMessage, False),
        "sender-surrogate": ({**event, "sender": "@\ud800"}, MalformedMessage, False),
        "no-content": ({**event, "content": None}, MalformedMessage, True),
        "another-algorithm": (with_content(algorithm=MEGOLM), MalformedMessage, True),
        "no-sender-key": (with_content(sender_key=None), MalformedMessage, True),
        "short-sender-key": (with_content(sender_key="AAAA"), MalformedMessage, True),
        "long-sender-key": (with_content(sender_key=b64(bytes(33))), MalformedMessage, True),
        "sender-key-not-reduced": (
            with_content(sender_key=_with_bit_255(content["sender_key"])),
            MalformedMessage,
            True,
        ),
        "sender-key-no-base64": (with_content(sender_key="?" * 43), MalformedMessage, True),
        "another-sender-key": (with_content(sender_key=Peer().curve25519), UnknownOlmSession, True),
        "for-others": (with_content(ciphertext={"A" * 43: ciphertext}), MismatchedRecipient, True),
        "ciphertext-list": (with_content(ciphertext=[]), MalformedMessage, True),
        "ciphertext-null": (with_content(ciphertext={me.curve25519: None}), MalformedMessage, True),
        "message-type-2": (with_ciphertext(type=2), MalformedMessage, True),
        "message-type-negative": (with_ciphertext(type=-1), MalformedMessage, True),
        "message-type-bool": (with_ciphertext(type=True), MalformedMessage, True),
        "message-type-text": (with_ciphertext(type="1"), MalformedMessage, True),
        "message-type-huge": (with_ciphertext(type=2**70), MalformedMessage, True),
        "pre-key-as-normal": (with_ciphertext(type=1 - ciphertext["type"]), MalformedMessage, True),
        "no-body": (with_ciphertext(body=None), MalformedMessage, True),
        "body-empty": (with_ciphertext(body=""), MalformedMessage, True),
        "body-no-base64": (with_ciphertext(body="ä" + body), MalformedMessage, True),
        "body-cut-off": (with_ciphertext(body=body[:-4]), MalformedMessage, True),
        "body-surrogate": (with_ciphertext(body="\ud800"), MalformedMessage, True),
        "nested": ({**event, "type": "m.x", "unsigned": nested(10_000)}, MalformedMessage, True),
        "content-nested": (with_content(ciphertext=nested(10_000)), MalformedMessage, True),
    }


def strangers() -> tuple[Peer, DeviceIdentity]:
    """Two devices with a session, for the names of the cases only."""
    peer, stranger = Peer(), Peer()
    identity = DeviceIdentity(
        user_id=stranger.user_id,
        device_id=stranger.device_id,
        curve25519=stranger.curve25519,
        ed25519=stranger.ed25519,
    )
    peer.start_session(identity, stranger.one_time_key().popitem()[1])
    return peer, identity


@pytest.mark.parametrize("what", envelopes(*strangers()))
async def test_a_broken_event_is_refused_alone_and_names_its_sender(
    what: str, alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    """Once, the sender of an event that was nested too deep, or had no type, was not told."""
    await server.upload(alice)
    bob.start_session(me, server.claim_key())
    event, error, named = envelopes(bob, me)[what]
    good = bob.event(me, content={"n": 1})

    broken, decrypted = await alice.ask(DecryptToDevice(events=(event, good)))

    assert isinstance(broken, UndecryptableToDevice)
    assert isinstance(broken.error, error), broken.error
    assert (bob.user_id if named else None) == broken.claimed_sender
    assert isinstance(decrypted, DecryptedToDevice)
    assert {"n": 1} == decrypted.content


async def test_broken_events_alone_change_nothing(
    alice: Supervisor, me: DeviceIdentity, bob: Peer, server: KeyServer
) -> None:
    await server.upload(alice)
    bob.start_session(me, server.claim_key())

    for event, _, _ in envelopes(bob, me).values():
        async with unchanged(alice):
            await alice.ask(DecryptToDevice(events=(event, event)))


async def test_any_other_event_is_handed_through_as_it_is(alice: Supervisor) -> None:
    events: list[JsonObject] = [
        {"type": "m.room_key_request", "sender": "@bob:example.org", "content": {"action": "request"}},
        {"type": "m.secret.send", "content": 5},
        {"type": ""},
        {"type": "m.x", "sender": ["odd"]},
    ]
    outcomes = await alice.ask(DecryptToDevice(events=tuple(events)))

    assert tuple(PlainToDevice(event=event) for event in events) == outcomes


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (
            {"type": "m.secret.send", "sender": "@bob:example.org", "content": {"secret": "s3cret"}},
            "PlainToDevice(event={'type': 'm.secret.send', 'sender': '@bob:example.org', …})",
        ),
        ({"type": 5, "sender": "@é\n:example.org"}, r"PlainToDevice(event={'sender': '@\xe9\n:example.org', …})"),
        ({"content": {"secret": "s3cret"}}, "PlainToDevice(event={…})"),
    ],
)
def test_what_came_unencrypted_shows_its_type_and_who_is_said_to_have_sent_it(event: JsonObject, shown: str) -> None:
    assert shown == repr(PlainToDevice(event=event))


def test_a_long_type_is_cut() -> None:
    assert len(repr(PlainToDevice(event={"type": "x" * 1_000_000}))) < 200
