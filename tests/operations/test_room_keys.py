"""AddRoomKey, DecryptRoomEvent, DecryptRoomEvents: what room keys decrypt, and what is refused."""

from __future__ import annotations

import json

import attrs
import pytest
from vodozemac import GroupSession, MegolmMessage

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddRoomKey,
    Curve25519Key,
    DecryptedRoomEvent,
    DecryptionError,
    DecryptRoomEvent,
    DecryptRoomEvents,
    Ed25519Key,
    EncryptionInfo,
    ExportRoomKeys,
    Json,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    MismatchedRoom,
    MismatchedSender,
    MissingRoomKey,
    RejectedRoomKey,
    ReplayedMessage,
    RoomId,
    RoomKeysReceived,
    SenderState,
    UnknownMessageIndex,
    UserId,
)
from tests.operations.conftest import Device
from tests.operations.device import ROOM, refused, unchanged
from tests.operations.peer import OLM, Peer
from tests.peer.encoding import b64, unb64

OTHER_ROOM = RoomId("!other:example.org")
MALLORY = UserId("@mallory:example.org")


async def read(supervisor: Supervisor, event: JsonObject, room_id: RoomId = ROOM) -> DecryptedRoomEvent:
    """Decrypt one event."""
    return await supervisor.ask(DecryptRoomEvent(room_id=room_id, event=event))


@pytest.fixture
async def group(alice: Supervisor, bob: Peer) -> GroupSession:
    """A session of bob's whose key the device has from the start."""
    session = GroupSession()
    await alice.ask(bob.add_room_key(ROOM, session))
    return session


# --- decrypting


async def test_events_are_decrypted_in_any_order_by_anybody(
    alice: Supervisor, other: Supervisor, bob: Peer, group: GroupSession
) -> None:
    events = [bob.room_event(ROOM, group, {"n": number}, event_id=f"${number}") for number in range(5)]

    for number in (4, 0, 2, 1, 3):
        decrypted = await read((alice, other)[number % 2], events[number])
        assert decrypted == DecryptedRoomEvent(
            room_id=ROOM,
            event_id=events[number]["event_id"],
            type="m.room.message",
            content={"n": number},
            session_id=MegolmSessionId(group.session_id),
            message_index=number,
            encryption_info=EncryptionInfo(
                sender_state=SenderState.DEVICE,
                sender_device=bob.identity,
                claimed_sender=bob.user_id,
                claimed_device=bob.identity,
                claimed_curve25519=bob.curve25519,
                claimed_ed25519=bob.ed25519,
                imported=False,
            ),
        )


async def test_decrypting_writes_nothing_at_once(alice: Supervisor, bob: Peer, group: GroupSession) -> None:
    event = bob.room_event(ROOM, group)

    async with unchanged(alice):
        await read(alice, event)


async def test_many_events_are_decrypted_apart_and_errors_stand_in_their_places(
    alice: Supervisor, bob: Peer, group: GroupSession
) -> None:
    unknown = GroupSession()
    events: list[tuple[RoomId, Json]] = [
        (ROOM, bob.room_event(ROOM, group, {"n": 0}, event_id="$0")),
        (ROOM, bob.room_event(ROOM, unknown, event_id="$1")),
        (ROOM, None),
        (OTHER_ROOM, bob.room_event(ROOM, group, event_id="$3")),
        (ROOM, bob.room_event(ROOM, group, {"n": 4}, event_id="$4")),
    ]

    outcomes = await alice.ask(DecryptRoomEvents(events=tuple(events)))

    assert [DecryptedRoomEvent, MissingRoomKey, MalformedMessage, MissingRoomKey, DecryptedRoomEvent] == [
        type(outcome) for outcome in outcomes
    ]
    assert () == await alice.ask(DecryptRoomEvents(events=()))


async def test_decryptable_events_stay_decryptable(
    alice: Supervisor, other: Supervisor, device: Device, bob: Peer, group: GroupSession
) -> None:
    events = [bob.room_event(ROOM, group, event_id=f"${number}") for number in range(5)]
    first = [await read(alice, event) for event in events]

    async with device.open() as third:
        for supervisor in (alice, other, third):
            assert first == [await read(supervisor, event) for event in reversed(events)][::-1]


# --- what can't be decrypted


async def test_a_session_without_a_key_is_named(alice: Supervisor, bob: Peer) -> None:
    group = GroupSession()

    async with refused(alice, MissingRoomKey) as caught:
        await read(alice, bob.room_event(ROOM, group))

    assert isinstance(caught.value, MissingRoomKey)
    assert (ROOM, group.session_id) == (caught.value.room_id, caught.value.session_id)


async def test_an_index_before_the_first_known_one_is_named(alice: Supervisor, bob: Peer) -> None:
    group = GroupSession()
    events = [bob.room_event(ROOM, group, event_id=f"${number}") for number in range(3)]
    await alice.ask(bob.add_room_key(ROOM, group))

    async with refused(alice, UnknownMessageIndex) as caught:
        await read(alice, events[1])

    assert isinstance(caught.value, UnknownMessageIndex)
    assert (1, 3) == (caught.value.message_index, caught.value.first_known_index)


async def test_a_key_is_for_one_room(alice: Supervisor, bob: Peer, group: GroupSession) -> None:
    async with refused(alice, MissingRoomKey):
        await read(alice, bob.room_event(OTHER_ROOM, group), OTHER_ROOM)


async def test_a_payload_for_another_room_is_refused(alice: Supervisor, bob: Peer, group: GroupSession) -> None:
    for room_id in (OTHER_ROOM, None, 5):
        payload: JsonObject = {"type": "m.room.message", "content": {}, "room_id": room_id}
        async with refused(alice, MismatchedRoom) as caught:
            await read(alice, bob.megolm_event(group, json.dumps(payload).encode()))
        assert isinstance(caught.value, MismatchedRoom)
        assert ROOM == caught.value.room_id


async def test_an_event_of_another_sender_than_the_keys_is_refused(
    alice: Supervisor, bob: Peer, group: GroupSession
) -> None:
    event = bob.room_event(ROOM, group)

    for sender in (MALLORY, None, 5):
        async with refused(alice, MismatchedSender):
            await read(alice, {**event, "sender": sender})

    await read(alice, event)


def nested(depth: int) -> Json:
    """Arrays in arrays."""
    value: Json = []
    for _ in range(depth):
        value = [value]
    return value


def broken(peer: Peer, group: GroupSession) -> dict[str, tuple[Json, type[DecryptionError]]]:
    """Events that can't be decrypted, though the session's key is there."""
    event = peer.room_event(ROOM, group)
    content = event["content"]
    octets = unb64(content["ciphertext"])
    signature = octets[:-1] + bytes([octets[-1] ^ 1])
    mac = octets[:-72] + bytes([octets[-72] ^ 1]) + octets[-71:]

    def with_content(**changes: Json) -> JsonObject:
        return {**event, "content": {**content, **changes}}

    return {
        "null": (None, MalformedMessage),
        "text": ("event", MalformedMessage),
        "no-content": ({"type": "m.room.encrypted"}, MalformedMessage),
        "content-list": ({**event, "content": []}, MalformedMessage),
        "content-null": ({**event, "content": None}, MalformedMessage),
        "no-algorithm": (with_content(algorithm=None), MalformedMessage),
        "olm-in-a-room": (with_content(algorithm=OLM), MalformedMessage),
        "no-session": (with_content(session_id=None), MalformedMessage),
        "session-list": (with_content(session_id=[group.session_id]), MalformedMessage),
        "session-number": (with_content(session_id=5), MalformedMessage),
        "session-surrogate": (with_content(session_id="\ud800"), MalformedMessage),
        "session-empty": (with_content(session_id=""), MissingRoomKey),
        "no-ciphertext": (with_content(ciphertext=None), MalformedMessage),
        "ciphertext-object": (with_content(ciphertext={}), MalformedMessage),
        "ciphertext-empty": (with_content(ciphertext=""), MalformedMessage),
        "ciphertext-no-base64": (with_content(ciphertext="?!"), MalformedMessage),
        "ciphertext-surrogate": (with_content(ciphertext="\ud800"), MalformedMessage),
        "ciphertext-nested": (with_content(ciphertext=nested(10_000)), MalformedMessage),
        "cut-off": (with_content(ciphertext=content["ciphertext"][:-8]), MalformedMessage),
        "bad-signature": (with_content(ciphertext=b64(signature)), MalformedMessage),
        "bad-mac": (with_content(ciphertext=b64(mac)), MalformedMessage),
        "bad-version": (with_content(ciphertext=b64(b"\x09" + octets[1:])), MalformedMessage),
        "another-sessions": (with_content(ciphertext=_ciphertext_of_another()), MalformedMessage),
        "not-json": (peer.megolm_event(group, b"not JSON"), MalformedMessage),
        "not-utf-8": (peer.megolm_event(group, b"\xff"), MalformedMessage),
        "array": (peer.megolm_event(group, b"[]"), MalformedMessage),
        "nan": (peer.megolm_event(group, b'{"type":"m","content":{"x":NaN},"room_id":"r"}'), MalformedMessage),
        "deep": (peer.megolm_event(group, b'{"x":' * 10_000), MalformedMessage),
        "payload-without-type": (peer.room_event(ROOM, group, type=None), MalformedMessage),
        "payload-content-list": (peer.megolm_event(group, b'{"type":"m","content":[]}'), MalformedMessage),
        "type-surrogate": (peer.room_event(ROOM, group, type="\ud800"), MalformedMessage),
    }


def _ciphertext_of_another() -> str:
    return GroupSession().encrypt(b"{}").to_base64()


@pytest.mark.parametrize("what", broken(Peer(), GroupSession()))
async def test_a_broken_event_is_refused_and_does_not_take_the_index(
    what: str, alice: Supervisor, bob: Peer, group: GroupSession
) -> None:
    event, error = broken(bob, group)[what]

    async with refused(alice, error):
        await read(alice, event)
    (outcome,) = await alice.ask(DecryptRoomEvents(events=((ROOM, event),)))

    assert type(outcome) is error
    good = bob.room_event(ROOM, group, {"n": 1}, event_id="$good")
    assert {"n": 1} == (await read(alice, good)).content


# --- the replay guard


def with_id(event: JsonObject, event_id: Json) -> JsonObject:
    """The same ciphertext as another event."""
    return {**event, "event_id": event_id}


async def test_a_message_under_another_event_id_is_refused_at_once(
    alice: Supervisor, bob: Peer, group: GroupSession
) -> None:
    event = bob.room_event(ROOM, group, event_id="$first")
    await read(alice, event)

    for other_id in ("$second", "", "$FIRST"):
        async with refused(alice, ReplayedMessage):
            await read(alice, with_id(event, other_id))

    await read(alice, event)


async def test_of_one_batch_the_first_event_gets_the_index(alice: Supervisor, bob: Peer, group: GroupSession) -> None:
    event = bob.room_event(ROOM, group, event_id="$first")

    outcomes = await alice.ask(
        DecryptRoomEvents(events=((ROOM, event), (ROOM, with_id(event, "$second")), (ROOM, event)))
    )

    assert [DecryptedRoomEvent, ReplayedMessage, DecryptedRoomEvent] == [type(outcome) for outcome in outcomes]


async def test_a_replay_is_refused_by_others_from_the_next_turn_on(
    alice: Supervisor, other: Supervisor, bob: Peer, group: GroupSession
) -> None:
    event = bob.room_event(ROOM, group, event_id="$first")
    await read(alice, event)

    await alice.ask(bob.add_room_key(OTHER_ROOM, GroupSession()))  # any turn of the one that decrypted it

    for supervisor in (other, alice):
        async with refused(supervisor, ReplayedMessage):
            await read(supervisor, with_id(event, "$second"))
        await read(supervisor, event)


async def test_a_replay_is_refused_after_reopening(alice: Supervisor, device: Device, bob: Peer) -> None:
    group = GroupSession()
    await alice.ask(bob.add_room_key(ROOM, group))
    events = [bob.room_event(ROOM, group, event_id=f"${number}") for number in range(3)]
    async with device.open() as second:
        for event in events:
            await read(second, event)

    async with device.open() as third:
        for event in events:
            async with refused(third, ReplayedMessage):
                await read(third, with_id(event, "$again"))
            await read(third, event)


async def test_of_two_supervisors_the_first_to_write_keeps_the_index(
    alice: Supervisor, other: Supervisor, bob: Peer, group: GroupSession
) -> None:
    """What each decrypted before it could know of the other's is the documented gap; then they agree."""
    event = bob.room_event(ROOM, group, event_id="$first")
    await read(alice, event)
    await read(other, with_id(event, "$second"))

    await other.ask(bob.add_room_key(OTHER_ROOM, GroupSession()))
    await alice.ask(bob.add_room_key(OTHER_ROOM, GroupSession()))

    for supervisor in (alice, other):
        await read(supervisor, with_id(event, "$second"))
        async with refused(supervisor, ReplayedMessage):
            await read(supervisor, event)


async def test_the_guard_holds_for_hundreds_of_indices(
    alice: Supervisor, other: Supervisor, bob: Peer, group: GroupSession
) -> None:
    events = [bob.room_event(ROOM, group, event_id=f"${number}") for number in range(600)]
    await alice.ask(DecryptRoomEvents(events=tuple((ROOM, event) for event in events)))
    await alice.ask(bob.add_room_key(OTHER_ROOM, GroupSession()))

    outcomes = await other.ask(DecryptRoomEvents(events=tuple((ROOM, with_id(event, "$x")) for event in events)))

    assert {ReplayedMessage} == {type(outcome) for outcome in outcomes}


# --- adding


async def test_a_room_key_is_added_for_all_supervisors_and_announced(
    alice: Supervisor, other: Supervisor, bob: Peer
) -> None:
    group = GroupSession()
    with alice.subscribe(RoomKeysReceived) as events:
        assert "new" == await alice.ask(bob.add_room_key(ROOM, group))
        async with unchanged(other):
            assert "known" == await other.ask(bob.add_room_key(ROOM, group))

        assert RoomKeysReceived(room_keys=((ROOM, MegolmSessionId(group.session_id)),)) == await events.receive()
        assert 0 == events.statistics().current_buffer_used

    assert 0 == (await read(other, bob.room_event(ROOM, group))).message_index


def rejected(peer: Peer) -> dict[str, AddRoomKey]:
    """Messages that name no room key."""
    group = GroupSession()
    good = peer.add_room_key(ROOM, group)
    exported_key = MegolmMessage.from_base64(group.encrypt(b"").to_base64()).to_base64()

    flipped = bytearray(unb64(good.session_key))
    flipped[100] ^= 1
    return {
        "another-id": attrs.evolve(good, session_id=MegolmSessionId(GroupSession().session_id)),
        "empty-id": attrs.evolve(good, session_id=MegolmSessionId("")),
        "cut-off": attrs.evolve(good, session_key=good.session_key[:-4]),
        "empty": attrs.evolve(good, session_key=""),
        "no-base64": attrs.evolve(good, session_key="?"),
        "surrogate": attrs.evolve(good, session_key="\ud800"),
        "changed": attrs.evolve(good, session_key=b64(bytes(flipped))),
        "a-message": attrs.evolve(good, session_key=exported_key),
        # an import refuses these, so that they could be exported and not be imported again
        "room-no-text": attrs.evolve(good, room_id=RoomId("!\ud800")),
        "sender-no-text": attrs.evolve(good, sender=UserId("@\ud800")),
        "sender-key-that-is-none": attrs.evolve(good, sender_key=Curve25519Key("hello")),
        "claimed-key-that-is-none": attrs.evolve(good, sender_ed25519=Ed25519Key("hello")),
        "sender-key-no-text": attrs.evolve(good, sender_key=Curve25519Key("\ud800")),
        "sender-ed25519-no-text": attrs.evolve(good, sender_ed25519=Ed25519Key("\ud800")),
    }


@pytest.mark.parametrize("what", rejected(Peer()))
async def test_what_is_no_room_key_is_rejected(what: str, alice: Supervisor, bob: Peer) -> None:
    message = rejected(bob)[what]

    async with refused(alice, RejectedRoomKey) as caught:
        await alice.ask(message)

    assert not message.session_key or message.session_key not in str(caught.value)
    assert () == await alice.ask(ExportRoomKeys())
