"""Room keys that our user's devices ask each other for: who is asked, who is answered, and what is believed."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock
from vodozemac import ExportedSessionKey, GroupSession, InboundGroupSession

from olmstate.actors._key_requests import actor, answering
from olmstate.actors._key_requests.actor import MOST_REQUESTS
from olmstate.actors._key_requests.answering import MOST_ANSWERS
from olmstate.actors.testing import DEVICE, USER
from olmstate.messages import (
    AddRoomKey,
    CancelRoomKeyRequests,
    DecryptionError,
    DecryptRoomEvent,
    DecryptToDevice,
    DeviceId,
    DeviceTrust,
    Json,
    JsonObject,
    MalformedMessage,
    MegolmSessionId,
    MissingRoomKey,
    PrepareRoomKey,
    RequestRoomKeys,
    RoomId,
    RoomKeyRequestRefused,
    RoomKeyRequests,
    RoomKeyWithheld,
    SenderState,
    UserId,
)
from tests.actors.own_devices import BOB, came, own
from tests.actors.world import World
from tests.operations.peer import Peer, Room, exported

ROOM = RoomId("!room:example.org")


def request(session: tuple[RoomId, MegolmSessionId], **changes: Json) -> JsonObject:
    body = {"algorithm": "m.megolm.v1.aes-sha2", "room_id": session[0], "session_id": session[1]}
    return {"action": "request", "requesting_device_id": "TWO", "request_id": "1", "body": body, **changes}


def forwarded(bob: Peer, inbound: InboundGroupSession, **changes: Json) -> JsonObject:
    content = exported(bob, ROOM, inbound)
    content["sender_claimed_ed25519_key"] = content.pop("sender_claimed_keys")["ed25519"]
    return {**content, "forwarding_curve25519_key_chain": [], **changes}


# --- asking -------------------------------------------------------------------------------------------------


async def test_verified_devices_are_asked_under_one_id_and_told_when_the_key_is_there(
    world: World, autojump_clock: MockClock
) -> None:
    room = Room(Peer(), ROOM)
    session, key, event = room.key, room.add_room_key(), room.send()
    async with own(world) as its:
        await its.trust()
        for _ in range(2):
            assert ("TWO",) == (await its.device.ask(RequestRoomKeys(events=((ROOM, event),)))).devices
            await trio.sleep(5)
        first, second = await came(its.other, "m.room_key_request")
        assert first == second == request(session, requesting_device_id=DEVICE, request_id=first["request_id"])
        (told,) = await its.device.ask(RoomKeyRequests())
        assert (first["request_id"], ("TWO",), {}) == (told.request_id, told.devices, told.refused)
        await its.device.ask(key)
        await trio.sleep(5)
        (cancelled,) = await came(its.other, "m.room_key_request")
        assert ("request_cancellation", first["request_id"]) == (cancelled["action"], cancelled["request_id"])
        assert () == await its.device.ask(RoomKeyRequests())


async def test_nobody_is_asked_who_is_not_verified(world: World, autojump_clock: MockClock) -> None:
    session = ROOM, MegolmSessionId(GroupSession().session_id)
    async with own(world) as its:
        for trust in (DeviceTrust.UNSET, DeviceTrust.BLOCKED, DeviceTrust.IGNORED):
            await its.trust(trust)
            assert () == (await its.device.ask(RequestRoomKeys(sessions=(session,)))).devices
        await trio.sleep(5)
        assert [] == await came(its.other, "m.room_key_request")
        assert () == await its.device.ask(RoomKeyRequests())


async def test_a_request_that_is_cancelled_is_over(world: World, autojump_clock: MockClock) -> None:
    session = ROOM, MegolmSessionId(GroupSession().session_id)
    async with own(world) as its:
        await its.trust()
        await its.device.ask(RequestRoomKeys(sessions=(session,)))
        await its.device.ask(CancelRoomKeyRequests(sessions=(session, (ROOM, MegolmSessionId("never")))))
        await trio.sleep(5)
        asked = await came(its.other, "m.room_key_request")
        assert ["request", "request_cancellation"] == [each["action"] for each in asked]
        assert () == await its.device.ask(RoomKeyRequests())


async def test_of_too_many_requests_the_oldest_are_forgotten(world: World, autojump_clock: MockClock) -> None:
    """With one less than there may be, nearly all were forgotten once."""
    sessions = [(ROOM, MegolmSessionId(str(number))) for number in range(MOST_REQUESTS + 1)]
    async with own(world) as its:
        await its.trust()
        await its.device.ask(RequestRoomKeys(sessions=tuple(sessions[:-2])))
        all_but_one = await its.device.ask(RoomKeyRequests())
        assert MOST_REQUESTS - 1 == len(all_but_one)
        await its.device.ask(RequestRoomKeys(sessions=tuple(sessions[-2:])))
        told = [(each.room_id, each.session_id) for each in await its.device.ask(RoomKeyRequests())]
        assert sessions[1:] == told


async def test_whoever_sends_what_nobody_can_read_has_nobody_elses_request_forgotten(
    world: World, autojump_clock: MockClock
) -> None:
    honest, flood = Peer(), Peer(UserId("@mallory:elsewhere.example"))
    first = honest.room_event(ROOM, GroupSession())
    message = flood.room_event(ROOM, GroupSession())
    content = message["content"]
    events = [(ROOM, {**message, "content": {**content, "session_id": str(number)}}) for number in range(MOST_REQUESTS)]
    async with own(world) as its:
        await its.trust()
        await its.device.ask(RequestRoomKeys(events=((ROOM, first),)))
        await its.device.ask(RequestRoomKeys(events=tuple(events)))
        told = [each.session_id for each in await its.device.ask(RoomKeyRequests())]
        assert [first["content"]["session_id"], *map(str, range(1, MOST_REQUESTS))] == told


@pytest.mark.parametrize("wrong", [None, {}, {"content": {}}, {"sender": 5}])
async def test_what_is_no_encrypted_event_is_refused_and_nothing_is_asked(
    wrong: Json, world: World, autojump_clock: MockClock
) -> None:
    event = Peer().room_event(ROOM, GroupSession())
    spoilt = {**event, **wrong} if wrong else wrong
    async with own(world) as its:
        await its.trust()
        with pytest.raises(MalformedMessage):
            await its.device.ask(RequestRoomKeys(events=((ROOM, event), (ROOM, spoilt))))
        assert () == await its.device.ask(RoomKeyRequests())


async def test_a_refusal_is_told_and_the_request_stays(world: World, autojump_clock: MockClock) -> None:
    session = ROOM, MegolmSessionId(GroupSession().session_id)
    bob = await world.log_in(BOB)
    async with own(world) as its:
        await its.trust()
        await its.device.ask(RequestRoomKeys(sessions=(session,)))
        content = {**request(session)["body"], "sender_key": its.other.peer.curve25519, "code": "m.unavailable"}
        with its.device.subscribe(RoomKeyRequestRefused) as events:
            await its.send(bob, "m.room_key.withheld", {**content, "sender_key": bob.peer.curve25519})
            await its.send(bob, "m.room_key.withheld", content)
            await its.send(its.other, "m.room_key.withheld", {**content, "sender_key": 7})
            assert 0 == events.statistics().current_buffer_used
            await its.send(its.other, "m.room_key.withheld", content)
            await its.send(its.other, "m.room_key.withheld", content)
            assert 1 == events.statistics().current_buffer_used
            refused = await events.receive()
        assert (*session, "TWO", "m.unavailable") == (
            refused.room_id,
            refused.session_id,
            refused.device_id,
            refused.code,
        )
        (told,) = await its.device.ask(RoomKeyRequests())
        assert {"TWO": "m.unavailable"} == told.refused


@pytest.mark.parametrize("code", ["m.unavailable", "m.unverified", "m.blacklisted"])
async def test_what_another_device_refuses_to_send_on_was_not_withheld_by_its_maker(
    code: str, world: World, autojump_clock: MockClock
) -> None:
    # the refusal was kept as a notice of our user's, too: an event of a third device of theirs read as withheld
    phone, group = Peer(UserId(USER), DeviceId("PHONE")), GroupSession()
    session = ROOM, MegolmSessionId(group.session_id)
    event = phone.room_event(ROOM, group)
    async with own(world) as its:
        await its.trust()
        await its.device.ask(RequestRoomKeys(sessions=(session,)))
        refusal = {**request(session)["body"], "sender_key": its.other.peer.curve25519, "code": code}
        for _ in range(2):
            await its.send(its.other, "m.room_key.withheld", refusal)
            with pytest.raises(MissingRoomKey):
                await its.device.ask(DecryptRoomEvent(room_id=ROOM, event=event))
        (told,) = await its.device.ask(RoomKeyRequests())
        assert {"TWO": code} == told.refused


@pytest.mark.parametrize(("code", "error"), [("m.unavailable", MissingRoomKey), ("m.unverified", RoomKeyWithheld)])
async def test_our_own_users_device_can_withhold_what_it_was_not_asked_for(
    code: str, error: type[DecryptionError], world: World, autojump_clock: MockClock
) -> None:
    group = GroupSession()
    async with own(world) as its:
        event = its.other.peer.room_event(ROOM, group)
        notice = {**request((ROOM, MegolmSessionId(group.session_id)))["body"], "code": code}
        await its.send(its.other, "m.room_key.withheld", notice)
        with pytest.raises(error):
            await its.device.ask(DecryptRoomEvent(room_id=ROOM, event=event))


# --- what is forwarded --------------------------------------------------------------------------------------


async def test_a_key_that_was_asked_for_is_taken_and_marked_as_forwarded(
    world: World, autojump_clock: MockClock
) -> None:
    bob, group = Peer(), GroupSession()
    inbound = InboundGroupSession(group.session_key)
    event = bob.room_event(ROOM, group)
    async with own(world) as its:
        await its.trust()
        await its.device.ask(RequestRoomKeys(sessions=((ROOM, MegolmSessionId(group.session_id)),)))
        await its.send_encrypted(its.other, "m.forwarded_room_key", forwarded(bob, inbound))
        info = (await its.device.ask(DecryptRoomEvent(room_id=ROOM, event=event))).encryption_info
        assert (SenderState.INSECURE_SOURCE, True, True) == (info.sender_state, info.imported, info.forwarded)
        assert bob.curve25519 == info.claimed_curve25519
        assert () == await its.device.ask(RoomKeyRequests())


@pytest.mark.parametrize("why", ["not asked for", "not verified", "another user", "garbage"])
async def test_no_other_key_is_taken(why: str, world: World, autojump_clock: MockClock) -> None:
    bob, group = await world.log_in(BOB), GroupSession()
    inbound = InboundGroupSession(group.session_key)
    event = bob.peer.room_event(ROOM, group)
    async with own(world) as its:
        await its.trust()
        if why != "not asked for":
            await its.device.ask(RequestRoomKeys(sessions=((ROOM, MegolmSessionId(group.session_id)),)))
        if why == "not verified":
            await its.trust(DeviceTrust.UNSET)
        changes = {"forwarding_curve25519_key_chain": 7} if why == "garbage" else {}
        sender = bob if why == "another user" else its.other
        await its.send_encrypted(sender, "m.forwarded_room_key", forwarded(bob.peer, inbound, **changes))
        with pytest.raises(MissingRoomKey):
            await its.device.ask(DecryptRoomEvent(room_id=ROOM, event=event))


async def test_what_is_forwarded_is_never_better_than_what_came_directly(
    world: World, autojump_clock: MockClock
) -> None:
    bob, group = await world.log_in(BOB), GroupSession()
    early = InboundGroupSession(group.session_key)
    before = bob.peer.room_event(ROOM, group, event_id="$before")
    direct = bob.peer.add_room_key(ROOM, group)
    after = bob.peer.room_event(ROOM, group, event_id="$after")
    async with own(world) as its:
        await its.trust()
        await its.device.ask(direct)
        await its.device.ask(RequestRoomKeys(sessions=((ROOM, MegolmSessionId(group.session_id)),)))
        mallory = Peer(UserId("@mallory:example.org"))
        await its.send_encrypted(its.other, "m.forwarded_room_key", forwarded(mallory, early))
        for event in (before, after):
            info = (await its.device.ask(DecryptRoomEvent(room_id=ROOM, event=event))).encryption_info
            assert (SenderState.DEVICE, bob.peer.curve25519) == (info.sender_state, info.claimed_curve25519)
            assert not info.forwarded


# --- answering ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_time_keys", [1, 0])
async def test_a_verified_device_is_sent_the_key_once_there_is_an_olm_session(
    one_time_keys: int, world: World, autojump_clock: MockClock
) -> None:
    bob, group = Peer(), GroupSession()
    first = InboundGroupSession(group.session_key)
    async with own(world, one_time_keys=one_time_keys) as its:
        await its.device.ask(bob.add_room_key(ROOM, group))
        await its.trust()
        await its.send(its.other, "m.room_key_request", request((ROOM, MegolmSessionId(group.session_id))))
        if not one_time_keys:
            assert [] == await came(its.other, "m.room.encrypted")
            await its.send_encrypted(its.other, "m.forwarded_room_key", {})  # whatever it is that begins a session
        contents = await came(its.other, "m.room.encrypted")
        (payload,) = [each for each in map(its.other.peer.read, contents) if each["type"] == "m.forwarded_room_key"]
        content = payload["content"]
        assert forwarded(bob, first, session_key=content["session_key"]) == content
        session = InboundGroupSession.import_session(ExportedSessionKey(content["session_key"]))
        assert (group.session_id, 0) == (session.session_id, session.first_known_index)


async def test_a_key_is_sent_as_everybodys_who_has_claimed_it(world: World, autojump_clock: MockClock) -> None:
    """Mallory was given the key, and is quicker than Bob, who has made it.

    It was sent on as Mallory's alone. The device that had asked read Bob's messages as nobody's, and refused them as
    repetitions where Mallory had sent them on as hers.
    """
    mallory, bob, group = Peer(UserId("@mallory:elsewhere.example")), Peer(), GroupSession()
    session = ROOM, MegolmSessionId(group.session_id)
    async with own(world) as its:
        for claimant in (mallory, bob):
            await its.device.ask(claimant.add_room_key(ROOM, group))
        await its.trust()
        await its.send(its.other, "m.room_key_request", request(session))
        payloads = list(map(its.other.peer.read, await came(its.other, "m.room.encrypted")))
    sent = [payload["content"] for payload in payloads if payload["type"] == "m.forwarded_room_key"]
    assert [(peer.curve25519, peer.ed25519) for peer in (mallory, bob)] == [
        (content["sender_key"], content["sender_claimed_ed25519_key"]) for content in sent
    ]
    assert {group.session_id} == {content["session_id"] for content in sent}


async def test_what_this_device_has_made_is_sent_as_its_own_alone(world: World, autojump_clock: MockClock) -> None:
    mallory = Peer(UserId("@mallory:elsewhere.example"))
    async with own(world) as its:
        made = await its.device.ask(PrepareRoomKey(room_id=ROOM))
        claimed = AddRoomKey(
            room_id=ROOM,
            session_id=made.session_id,
            session_key=made.session_key,
            sender_key=mallory.curve25519,
            sender_ed25519=mallory.ed25519,
            sender=mallory.user_id,
        )
        await its.device.ask(claimed)
        await its.trust()
        await its.send(its.other, "m.room_key_request", request((ROOM, made.session_id)))
        (payload,) = map(its.other.peer.read, await came(its.other, "m.room.encrypted"))
        assert its.me.curve25519 == payload["content"]["sender_key"]


async def test_what_this_device_lacks_or_may_not_send_is_refused(world: World, autojump_clock: MockClock) -> None:
    bob, group = Peer(), GroupSession()
    held, missing = (ROOM, MegolmSessionId(group.session_id)), (ROOM, MegolmSessionId("missing"))
    async with own(world) as its:
        await its.device.ask(bob.add_room_key(ROOM, group))
        for trust in (DeviceTrust.UNSET, DeviceTrust.BLOCKED):
            await its.trust(trust)
            await its.send(its.other, "m.room_key_request", request(held))
        await its.trust()
        await its.send(its.other, "m.room_key_request", request(missing))
        told = await came(its.other, "m.room_key.withheld")
    assert ["m.unverified", "m.unverified", "m.unavailable"] == [each["code"] for each in told]
    assert {**request(missing)["body"], "code": "m.unavailable", "sender_key": its.me.curve25519} == told[-1]


async def test_nobody_else_is_answered(world: World, autojump_clock: MockClock) -> None:
    bob, group = await world.log_in(BOB, "TWO", one_time_keys=1), GroupSession()
    session = ROOM, MegolmSessionId(group.session_id)
    async with own(world) as its:
        await its.device.ask(bob.peer.add_room_key(ROOM, group))
        await its.trust()
        await its.send(bob, "m.room_key_request", request(session))
        for wrong in (
            request(session, requesting_device_id=DEVICE),
            request(session, requesting_device_id="UNKNOWN"),
            request(session, action="beg"),
            request(session, body={}),
            request(session, request_id=7),
        ):
            await its.send(its.other, "m.room_key_request", wrong)
        assert [] == world.asked_for("/sendToDevice/m.room.encrypted") + world.asked_for("/m.room_key.withheld")


@pytest.mark.parametrize("name", ["room_id", "session_id", "request_id"])
async def test_a_request_with_an_id_that_is_far_too_long_is_not_answered(
    name: str, world: World, autojump_clock: MockClock
) -> None:
    """It was kept among what all processes look through, with each of a hundred answers."""
    ids = {"room_id": ROOM, "session_id": "unknown", "request_id": "1"}
    async with own(world) as its:
        for known, length in ((1, 255), (0, 60_000)):
            asked = {**ids, name: "x" * length}
            content = request((RoomId(asked["room_id"]), MegolmSessionId(asked["session_id"])))
            await its.send(its.other, "m.room_key_request", {**content, "request_id": asked["request_id"]})
            told = await came(its.other, "m.room_key.withheld")
            assert known == len(told)


async def test_a_request_that_is_cancelled_before_there_is_a_session_is_not_answered(
    world: World, autojump_clock: MockClock
) -> None:
    bob, group = Peer(), GroupSession()
    async with own(world, one_time_keys=0) as its:
        await its.device.ask(bob.add_room_key(ROOM, group))
        await its.trust()
        await its.send(its.other, "m.room_key_request", request((ROOM, MegolmSessionId(group.session_id))))
        cancellation = {"action": "request_cancellation", "requesting_device_id": "TWO", "request_id": "1"}
        await its.send(its.other, "m.room_key_request", cancellation)
        await its.send_encrypted(its.other, "m.forwarded_room_key", {})
        assert [] == await came(its.other, "m.room.encrypted")


@pytest.mark.parametrize("what", ["invented sessions", "one session"])
async def test_nobody_uses_up_what_another_device_may_be_sent(
    what: str, world: World, autojump_clock: MockClock
) -> None:
    """A request comes in clear: another device of our user's, not verified, can make it in the name of one that is.

    A hundred answers may wait for a device, and what it asked for itself was not sent beside those.
    """
    bob, groups = Peer(), (GroupSession(), GroupSession())
    decoy, wanted = ((ROOM, MegolmSessionId(group.session_id)) for group in groups)
    async with own(world) as its:
        for group in groups:
            await its.device.ask(bob.add_room_key(ROOM, group))
        await its.trust()
        await its.send_encrypted(its.other, "m.forwarded_room_key", {})  # which begins a session
        asked: list[JsonObject] = [
            request(decoy if what == "one session" else (ROOM, MegolmSessionId(f"{number}")), request_id=f"no {number}")
            for number in range(MOST_ANSWERS)
        ]
        events = ({"type": "m.room_key_request", "sender": USER, "content": each} for each in (*asked, request(wanted)))
        await its.device.ask(DecryptToDevice(events=tuple(events)))
        await trio.sleep(60)
        contents = await came(its.other, "m.room.encrypted")
        assert (2 if what == "one session" else 1) == len(contents)
        sent = [payload["content"]["session_id"] for payload in map(its.other.peer.read, contents)]
        assert wanted[1] in sent


async def test_a_hundred_answers_may_wait_for_a_device(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "MOST_ANSWERS", 4)
    bob, groups = Peer(), [GroupSession() for _ in range(5)]
    async with own(world) as its:
        for group in groups:
            await its.device.ask(bob.add_room_key(ROOM, group))
        await its.trust()
        await its.send_encrypted(its.other, "m.forwarded_room_key", {})  # which begins a session
        asked = [
            request((ROOM, MegolmSessionId(group.session_id)), request_id=f"{number}")
            for number, group in enumerate(groups)
        ]
        events = ({"type": "m.room_key_request", "sender": USER, "content": each} for each in asked)
        await its.device.ask(DecryptToDevice(events=tuple(events)))
        await trio.sleep(60)
        contents = await came(its.other, "m.room.encrypted")
        sent = [payload["content"]["session_id"] for payload in map(its.other.peer.read, contents)]
        assert {group.session_id for group in groups[:4]} == set(sent)


async def test_two_hundred_requests_may_wait_for_a_session(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "MOST_FORWARDS", 4)
    bob, groups = Peer(), [GroupSession() for _ in range(6)]
    async with own(world, one_time_keys=0) as its:
        await its.trust()
        for group in groups:
            await its.device.ask(bob.add_room_key(ROOM, group))
            session = ROOM, MegolmSessionId(group.session_id)
            await its.send(its.other, "m.room_key_request", request(session, request_id=group.session_id))
        await its.send_encrypted(its.other, "m.forwarded_room_key", {})  # which begins a session
        await trio.sleep(60)
        payloads = map(its.other.peer.read, await came(its.other, "m.room.encrypted"))
        assert 4 == [payload["type"] for payload in payloads].count("m.forwarded_room_key")


async def test_nobody_keeps_others_requests_from_waiting_for_a_session(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever waited for a device that can't be reached left no room for others'."""
    monkeypatch.setattr(actor, "MOST_FORWARDS", 4)
    bob, group = Peer(), GroupSession()
    session = ROOM, MegolmSessionId(group.session_id)
    lost = await world.log_in(USER, "LOST")
    async with own(world, one_time_keys=0) as its:
        await its.device.ask(bob.add_room_key(ROOM, group))
        for device_id in ("TWO", "LOST"):
            await its.trust(device_id=device_id)
        for number in range(8):
            content = request(session, requesting_device_id="LOST", request_id=f"{number}")
            await its.send(lost, "m.room_key_request", content)
        await its.send(its.other, "m.room_key_request", request(session))
        await its.send_encrypted(its.other, "m.forwarded_room_key", {})  # which begins a session
        payloads = map(its.other.peer.read, await came(its.other, "m.room.encrypted"))
        assert "m.forwarded_room_key" in [payload["type"] for payload in payloads]
