"""Sending to rooms: preparing, rotating, discarding and sharing a room's key, and encrypting with it."""

from __future__ import annotations

import pytest
import trio
from vodozemac import InboundGroupSession, SessionKey

from olmstate.actors import Supervisor
from olmstate.messages import (
    AddDevices,
    Command,
    DecryptRoomEvent,
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    DeviceKeyChanged,
    DiscardRoomKey,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    Json,
    JsonObject,
    MalformedContent,
    MarkRequestSent,
    MarkRoomKeyShared,
    OutboundRoomKey,
    OutgoingRequests,
    PrepareRoomKey,
    RoomId,
    RoomKeyNotShared,
    RoomKeyReplaced,
    RoomKeyShare,
    RotateRoomKey,
    RotationPeriod,
    SenderState,
    ShareRoomKey,
    UserId,
)
from tests.operations.conftest import Device
from tests.operations.device import ALICE, ALICE_ADDRESS, DAY, ROOM, Clock, claim, ready_room, refused, unchanged
from tests.operations.peer import MEGOLM, Peer, keys_query, peers, read_room_event
from tests.peer.requests import messages_of, reached_by

OTHER_ROOM = RoomId("!other:example.org")
UNSENDABLE = RoomId("!\ud800:example.org")


async def encrypt(supervisor: Supervisor, body: str = "hi", room_id: RoomId = ROOM) -> EncryptedRoomEvent:
    """Encrypt a message."""
    return await supervisor.ask(EncryptRoomEvent(room_id=room_id, type="m.room.message", content={"body": body}))


def reader(room_key: OutboundRoomKey) -> InboundGroupSession:
    """Whoever was given ``room_key``."""
    return InboundGroupSession(SessionKey(room_key.session_key))


async def share_with(supervisor: Supervisor, *devices: Peer, room_id: RoomId = ROOM) -> RoomKeyShare:
    """Share the room's key, and answer all requests."""
    addresses = tuple(peer.address for peer in devices)
    share = await supervisor.ask(ShareRoomKey(room_id=room_id, devices=addresses))
    await answer(supervisor, share)
    return share


async def answer(supervisor: Supervisor, share: RoomKeyShare) -> None:
    """The server has taken all requests."""
    for request in share.requests:
        await supervisor.ask(MarkRequestSent(request_id=request.request_id, response={}))


def reached(share: RoomKeyShare) -> set[DeviceAddress]:
    """Whom its requests reach."""
    return {DeviceAddress(user_id=user, device_id=device) for user, device in reached_by(share.requests)}


def received(share: RoomKeyShare, peer: Peer) -> JsonObject:
    """The room key that ``peer`` reads in what was shared."""
    (content,) = (
        messages[peer.user_id][peer.device_id]
        for messages in map(messages_of, share.requests)
        if peer.device_id in messages[peer.user_id]
    )
    payload = peer.read(content)
    assert "m.room_key" == payload["type"]
    room_key: JsonObject = payload["content"]
    return room_key


def session_of(room_key: JsonObject) -> InboundGroupSession:
    """The session that ``room_key`` gives."""
    return InboundGroupSession(SessionKey(room_key["session_key"]))


@pytest.fixture
async def devices(alice: Supervisor) -> list[Peer]:
    """Three devices with Olm sessions."""
    made = peers(3)
    await alice.ask(AddDevices(response=keys_query(*made)))
    await claim(alice, *made)
    return made


# --- encrypting


async def test_what_is_encrypted_is_read_by_who_has_the_key_and_by_the_device_itself(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity
) -> None:
    room_key = await ready_room(alice)
    content = {"body": "ключ 🔐 \x00", "nested": {"list": [1, None, True, "x"]}}

    encrypted = await other.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content=content))

    assert {
        "algorithm": MEGOLM,
        "sender_key": me.curve25519,
        "device_id": me.device_id,
        "session_id": room_key.session_id,
        "ciphertext": encrypted.content["ciphertext"],
    } == encrypted.content
    payload = {"type": "m.room.message", "content": content, "room_id": ROOM}
    assert (encrypted.message_index, payload) == read_room_event(reader(room_key), encrypted.content)
    for supervisor in (alice, other):
        event = {"content": encrypted.content, "sender": ALICE, "event_id": "$1"}
        decrypted = await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
        assert content == decrypted.content
        info = decrypted.encryption_info
        assert (SenderState.THIS_DEVICE, me) == (info.sender_state, info.sender_device)


async def test_a_message_index_is_used_once_whoever_encrypts(
    alice: Supervisor, other: Supervisor, device: Device
) -> None:
    room_key = await ready_room(alice)
    sent = [await encrypt((alice, other)[number % 2], str(number)) for number in range(12)]
    async with device.open() as third:
        sent.append(await encrypt(third, "12"))
    sent.append(await encrypt(alice, "13"))

    read = [read_room_event(reader(room_key), each.content) for each in sent]

    assert [str(number) for number in range(14)] == [payload["content"]["body"] for _, payload in read]
    assert [each.message_index for each in sent] == [index for index, _ in read]
    assert 14 == len({index for index, _ in read})


async def test_many_at_once_each_get_an_index_of_their_own(alice: Supervisor, other: Supervisor) -> None:
    room_key = await ready_room(alice)
    sent: list[EncryptedRoomEvent] = []

    async def encrypt_one(number: int) -> None:
        sent.append(await encrypt((alice, other)[number % 2], str(number)))

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(encrypt_one, number)

    read = [read_room_event(reader(room_key), each.content) for each in sent]
    assert 30 == len({index for index, _ in read}) == len({payload["content"]["body"] for _, payload in read})


async def test_rooms_have_sessions_of_their_own(alice: Supervisor) -> None:
    first, second = await ready_room(alice), await ready_room(alice, OTHER_ROOM)

    assert first.session_id != second.session_id
    _, payload = read_room_event(reader(second), (await encrypt(alice, room_id=OTHER_ROOM)).content)
    assert OTHER_ROOM == payload["room_id"]


@pytest.mark.parametrize(
    "content",
    [
        {"x": float("nan")},
        {"x": float("-inf")},
        {"x": "\ud800"},
        {"\ud800": 1},
        {"x": b"bytes"},
        {"x": object()},
        {1: 2},
        {"x": [{True: 2}]},
        [],
        "text",
        None,
    ],
    ids=repr,
)
async def test_content_that_is_no_json_object_is_refused_and_uses_no_index(content: Json, alice: Supervisor) -> None:
    await ready_room(alice)
    first = await encrypt(alice)

    async with refused(alice, MalformedContent):
        await alice.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content=content))

    assert first.message_index + 1 == (await encrypt(alice)).message_index


async def test_content_that_is_nested_too_deep_is_refused(alice: Supervisor) -> None:
    await ready_room(alice)
    deep: Json = {}
    for _ in range(10_000):
        deep = {"x": deep}

    async with refused(alice, MalformedContent):
        await alice.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content=deep))


async def test_a_type_that_utf_8_cannot_hold_is_refused(alice: Supervisor) -> None:
    await ready_room(alice)

    async with refused(alice, MalformedContent):
        await alice.ask(EncryptRoomEvent(room_id=ROOM, type="\ud800", content={}))


async def test_large_content_is_encrypted(alice: Supervisor) -> None:
    room_key = await ready_room(alice)

    _, payload = read_room_event(reader(room_key), (await encrypt(alice, "x" * 200_000)).content)

    assert 200_000 == len(payload["content"]["body"])


# --- not before it is shared


async def test_nothing_is_encrypted_before_the_server_has_taken_the_key(
    alice: Supervisor, other: Supervisor, devices: list[Peer]
) -> None:
    async with refused(alice, RoomKeyNotShared) as caught:
        await encrypt(alice)
    assert ROOM in str(caught.value)
    share = await alice.ask(ShareRoomKey(room_id=ROOM, devices=(devices[0].address,)))
    for supervisor in (alice, other):
        async with refused(supervisor, RoomKeyNotShared):
            await encrypt(supervisor)

    await answer(other, share)

    for supervisor in (alice, other):
        await encrypt(supervisor)


async def test_in_a_room_with_nobody_else_in_it_there_is_nothing_to_send(alice: Supervisor) -> None:
    share = await alice.ask(ShareRoomKey(room_id=ROOM))
    assert ((), False, ()) == (share.requests, share.elsewhere, share.missing)

    await encrypt(alice)


async def test_who_can_t_be_reached_is_waited_for_until_somebody_says_otherwise(alice: Supervisor) -> None:
    late = Peer(device_id=DeviceId("LATE"))
    share = await alice.ask(ShareRoomKey(room_id=ROOM, devices=(late.address,)))
    assert ((), (late.address,)) == (share.requests, share.missing)
    async with refused(alice, RoomKeyNotShared):
        await encrypt(alice)

    await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=share.session_id, devices=()))

    await encrypt(alice)


# --- sharing


async def test_a_key_is_shared_with_each_device_once(alice: Supervisor, other: Supervisor, devices: list[Peer]) -> None:
    first, second, third = devices

    share = await share_with(alice, first, second)

    assert {first.address, second.address} == reached(share)
    message = (await encrypt(alice, "to two")).content
    for peer in (first, second):
        room_key = received(share, peer)
        assert (MEGOLM, ROOM, share.session_id) == (
            room_key["algorithm"],
            room_key["room_id"],
            room_key["session_id"],
        )
        assert "to two" == read_room_event(session_of(room_key), message)[1]["content"]["body"]
    again = await share_with(other, first, second, third)
    assert {third.address} == reached(again)
    assert share.session_id == again.session_id
    async with unchanged(alice):
        nobody = await alice.ask(ShareRoomKey(room_id=ROOM, devices=tuple(peer.address for peer in devices)))
        assert ((), ()) == (nobody.requests, nobody.missing)


async def test_who_comes_later_reads_what_is_sent_from_then_on_and_nothing_older(
    alice: Supervisor, other: Supervisor, devices: list[Peer]
) -> None:
    await share_with(alice, devices[0])
    old = [(await encrypt(supervisor)).content for supervisor in (alice, other) for _ in range(3)]

    share = await share_with(alice, *devices[:2])

    session = session_of(received(share, devices[1]))
    for content in old:
        with pytest.raises(ValueError, match="index"):
            read_room_event(session, content)
    for supervisor in (alice, other, alice):
        assert "new" == read_room_event(session, (await encrypt(supervisor, "new")).content)[1]["content"]["body"]


async def test_what_waits_for_its_answer_is_not_encrypted_again(
    alice: Supervisor, other: Supervisor, devices: list[Peer]
) -> None:
    addresses = tuple(peer.address for peer in devices)
    first = await alice.ask(ShareRoomKey(room_id=ROOM, devices=addresses[:2]))

    again = await alice.ask(ShareRoomKey(room_id=ROOM, devices=addresses[:2]))
    elsewhere = await other.ask(ShareRoomKey(room_id=ROOM, devices=addresses))

    assert (first.requests, False) == (again.requests, again.elsewhere)
    assert first.requests == tuple(each for each in await alice.ask(OutgoingRequests()) if each in again.requests)
    assert ({addresses[2]}, True) == (reached(elsewhere), elsewhere.elsewhere)
    await answer(other, elsewhere)
    for supervisor in (alice, other):
        async with refused(supervisor, RoomKeyNotShared):
            await encrypt(supervisor)
    await answer(alice, first)
    for supervisor in (alice, other):
        await encrypt(supervisor)
    room_key = await alice.ask(PrepareRoomKey(room_id=ROOM))
    assert frozenset(addresses) == room_key.shared_with


async def test_a_process_that_dies_leaves_its_requests_to_whoever_shares_next(
    device: Device, alice: Supervisor, devices: list[Peer]
) -> None:
    addresses = tuple(peer.address for peer in devices)
    async with device.open() as third:
        first = await third.ask(ShareRoomKey(room_id=ROOM, devices=addresses))

    again = await alice.ask(ShareRoomKey(room_id=ROOM, devices=addresses))

    assert (first.session_id, first.requests, False) == (again.session_id, again.requests, again.elsewhere)
    assert "/sendToDevice/m.room.encrypted/" in again.requests[0].path
    await answer(alice, again)
    message = (await encrypt(alice, "hi")).content
    for peer in devices:
        assert "hi" == read_room_event(session_of(received(again, peer)), message)[1]["content"]["body"]


async def test_what_is_marked_by_hand_may_be_used_whatever_waits_for_its_answer(
    alice: Supervisor, devices: list[Peer]
) -> None:
    addresses = tuple(peer.address for peer in devices)
    share = await alice.ask(ShareRoomKey(room_id=ROOM, devices=addresses))
    await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=share.session_id, devices=addresses[:1]))

    await encrypt(alice)

    room_key = await alice.ask(PrepareRoomKey(room_id=ROOM))
    assert frozenset(addresses[:1]) == room_key.shared_with


async def test_users_are_all_their_devices_and_our_users_other_ones(
    alice: Supervisor, me: DeviceIdentity, devices: list[Peer]
) -> None:
    mate = Peer(me.user_id, DeviceId("MATE"))
    await alice.ask(AddDevices(response=keys_query(mate)))
    await claim(alice, mate)

    share = await alice.ask(ShareRoomKey(room_id=ROOM, users=(devices[0].user_id,)))

    assert {mate.address, *(peer.address for peer in devices)} == reached(share)
    left = await alice.ask(ShareRoomKey(room_id=ROOM, devices=tuple(peer.address for peer in devices)))
    assert share.session_id != left.session_id


async def test_devices_without_a_session_are_missing_and_get_the_key_when_they_have_one(
    alice: Supervisor, devices: list[Peer]
) -> None:
    late = Peer(device_id=DeviceId("LATE"))
    await alice.ask(AddDevices(response=keys_query(*devices, late)))
    nobody = DeviceAddress(user_id=UserId("@nobody:example.org"), device_id=DeviceId("NONE"))
    addresses = (devices[0].address, late.address, nobody)

    share = await alice.ask(ShareRoomKey(room_id=ROOM, devices=addresses))
    assert ({devices[0].address}, (late.address, nobody)) == (reached(share), share.missing)
    await answer(alice, share)
    await claim(alice, late)

    again = await alice.ask(ShareRoomKey(room_id=ROOM, devices=addresses))

    assert ({late.address}, (nobody,)) == (reached(again), again.missing)
    assert ROOM == received(again, late)["room_id"]


async def test_the_key_is_not_shared_with_the_device_itself(alice: Supervisor, devices: list[Peer]) -> None:
    share = await alice.ask(ShareRoomKey(room_id=ROOM, devices=(ALICE_ADDRESS, devices[0].address)))

    assert ({devices[0].address}, ()) == (reached(share), share.missing)


async def test_a_request_reaches_two_hundred_and_fifty_devices_at_most(alice: Supervisor) -> None:
    crowd = [*peers(300), *peers(251, "@carol:example.org")]
    await alice.ask(AddDevices(response=keys_query(*crowd)))
    await claim(alice, *crowd)

    share = await alice.ask(ShareRoomKey(room_id=ROOM, devices=tuple(peer.address for peer in crowd)))

    sizes = [sum(map(len, messages_of(request).values())) for request in share.requests]
    assert [250, 250, 51] == sizes
    assert {peer.address for peer in crowd} == reached(share)
    await answer(alice, share)
    room_key = await alice.ask(PrepareRoomKey(room_id=ROOM))
    assert 551 == len(room_key.shared_with)


# --- rotation


async def test_a_device_that_leaves_makes_a_new_session_which_it_is_not_given(
    alice: Supervisor, other: Supervisor, devices: list[Peer]
) -> None:
    share = await share_with(alice, *devices)
    await encrypt(alice)

    left = await other.ask(ShareRoomKey(room_id=ROOM, devices=tuple(peer.address for peer in devices[:2])))

    assert share.session_id != left.session_id
    assert {peer.address for peer in devices[:2]} == reached(left)
    for supervisor in (alice, other):
        async with refused(supervisor, RoomKeyNotShared):
            await encrypt(supervisor)


async def test_a_device_that_leaves_before_anybody_said_that_it_has_the_key_makes_a_new_session_all_the_same(
    alice: Supervisor, other: Supervisor, devices: list[Peer]
) -> None:
    """The request may have reached it: of several only one may have failed, or the process was killed after sending."""
    offered = await alice.ask(ShareRoomKey(room_id=ROOM, devices=tuple(peer.address for peer in devices)))
    stayed = tuple(peer.address for peer in devices[:2])
    for supervisor in (alice, other):
        again = await supervisor.ask(ShareRoomKey(room_id=ROOM, devices=tuple(peer.address for peer in devices)))
        assert offered.session_id == again.session_id

    left = await other.ask(ShareRoomKey(room_id=ROOM, devices=stayed))

    assert offered.session_id != left.session_id
    async with refused(alice, RoomKeyReplaced):
        await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=offered.session_id, devices=stayed))
    await answer(alice, offered)  # comes too late, and does nothing
    async with refused(alice, RoomKeyNotShared):
        await encrypt(alice)
    again = await other.ask(ShareRoomKey(room_id=ROOM, devices=stayed))
    assert (left.session_id, left.requests) == (again.session_id, again.requests)


@pytest.mark.parametrize("by", ["share", "hand"])
async def test_a_device_that_comes_back_with_other_keys_is_given_nothing(
    by: str, alice: Supervisor, other: Supervisor, devices: list[Peer]
) -> None:
    first, second, _ = devices
    if by == "share":
        before = (await share_with(alice, first, second)).session_id
    else:
        before = (await alice.ask(PrepareRoomKey(room_id=ROOM))).session_id
        recipients = (first.address, second.address)
        await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=before, devices=recipients))
    anew = Peer(second.user_id, second.device_id)
    # another Ed25519 key would not be believed
    curve25519, ed25519 = f"curve25519:{second.device_id}", f"ed25519:{second.device_id}"
    keys = second.device_keys(keys={curve25519: anew.curve25519, ed25519: second.ed25519})
    await other.ask(AddDevices(response=keys_query(first)))
    assert before == (await share_with(alice, first, second)).session_id  # nothing is known of it: it may be as it was
    added = await other.ask(AddDevices(response=keys_query(first, keys)))
    assert isinstance(added.rejected[second.address], DeviceKeyChanged)

    share = await share_with(alice, first, second)

    assert before == share.session_id
    assert () == share.requests
    assert share.session_id == (await share_with(other, first, anew)).session_id


async def test_a_session_is_rotated_after_so_many_messages(alice: Supervisor, other: Supervisor) -> None:
    rotation = RotationPeriod(messages=5)
    first = await alice.ask(PrepareRoomKey(room_id=ROOM, rotation=rotation))
    await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=first.session_id, devices=()))
    for _ in range(5):
        await encrypt(alice)

    for supervisor in (alice, other):
        async with refused(supervisor, RoomKeyNotShared):
            await encrypt(supervisor)
    second = await other.ask(PrepareRoomKey(room_id=ROOM, rotation=rotation))
    assert first.session_id != second.session_id
    assert (0, frozenset()) == (second.message_index, second.shared_with)
    async with refused(alice, RoomKeyNotShared):
        await encrypt(alice)  # the new one was not shared yet


async def test_two_supervisors_together_never_go_beyond_the_messages_of_a_session(
    alice: Supervisor, other: Supervisor
) -> None:
    rotation = RotationPeriod(messages=20)
    room_key = await alice.ask(PrepareRoomKey(room_id=ROOM, rotation=rotation))
    await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=room_key.session_id, devices=()))
    sent: list[int] = []
    turned_back: set[Supervisor] = set()
    while len(turned_back) < 2:
        for supervisor in (alice, other):
            try:
                sent.append((await encrypt(supervisor)).message_index)
            except RoomKeyNotShared:
                turned_back.add(supervisor)

    assert len(sent) == len(set(sent))
    assert max(sent) < 20


@pytest.mark.parametrize("later", [0, DAY - 1, DAY, 400 * DAY, -1])
async def test_a_session_is_rotated_after_some_time_and_when_the_clock_was_set_back(
    later: int, alice: Supervisor, other: Supervisor, clock: Clock
) -> None:
    due = not 0 <= later < DAY
    rotation = RotationPeriod(milliseconds=DAY)
    first = await alice.ask(PrepareRoomKey(room_id=ROOM, rotation=rotation))
    await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=first.session_id, devices=()))
    await encrypt(alice)

    clock.now += later

    for supervisor in (alice, other):
        if due:
            async with refused(supervisor, RoomKeyNotShared):
                await encrypt(supervisor)
        else:
            await encrypt(supervisor)
    second = await other.ask(PrepareRoomKey(room_id=ROOM, rotation=rotation))
    assert due == (first.session_id != second.session_id)


async def test_a_room_key_is_rotated_on_demand(alice: Supervisor, other: Supervisor) -> None:
    first = await ready_room(alice)
    await encrypt(alice)

    second = await other.ask(RotateRoomKey(room_id=ROOM))

    assert first.session_id != second.session_id
    assert 0 == second.message_index
    for supervisor in (alice, other):
        async with refused(supervisor, RoomKeyNotShared):
            await encrypt(supervisor)


async def test_a_discarded_session_is_not_used_again(alice: Supervisor, other: Supervisor) -> None:
    first = await ready_room(alice)
    message = (await encrypt(alice)).content

    await other.ask(DiscardRoomKey(room_id=ROOM))

    for supervisor in (alice, other):
        async with refused(supervisor, RoomKeyNotShared):
            await encrypt(supervisor)
    async with unchanged(alice):
        await alice.ask(DiscardRoomKey(room_id=ROOM))
        await alice.ask(DiscardRoomKey(room_id=OTHER_ROOM))
    second = await alice.ask(PrepareRoomKey(room_id=ROOM))
    assert first.session_id != second.session_id
    event = {"content": message, "sender": ALICE, "event_id": "$1"}
    assert {"body": "hi"} == (await other.ask(DecryptRoomEvent(room_id=ROOM, event=event))).content


async def test_a_room_key_stays_until_it_is_due(alice: Supervisor, other: Supervisor) -> None:
    first = await alice.ask(PrepareRoomKey(room_id=ROOM))
    second = await other.ask(PrepareRoomKey(room_id=ROOM))

    assert (first.session_id, first.message_index, first.session_key) == (
        second.session_id,
        second.message_index,
        second.session_key,
    )
    assert {
        "algorithm": MEGOLM,
        "room_id": ROOM,
        "session_id": first.session_id,
        "session_key": first.session_key,
    } == first.content


async def test_a_key_asked_for_later_starts_later_and_reads_all_that_follows(
    alice: Supervisor, other: Supervisor
) -> None:
    await ready_room(alice)
    for supervisor in (alice, other, alice):
        await encrypt(supervisor)

    room_key = await other.ask(PrepareRoomKey(room_id=ROOM))

    assert 3 <= room_key.message_index
    for supervisor in (alice, other, alice):
        index, _ = read_room_event(reader(room_key), (await encrypt(supervisor)).content)
        assert room_key.message_index <= index


# --- marking a session that was replaced


async def test_marking_a_replaced_session_is_refused_and_the_new_one_stays_unshared(
    alice: Supervisor, other: Supervisor, devices: list[Peer]
) -> None:
    old = await alice.ask(ShareRoomKey(room_id=ROOM, devices=(devices[0].address,)))
    await other.ask(RotateRoomKey(room_id=ROOM))

    async with refused(alice, RoomKeyReplaced) as caught:
        await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=old.session_id, devices=(devices[0].address,)))

    assert isinstance(caught.value, RoomKeyReplaced)
    assert (ROOM, old.session_id) == (caught.value.room_id, caught.value.session_id)
    async with refused(alice, RoomKeyNotShared):
        await encrypt(alice)


async def test_marking_a_session_of_a_room_that_has_none_is_refused(alice: Supervisor) -> None:
    room_key = await alice.ask(PrepareRoomKey(room_id=ROOM))
    await alice.ask(DiscardRoomKey(room_id=ROOM))

    for room_id in (ROOM, OTHER_ROOM):
        async with refused(alice, RoomKeyReplaced):
            await alice.ask(MarkRoomKeyShared(room_id=room_id, session_id=room_key.session_id, devices=()))


async def test_marking_twice_is_harmless(alice: Supervisor, other: Supervisor, devices: list[Peer]) -> None:
    share = await share_with(alice, *devices)

    async with unchanged(other):
        twice = tuple(peer.address for peer in devices) * 2
        await other.ask(MarkRoomKeyShared(room_id=ROOM, session_id=share.session_id, devices=twice))


# --- odd rooms


@pytest.mark.parametrize("room_id", ["", "\x00", "!" + "x" * 100_000])
async def test_a_room_id_may_be_any_text_that_can_be_sent(room_id: str, alice: Supervisor) -> None:
    room = RoomId(room_id)
    room_key = await alice.ask(PrepareRoomKey(room_id=room))
    await alice.ask(MarkRoomKeyShared(room_id=room, session_id=room_key.session_id, devices=()))

    assert room_key.session_id == (await encrypt(alice, room_id=room)).session_id


@pytest.mark.parametrize(
    "message",
    [
        PrepareRoomKey(room_id=UNSENDABLE),
        RotateRoomKey(room_id=UNSENDABLE),
        ShareRoomKey(room_id=UNSENDABLE, devices=(Peer().address,)),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_a_room_whose_id_cannot_be_sent_gets_no_key(
    message: Command[OutboundRoomKey | RoomKeyShare], alice: Supervisor
) -> None:
    # it got one, which could be exported, and no import took it
    async with refused(alice, MalformedContent):
        await alice.ask(message)


@pytest.mark.parametrize("value", [0, -1, True, 100.5, 100.0, "100", None, 2**53])
def test_a_rotation_period_that_a_room_should_not_have_is_refused_before_it_is_stored(value: Json) -> None:
    for field in ("messages", "milliseconds"):
        with pytest.raises((TypeError, ValueError), match=f"RotationPeriod.{field} must be "):
            RotationPeriod(**{field: value})


@pytest.mark.parametrize("rotation", [RotationPeriod(messages=1), RotationPeriod(milliseconds=1)])
async def test_the_shortest_rotation_still_lets_one_message_out(rotation: RotationPeriod, alice: Supervisor) -> None:
    for _ in range(3):
        room_key = await alice.ask(PrepareRoomKey(room_id=ROOM, rotation=rotation))
        await alice.ask(MarkRoomKeyShared(room_id=ROOM, session_id=room_key.session_id, devices=()))

        assert 0 == (await encrypt(alice)).message_index

        if rotation.messages == 1:
            async with refused(alice, RoomKeyNotShared):
                await encrypt(alice)
        await alice.ask(RotateRoomKey(room_id=ROOM, rotation=rotation))
