"""Room keys that our user's devices ask each other for: nobody ends a request, or takes an answer away, by claiming."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from olmstate.actors._key_requests.actor import MOST_REQUESTS
from olmstate.actors._room_keys.claims import CLAIMS_A_USER, USERS_A_SESSION
from olmstate.actors._room_keys.operations import CLAIMS_FORWARDED
from olmstate.messages import (
    DecryptedRoomEvent,
    DecryptToDevice,
    DeviceId,
    DeviceTrust,
    ImportRoomKeys,
    JsonObject,
    MarkRequestSent,
    MegolmSessionId,
    OutgoingRequests,
    Request,
    RequestRoomKeys,
    RoomKeyRequestRefused,
    RoomKeyRequests,
    SetDeviceTrust,
    UserId,
)
from tests.hostile.people import Us, conversation
from tests.operations.device import claimed_sender
from tests.operations.peer import MEGOLM, Peer, Room
from tests.peer.encoding import b64, unb64


@pytest.fixture
async def ours(us: Us) -> Sequence[Peer]:
    """Two more devices of our user's, which are verified."""
    devices = [Peer(us.me.user_id, DeviceId(name)) for name in ("TWO", "THREE")]
    await us.know(*devices)
    for each in devices:
        trusted = SetDeviceTrust(user_id=each.user_id, device_id=each.device_id, trust=DeviceTrust.VERIFIED)
        await us.supervisor.ask(trusted)
    return devices


def forwarded(exported: JsonObject) -> JsonObject:
    """The same key as an ``m.forwarded_room_key`` has it."""
    content = {**exported, "sender_claimed_ed25519_key": exported["sender_claimed_keys"]["ed25519"]}
    del content["sender_claimed_keys"]
    return content


async def forward(us: Us, ours: Peer, exported: JsonObject) -> None:
    await us.send(ours, "m.forwarded_room_key", forwarded(exported))


def forged(exported: JsonObject) -> JsonObject:
    """A key of the same session's that decrypts nothing of it."""
    octets = bytearray(unb64(exported["session_key"]))  # version, index, ratchet, public key
    octets[5:9] = b"none"
    return {**exported, "session_key": b64(bytes(octets))}


def ask_for(room: Room, asked: str) -> RequestRoomKeys:
    """Ask for a session by its first event, or by itself."""
    if asked == "by-session":
        return RequestRoomKeys(sessions=(room.key,))
    return RequestRoomKeys(events=((room.room_id, room.events[0]),))


async def sent(us: Us) -> list[Request]:
    """All that waits to be sent, as it is sent."""
    found: list[Request] = []
    while requests := await us.supervisor.ask(OutgoingRequests()):
        for each in requests:
            found.append(each)
            await us.supervisor.ask(MarkRequestSent(request_id=each.request_id, response={}))
    return found


async def is_cancelled(us: Us) -> bool:
    """Whether our user's devices are told that a key is asked for no longer."""
    return any(b"request_cancellation" in each.body for each in await sent(us))


async def is_read_as(us: Us, room: Room, owner: Peer) -> bool:
    """Whether the first event of a session is read, and its owner named."""
    decrypted = await us.read(room.events[0])
    return isinstance(decrypted, DecryptedRoomEvent) and owner.address == claimed_sender(decrypted)


async def is_open(us: Us) -> bool:
    """Whether there is a request that is told as open."""
    requests = await us.supervisor.ask(RoomKeyRequests())
    return bool(requests)


# --- what ends a request


@pytest.mark.parametrize("asked", ["by-event", "by-session"])
@pytest.mark.parametrize("given", ["from-the-beginning", "late"])
async def test_whoever_sends_the_key_that_is_asked_for_as_theirs_ends_no_request(
    *, asked: str, given: str, us: Us, ours: Sequence[Peer], bob: Peer, mallory: Peer
) -> None:
    """She was in the room, or came later and has it from there on. What our other device sent then was dropped."""
    room = conversation(bob)
    await us.supervisor.ask(ask_for(room, asked))
    if given == "late":
        room.room_key = bob.room_key(room.room_id, room.group)
    await us.give(mallory, room)
    assert await is_open(us)

    await forward(us, ours[0], room.export())

    assert await is_read_as(us, room, bob)
    assert not await is_open(us)
    assert not await is_cancelled(us)


async def test_the_senders_own_key_ends_a_request_if_it_begins_early_enough(
    us: Us, ours: Sequence[Peer], bob: Peer
) -> None:
    room = conversation(bob)
    early, late = room.room_key, bob.room_key(room.room_id, room.group)
    await us.supervisor.ask(ask_for(room, "by-event"))

    for key, is_over in ((late, False), (early, True)):
        room.room_key = key
        await us.give(bob, room)
        assert (is_over, not is_over) == (await is_cancelled(us), await is_open(us))


@pytest.mark.parametrize("index", [0, 5])
async def test_the_senders_own_key_ends_a_request_that_was_answered_before(
    index: int, us: Us, ours: Sequence[Peer], bob: Peer
) -> None:
    """It was known by then, so that nobody heard that it is the sender's own now."""
    room = conversation(bob)
    early, late = room.room_key, bob.room_key(room.room_id, room.group)
    await us.supervisor.ask(ask_for(room, "by-event"))
    await forward(us, ours[0], room.export())
    assert not await is_cancelled(us)

    room.room_key = late if index else early
    await us.give(bob, room)

    assert await is_cancelled(us)


async def test_what_its_sender_has_sent_already_is_not_asked_for(us: Us, ours: Sequence[Peer], bob: Peer) -> None:
    """It may have come to another process since the event was looked at. The request was never over."""
    there, missing = conversation(bob), conversation(bob)
    await us.give(bob, there)
    await us.supervisor.ask(ask_for(missing, "by-event"))

    assert () == (await us.supervisor.ask(ask_for(there, "by-event"))).devices

    (request,) = await us.supervisor.ask(RoomKeyRequests())
    assert missing.key == (request.room_id, request.session_id)


@pytest.mark.parametrize("asked", ["at-once", "one-by-one"])
async def test_whoever_has_an_event_on_a_session_that_is_asked_for_ends_no_request(
    asked: str, us: Us, ours: Sequence[Peer], bob: Peer, mallory: Peer
) -> None:
    """Nobody knows then whose session it is: each of them may be the one who lies."""
    room = conversation(bob)
    events = tuple((room.room_id, {**room.events[0], "sender": each.user_id}) for each in (bob, mallory))
    for some in [events] if asked == "at-once" else [(event,) for event in events]:
        await us.supervisor.ask(RequestRoomKeys(events=some))

    await us.give(mallory, room)

    assert await is_open(us)
    assert not await is_cancelled(us)


async def test_what_is_forwarded_connects_to_the_senders_own_key_and_ends_the_request(
    us: Us, ours: Sequence[Peer], bob: Peer
) -> None:
    """Nobody could have forged it."""
    room = conversation(bob)
    await us.supervisor.ask(ask_for(room, "by-event"))
    room.room_key = bob.room_key(room.room_id, room.group)
    await us.give(bob, room)

    await forward(us, ours[0], room.export())

    assert await is_cancelled(us)


async def test_what_was_answered_badly_is_asked_for_again_under_the_same_id(
    us: Us, ours: Sequence[Peer], bob: Peer
) -> None:
    room = conversation(bob)
    await us.supervisor.ask(ask_for(room, "by-event"))
    (before,) = await us.supervisor.ask(RoomKeyRequests())
    await forward(us, ours[0], forged(room.export()))
    assert not await is_open(us)

    await us.supervisor.ask(ask_for(room, "by-event"))

    (again,) = await us.supervisor.ask(RoomKeyRequests())
    assert before.request_id == again.request_id


async def test_what_was_answered_is_forgotten_before_what_was_not(us: Us, ours: Sequence[Peer], bob: Peer) -> None:
    waiting, room = conversation(bob), conversation(bob)
    await us.supervisor.ask(RequestRoomKeys(sessions=(waiting.key, room.key)))
    await forward(us, ours[0], room.export())

    more = tuple((room.room_id, MegolmSessionId(str(number))) for number in range(MOST_REQUESTS - 1))
    await us.supervisor.ask(RequestRoomKeys(sessions=more))

    requests = await us.supervisor.ask(RoomKeyRequests())
    assert [waiting.key, *more] == [(each.room_id, each.session_id) for each in requests]


# --- which answers are taken


async def test_a_key_that_begins_too_late_keeps_none_out_that_begins_earlier(
    us: Us, ours: Sequence[Peer], bob: Peer
) -> None:
    room = conversation(bob)
    await us.supervisor.ask(RequestRoomKeys(sessions=(room.key,)))

    for each, index in zip(ours, (5, 0), strict=True):
        await forward(us, each, room.export(index))

    assert await is_read_as(us, room, bob)


async def test_a_forged_copy_keeps_out_no_good_one(us: Us, ours: Sequence[Peer], bob: Peer) -> None:
    room = conversation(bob)
    await us.supervisor.ask(RequestRoomKeys(sessions=(room.key,)))

    await forward(us, ours[0], forged(room.export()))
    await forward(us, ours[1], room.export())

    assert await is_read_as(us, room, bob)


async def test_a_key_file_ends_no_request(us: Us, ours: Sequence[Peer], bob: Peer) -> None:
    room = conversation(bob)
    await us.supervisor.ask(RequestRoomKeys(sessions=(room.key,)))
    await us.supervisor.ask(ImportRoomKeys(keys=(forged(room.export()),)))

    await forward(us, ours[0], room.export())

    assert await is_read_as(us, room, bob)


async def test_of_a_key_that_several_claim_every_answer_is_taken(
    us: Us, ours: Sequence[Peer], bob: Peer, mallory: Peer
) -> None:
    room, taken = conversation(bob), Room(mallory)
    taken.inbound = room.inbound
    await us.supervisor.ask(RequestRoomKeys(sessions=(room.key,)))

    for exported in (taken.export(), room.export()):
        await forward(us, ours[0], exported)

    assert await is_read_as(us, room, bob)


# --- who refuses


def refusal(us: Us, room: Room, named: Peer, code: str) -> JsonObject:
    """That a device of our user's won't send a key: as it comes, in clear, from whichever of them it is."""
    content = {"room_id": room.room_id, "session_id": room.session_id, "sender_key": named.curve25519, "code": code}
    return {"type": "m.room_key.withheld", "sender": us.me.user_id, "content": content}


async def test_a_refusal_in_a_devices_name_takes_nothing_from_what_it_says_itself(
    us: Us, ours: Sequence[Peer], bob: Peer
) -> None:
    """Another device of our user's, or the homeserver, has written the first one. The device's own was not told."""
    room = conversation(bob)
    await us.supervisor.ask(ask_for(room, "by-event"))
    with us.supervisor.subscribe(RoomKeyRequestRefused) as refused:
        for code in ("m.blacklisted", "m.unavailable"):
            await us.hand(refusal(us, room, ours[0], code))
            assert code == refused.receive_nowait().code
            (request,) = await us.supervisor.ask(RoomKeyRequests())
            assert {ours[0].device_id: code} == request.refused

    await forward(us, ours[0], room.export(5))
    (request,) = await us.supervisor.ask(RoomKeyRequests())
    assert {} == request.refused
    await forward(us, ours[0], room.export())

    assert await is_read_as(us, room, bob)


# --- what our devices are given


def asks(us: Us, ours: Peer, *rooms: Room) -> list[JsonObject]:
    """What one of our user's devices asks for, as it comes: in clear."""
    events: list[JsonObject] = []
    for room in rooms:
        body = {"algorithm": MEGOLM, "room_id": room.room_id, "session_id": room.session_id}
        content = {"action": "request", "requesting_device_id": ours.device_id, "request_id": room.session_id}
        event = {"type": "m.room_key_request", "sender": us.me.user_id, "content": {**content, "body": body}}
        events.append(event)
    return events


async def given(us: Us, ours: Peer, room: Room) -> set[str]:
    """Whose a session is, as it is forwarded to one of our user's devices: each once."""
    senders = [
        payload["content"]["sender_key"]
        for request in await sent(us)
        if "/m.room.encrypted/" in request.path
        for payload in [ours.read(json.loads(request.body)["messages"][ours.user_id][ours.device_id])]
        if payload["content"].get("session_id") == room.session_id
    ]
    assert len(set(senders)) == len(senders)
    return set(senders)


def members(number: int, server: str = "elsewhere.example") -> list[Peer]:
    """Mallory's users, who have all been given the key."""
    return [Peer(UserId(f"@m{each}:{server}"), DeviceId(f"M{each}")) for each in range(number)]


@pytest.mark.parametrize("number", [1, USERS_A_SESSION, USERS_A_SESSION + 1, 3 * CLAIMS_FORWARDED])
async def test_however_many_claim_a_key_it_is_given_as_its_owners_too(
    number: int, us: Us, ours: Sequence[Peer], bob: Peer
) -> None:
    """With four others before them, the owner's claim was left out: what they had sent was nobody's where it came."""
    room = conversation(bob)
    await us.send(ours[0], "m.dummy", {})
    for each in (*members(number), bob):
        await us.give(each, room)

    for event in asks(us, ours[0], room):
        await us.hand(event)

    senders = await given(us, ours[0], room)
    assert bob.curve25519 in senders
    assert min(number + 1, CLAIMS_FORWARDED) == len(senders)


async def test_what_has_come_in_the_same_sync_as_the_request_is_given(us: Us, ours: Sequence[Peer], bob: Peer) -> None:
    room, claimants = conversation(bob), [*members(USERS_A_SESSION), bob]
    await us.send(ours[0], "m.dummy", {})
    for each in claimants:
        await us.ensure_session(each)
    keys = [each.event(us.me, "m.room_key", room.room_key) for each in claimants]

    await us.supervisor.ask(DecryptToDevice(events=(*keys, *asks(us, ours[0], room))))

    assert {each.curve25519 for each in claimants} == await given(us, ours[0], room)


async def test_whoever_claims_a_key_once_more_in_the_same_sync_is_not_left_out(
    us: Us, ours: Sequence[Peer], bob: Peer
) -> None:
    """What was stored of their claims was counted beside what had changed, and all of them went."""
    room, again = conversation(bob), Peer(bob.user_id, DeviceId("AGAIN"))
    await us.send(ours[0], "m.dummy", {})
    for each in (*members(CLAIMS_FORWARDED + USERS_A_SESSION), bob):
        await us.give(each, room)
    await us.ensure_session(again)
    claim = again.event(us.me, "m.room_key", room.room_key)

    await us.supervisor.ask(DecryptToDevice(events=(claim, *asks(us, ours[0], room))))

    senders = await given(us, ours[0], room)
    assert bob.curve25519 in senders
    assert CLAIMS_FORWARDED == len(senders)


async def test_who_has_a_key_forwarded_many_times_keeps_no_other_back(us: Us, ours: Sequence[Peer], bob: Peer) -> None:
    """Each claim is a message of its own, and those that waited for delivery were counted as answers."""
    claimed, last = [conversation(bob) for _ in range(4)], conversation(bob)
    await us.send(ours[0], "m.dummy", {})
    await us.give(bob, last)
    for room in claimed:
        for number, each in enumerate(members(USERS_A_SESSION)):
            for device in range(CLAIMS_A_USER):
                await us.give(Peer(each.user_id, DeviceId(f"M{number}{device}")), room)

    await us.supervisor.ask(DecryptToDevice(events=tuple(asks(us, ours[0], *claimed, last))))

    assert {bob.curve25519} == await given(us, ours[0], last)


async def test_of_very_many_users_of_one_homeserver_some_are_left_out(us: Us, ours: Sequence[Peer], bob: Peer) -> None:
    """What is possible after all: none of them is more likely to be the owner than the others."""
    room, claimants = conversation(bob), [*members(CLAIMS_FORWARDED, "example.org"), bob]
    await us.send(ours[0], "m.dummy", {})
    for each in claimants:
        await us.give(each, room)

    for event in asks(us, ours[0], room):
        await us.hand(event)

    assert await given(us, ours[0], room) < {each.curve25519 for each in claimants}
