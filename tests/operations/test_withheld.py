"""Notices that a room key is withheld: what an app is told of them, and what they can't do."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.actors._room_keys import actor
from olmstate.messages import (
    DecryptedRoomEvent,
    DecryptRoomEvent,
    DecryptRoomEvents,
    DecryptToDevice,
    DeviceIdentity,
    Json,
    JsonObject,
    MegolmSessionId,
    MissingRoomKey,
    RoomKeysWithheld,
    RoomKeyWithheld,
    UnknownMessageIndex,
    UserId,
)
from tests.operations.conftest import Device
from tests.operations.device import ROOM, decrypt, unchanged
from tests.operations.peer import MEGOLM, Peer
from tests.operations.test_to_device import nested

MALLORY = UserId("@mallory:example.org")


def notice_of(peer: Peer, group: GroupSession, code: str = "m.unverified", **changes: Json) -> JsonObject:
    content = {
        "algorithm": MEGOLM,
        "room_id": ROOM,
        "session_id": group.session_id,
        "code": code,
        "sender_key": peer.curve25519,
    }
    return {"type": "m.room_key.withheld", "sender": peer.user_id, "content": {**content, **changes}}


async def why_not(supervisor: Supervisor, event: JsonObject) -> RoomKeyWithheld:
    with pytest.raises(RoomKeyWithheld) as caught:
        await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
    return caught.value


async def test_a_withheld_notice_says_why_until_the_key_comes(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    group = GroupSession()
    event = friend.room_event(ROOM, group)
    notice: JsonObject = {
        "type": "m.room_key.withheld",
        "sender": friend.user_id,
        "content": {
            "algorithm": MEGOLM,
            "room_id": ROOM,
            "session_id": group.session_id,
            "code": "m.unverified",
            "sender_key": friend.curve25519,
        },
    }
    with pytest.raises(MissingRoomKey):
        await other.ask(DecryptRoomEvent(room_id=ROOM, event=event))

    with alice.subscribe(RoomKeysWithheld) as events:
        for _ in range(2):
            await alice.ask(DecryptToDevice(events=(notice,)))
        told = (ROOM, MegolmSessionId(group.session_id), friend.user_id, "m.unverified")
        assert RoomKeysWithheld(room_keys=(told,)) == events.receive_nowait()
        assert 0 == events.statistics().current_buffer_used

    with pytest.raises(RoomKeyWithheld) as caught:
        await other.ask(DecryptRoomEvent(room_id=ROOM, event=event))
    assert "m.unverified" == caught.value.code
    late = GroupSession()
    await decrypt(alice, friend.event(me, "m.room_key", friend.room_key(ROOM, late)))
    with pytest.raises(RoomKeyWithheld):
        await other.ask(DecryptRoomEvent(room_id=ROOM, event=event))


async def test_a_key_that_comes_after_a_notice_counts(alice: Supervisor, me: DeviceIdentity, friend: Peer) -> None:
    group = GroupSession()
    content = {"room_id": ROOM, "session_id": group.session_id, "code": "m.unverified"}
    notice = {"type": "m.room_key.withheld", "sender": friend.user_id, "content": content}
    await alice.ask(DecryptToDevice(events=(notice,)))

    await decrypt(alice, friend.event(me, "m.room_key", friend.room_key(ROOM, group)))

    decrypted = await alice.ask(DecryptRoomEvent(room_id=ROOM, event=friend.room_event(ROOM, group)))
    assert 0 == decrypted.message_index


@pytest.mark.parametrize("at_once", [True, False])
async def test_the_newest_code_counts_unless_it_says_that_the_key_is_not_there(
    *, at_once: bool, alice: Supervisor, other: Supervisor, friend: Peer
) -> None:
    """The first one did, for ever. A sender's other devices, asked for a key, may not have it; that is no reason."""
    group = GroupSession()
    event = friend.room_event(ROOM, group)
    codes = ("m.unavailable", "m.unverified", "m.blacklisted", "m.unavailable")
    notices = [notice_of(friend, group, code) for code in codes]

    with alice.subscribe(RoomKeysWithheld) as events:
        for some in [notices] if at_once else [[notice] for notice in notices]:
            await alice.ask(DecryptToDevice(events=tuple(some)))
        told = [events.receive_nowait() for _ in range(events.statistics().current_buffer_used)]

    for supervisor in (alice, other):
        assert "m.blacklisted" == (await why_not(supervisor, event)).code
    heard = [code for each in told for *_, code in each.room_keys]
    assert (["m.blacklisted"] if at_once else ["m.unavailable", "m.unverified", "m.blacklisted"]) == heard


async def test_notices_are_bounded_and_nobodys_go_for_those_of_whoever_sends_many(
    alice: Supervisor, device: Device, friend: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody could fill the store with them, and nothing of it ever went."""
    monkeypatch.setattr(actor, "MOST_NOTICES", 4)
    group, mallory = GroupSession(), Peer(MALLORY)

    async def flood(first: int) -> None:
        events = (notice_of(mallory, group, session_id=f"{number}") for number in range(first, first + 40))
        await alice.ask(DecryptToDevice(events=tuple(events)))

    await alice.ask(DecryptToDevice(events=(notice_of(friend, group),)))
    await flood(0)
    assert "m.unverified" == (await why_not(alice, friend.room_event(ROOM, group))).code
    later = GroupSession()
    await alice.ask(DecryptToDevice(events=(notice_of(friend, later, "m.blacklisted"),)))
    async with device.open() as one:
        await one.ask(DecryptToDevice(events=(notice_of(mallory, group, session_id="one more"),)))
    for each, code in ((group, "m.unverified"), (later, "m.blacklisted")):
        assert code == (await why_not(alice, friend.room_event(ROOM, each))).code
    with closing(sqlite3.connect(device.folder / "olmstate.sqlite")) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM withheld_room_keys WHERE value IS NOT NULL").fetchone()
    assert 4 == rows


async def test_of_ones_own_notices_the_oldest_go(
    alice: Supervisor, friend: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "MOST_NOTICES", 2)
    first, second, third = GroupSession(), GroupSession(), GroupSession()
    for group, code in ((first, "m.unverified"), (second, "m.unverified"), (first, "m.blacklisted"), (third, "m.x")):
        await alice.ask(DecryptToDevice(events=(notice_of(friend, group, code),)))
    with pytest.raises(MissingRoomKey):
        await alice.ask(DecryptRoomEvent(room_id=ROOM, event=friend.room_event(ROOM, second)))
    for group, code in ((first, "m.blacklisted"), (third, "m.x")):
        assert code == (await why_not(alice, friend.room_event(ROOM, group))).code


async def test_a_notice_for_which_there_is_no_room_is_not_told_of(
    alice: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was: of users who have as many, it can be the new one's that goes."""
    monkeypatch.setattr(actor, "MOST_NOTICES", 2)
    group = GroupSession()
    with alice.subscribe(RoomKeysWithheld) as withheld:
        for server in ("c.example", "b.example", "a.example"):
            await alice.ask(DecryptToDevice(events=(notice_of(Peer(UserId(f"@u:{server}")), group),)))
        told = [withheld.receive_nowait().room_keys[0][2] for _ in range(withheld.statistics().current_buffer_used)]
    assert ["@u:c.example", "@u:b.example"] == told


@pytest.mark.parametrize("name", ["room_id", "session_id"])
async def test_a_notice_with_an_id_that_is_far_too_long_is_none(name: str, alice: Supervisor, friend: Peer) -> None:
    async with unchanged(alice):
        notice = notice_of(friend, GroupSession(), **{name: "!" * 256})
        await alice.ask(DecryptToDevice(events=(notice,)))


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"room_id": ROOM, "session_id": "s"},
        {"room_id": ROOM, "code": "m.no_olm"},
        {"room_id": ROOM, "session_id": ["s"], "code": "m.unverified"},
        {"room_id": ROOM, "session_id": "s", "code": "\ud800"},
        nested(10_000),
    ],
)
async def test_a_malformed_notice_harms_nothing(content: Json, alice: Supervisor) -> None:
    async with unchanged(alice):
        await alice.ask(
            DecryptToDevice(events=({"type": "m.room_key.withheld", "sender": MALLORY, "content": content},))
        )


@pytest.mark.parametrize("sender", [MALLORY, None, 5, "\ud800"])
async def test_nobody_can_say_that_anothers_key_was_withheld(sender: Json, alice: Supervisor, friend: Peer) -> None:
    group = GroupSession()
    content = {"room_id": ROOM, "session_id": group.session_id, "code": "m.unverified"}
    notice = {"type": "m.room_key.withheld", "content": content}
    event = friend.room_event(ROOM, group)

    await alice.ask(DecryptToDevice(events=({**notice, "sender": sender},)))
    with pytest.raises(MissingRoomKey):
        await alice.ask(DecryptRoomEvent(room_id=ROOM, event=event))

    await alice.ask(DecryptToDevice(events=({**notice, "sender": friend.user_id},)))
    with pytest.raises(RoomKeyWithheld):
        await alice.ask(DecryptRoomEvent(room_id=ROOM, event=event))


@pytest.mark.parametrize(
    "code", ["m.blacklisted", "m.unverified", "m.unauthorised", "m.unavailable", "org.example.of_mine"]
)
async def test_code_and_reason_are_told_in_every_process(
    code: str, alice: Supervisor, other: Supervisor, friend: Peer
) -> None:
    group = GroupSession()
    event = friend.room_event(ROOM, group)

    await alice.ask(DecryptToDevice(events=(notice_of(friend, group, code, reason="since I say so"),)))

    for supervisor in (alice, other):
        error = await why_not(supervisor, event)
        assert (code, "since I say so", None) == (error.code, error.reason, error.first_known_index)
        (same,) = await supervisor.ask(DecryptRoomEvents(events=((ROOM, event),)))
        assert isinstance(same, RoomKeyWithheld)
        assert code in str(same)


@pytest.mark.parametrize(
    ("reason", "kept"),
    [("x" * 1_001, "x" * 1_000), (None, None), (5, None), ("\ud800", None), ("\U0001f512", "\U0001f512")],
)
async def test_a_reason_is_a_text_of_a_thousand_characters_at_the_most(
    reason: Json, kept: str | None, alice: Supervisor, friend: Peer
) -> None:
    group = GroupSession()

    await alice.ask(DecryptToDevice(events=(notice_of(friend, group, reason=reason),)))

    assert kept == (await why_not(alice, friend.room_event(ROOM, group))).reason


async def test_a_code_that_is_far_too_long_is_none(alice: Supervisor, friend: Peer) -> None:
    async with unchanged(alice):
        await alice.ask(DecryptToDevice(events=(notice_of(friend, GroupSession(), "m" * 256),)))
    await alice.ask(DecryptToDevice(events=(notice_of(friend, group := GroupSession(), "m" * 255),)))
    assert "m" * 255 == (await why_not(alice, friend.room_event(ROOM, group))).code


async def test_a_sender_without_an_olm_session_says_nothing_of_a_room_key(alice: Supervisor, friend: Peer) -> None:
    group = GroupSession()
    content = {"algorithm": MEGOLM, "code": "m.no_olm", "sender_key": friend.curve25519}
    notice = {"type": "m.room_key.withheld", "sender": friend.user_id, "content": content}

    with alice.subscribe(RoomKeysWithheld) as events:
        await alice.ask(DecryptToDevice(events=(notice,)))
        assert 0 == events.statistics().current_buffer_used

    with pytest.raises(MissingRoomKey):
        await alice.ask(DecryptRoomEvent(room_id=ROOM, event=friend.room_event(ROOM, group)))


@pytest.mark.parametrize("skipped", [1, 300])
@pytest.mark.parametrize("first", ["notice", "key"])
async def test_what_was_sent_before_a_late_key_reads_as_withheld_and_the_rest_in_clear(
    *, first: str, skipped: int, alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    group = GroupSession()
    early = friend.room_event(ROOM, group, event_id="$early")
    for _ in range(skipped - 1):
        group.encrypt(b"")
    key = friend.event(me, "m.room_key", friend.room_key(ROOM, group))
    late = friend.room_event(ROOM, group, event_id="$late")
    notice = notice_of(friend, group, reason="not yet")

    for event in (notice, key) if first == "notice" else (key, notice):
        await alice.ask(DecryptToDevice(events=(event,)))

    for supervisor in (alice, other):
        error = await why_not(supervisor, early)
        assert ("m.unverified", "not yet", skipped) == (error.code, error.reason, error.first_known_index)
        assert "$late" == (await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=late))).content["body"]
        both = await supervisor.ask(DecryptRoomEvents(events=((ROOM, early), (ROOM, late))))
        assert [RoomKeyWithheld, DecryptedRoomEvent] == [type(each) for each in both]


async def test_anothers_notice_is_no_reason_why_a_key_begins_late(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    group = GroupSession()
    early = friend.room_event(ROOM, group)
    await decrypt(alice, friend.event(me, "m.room_key", friend.room_key(ROOM, group)))

    await alice.ask(DecryptToDevice(events=({**notice_of(friend, group), "sender": MALLORY},)))

    with pytest.raises(UnknownMessageIndex):
        await alice.ask(DecryptRoomEvent(room_id=ROOM, event=early))
