"""The inbox: what is the app's is there until it has dealt with it, in every process, whatever becomes of a reply."""

from __future__ import annotations

from pathlib import Path

import pytest
from vodozemac import GroupSession

from olmstate.actors import Supervisor
from olmstate.actors._inbox import actor, operations
from olmstate.messages import (
    AcknowledgeInbox,
    AddDevices,
    DecryptedToDevice,
    DecryptToDevice,
    DeviceIdentity,
    Inbox,
    InboxPage,
    InboxReceived,
    Json,
    JsonObject,
    KeepInInbox,
    Lagged,
    PlainToDevice,
    ReceiveSync,
    ReplayedToDevice,
    SenderState,
    SyncToken,
)
from olmstate.storage import backup, open_store
from tests.operations.conftest import Device
from tests.operations.device import KEY, ROOM, Clock, unchanged
from tests.operations.peer import Peer, keys_query

LETTER = "org.example.letter"


def plain(n: Json, sender: str = "@carol:example.org", event_type: str = LETTER) -> JsonObject:
    return {"type": event_type, "content": {"n": n}, "sender": sender}


def contents(page: InboxPage) -> list[Json]:
    return [
        each.event.content.get("n") if isinstance(each.event, DecryptedToDevice) else each.event.event["content"]["n"]
        for each in page.events
    ]


async def test_what_a_sync_brought_is_there_for_every_process_until_it_is_acknowledged(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer, device: Device
) -> None:
    events = [friend.event(me, LETTER, {"n": 1}), plain(2), friend.event(me, LETTER, {"n": 3})]
    received = await alice.ask(ReceiveSync(sync={"next_batch": "1", "to_device": {"events": events}}))

    page = await other.ask(Inbox())
    # those that came encrypted first: handlers are offered all of them at once
    assert ([1, 3, 2], False, 0) == (contents(page), page.more, page.lost)
    assert [received.to_device[at] for at in (0, 2, 1)] == [each.event for each in page.events]
    assert [device.clock()] * 3 == [each.received for each in page.events]
    await other.ask(AcknowledgeInbox(numbers=(page.events[0].number, 12345)))
    async with device.open() as later:
        left = await later.ask(Inbox())
        assert page.events[1:] == left.events
        await later.ask(AcknowledgeInbox(numbers=tuple(each.number for each in left.events)))
    assert () == (await alice.ask(Inbox())).events


async def test_an_event_that_a_helper_took_in_is_a_replay_for_the_syncing_process_and_in_the_inbox(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    letter = friend.event(me, LETTER, {"n": 1})
    await other.ask(DecryptToDevice(events=(letter,)))
    received = await alice.ask(ReceiveSync(sync={"next_batch": "1", "to_device": {"events": [letter]}}))

    assert [ReplayedToDevice] == [type(each) for each in received.to_device]
    assert [1] == contents(await alice.ask(Inbox()))


async def test_what_olmstate_does_something_about_is_not_kept_unless_that_is_wanted(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    def events() -> tuple[JsonObject, ...]:
        group = GroupSession()
        room_key = {
            "algorithm": "m.megolm.v1.aes-sha2",
            "room_id": ROOM,
            "session_id": group.session_id,
            "session_key": group.session_key.to_base64(),
        }
        request = plain(1, event_type="m.room_key_request")
        return friend.event(me, "m.room_key", room_key), request, friend.event(me, "m.dummy", {})

    await alice.ask(DecryptToDevice(events=events()))
    assert () == (await alice.ask(Inbox())).events

    await alice.ask(KeepInInbox(types=("m.room_key",)))
    await alice.ask(KeepInInbox(types=("m.room_key_request", "m.dummy")))
    await alice.ask(KeepInInbox(types=("m.dummy", LETTER), keep=False))
    async with unchanged(alice):
        await alice.ask(KeepInInbox(types=("m.dummy",), keep=False))
    await other.ask(DecryptToDevice(events=(*events(), plain(2))))

    key, request = (each.event for each in (await alice.ask(Inbox())).events)
    assert isinstance(key, DecryptedToDevice)
    assert ("m.room_key", {"algorithm", "room_id", "session_id"}) == (key.type, set(key.content))
    assert isinstance(request, PlainToDevice)


async def test_a_page_is_of_some_types_behind_a_number_and_no_longer_than_was_asked_for(
    alice: Supervisor, me: DeviceIdentity
) -> None:
    await alice.ask(DecryptToDevice(events=tuple(plain(n, event_type="ab"[n % 2]) for n in range(7))))

    first = await alice.ask(Inbox(types=("a",), limit=3))
    assert ([0, 2, 4], True) == (contents(first), first.more)
    second = await alice.ask(Inbox(types=("a",), after=first.events[-1].number, limit=3))
    assert ([6], False) == (contents(second), second.more)
    assert list(range(7)) == contents(await alice.ask(Inbox(types=("b", "a", "c"))))
    assert () == (await alice.ask(Inbox(types=()))).events


async def test_a_page_of_large_events_is_shorter_and_never_empty(
    alice: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "BYTES_A_PAGE", 2_500)
    await alice.ask(DecryptToDevice(events=tuple(plain(text * 1_000) for text in "abc")))
    await alice.ask(DecryptToDevice(events=(plain("d" * 3_000),)))
    numbers: list[int] = []
    pages: list[int] = []
    while (page := await alice.ask(Inbox(after=numbers[-1] if numbers else 0))).events:
        numbers += [each.number for each in page.events]
        pages.append(len(page.events))
        assert page.more == (len(numbers) < 4)
    assert [2, 1, 1] == pages


async def test_numbers_grow_and_none_is_given_twice(alice: Supervisor, clock: Clock) -> None:
    numbers: list[int] = []
    for n in range(3):
        await alice.ask(DecryptToDevice(events=(plain(n), plain(n))))
        page = await alice.ask(Inbox())
        numbers += [each.number for each in page.events]
        await alice.ask(AcknowledgeInbox(numbers=tuple(numbers)))
        clock.now -= 3_600_000  # somebody sets it back
    assert sorted(set(numbers)) == numbers


async def test_who_sent_an_event_is_worked_out_when_it_is_read(
    alice: Supervisor, me: DeviceIdentity, friend: Peer
) -> None:
    await alice.ask(DecryptToDevice(events=(friend.event(me, LETTER, {"n": 1}),)))
    (known,) = (each.event for each in (await alice.ask(Inbox())).events)
    assert isinstance(known, DecryptedToDevice)
    assert known.sender_device is not None
    assert (friend.device_id, SenderState.DEVICE) == (known.sender_device.device_id, known.sender_state)

    await alice.ask(AddDevices(response={"device_keys": {friend.user_id: {}}}))
    (gone,) = (each.event for each in (await alice.ask(Inbox())).events)
    assert isinstance(gone, DecryptedToDevice)
    assert (None, SenderState.UNKNOWN_DEVICE) == (gone.sender_device, gone.sender_state)
    assert (friend.user_id, friend.curve25519) == (gone.claimed_sender, gone.sender_key)

    await alice.ask(AddDevices(response=keys_query(friend)))
    assert known == (await alice.ask(Inbox())).events[0].event


# --- what there is no room for ------------------------------------------------------------------------------


async def test_nobody_pushes_out_what_others_have_sent(
    alice: Supervisor, me: DeviceIdentity, friend: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "MOST_EVENTS", 4)
    await alice.ask(DecryptToDevice(events=(friend.event(me, LETTER, {"n": "friend"}),)))
    await alice.ask(DecryptToDevice(events=tuple(plain(n, "@eve:example.org") for n in range(9))))

    page = await alice.ask(Inbox())
    assert (["friend", 6, 7, 8], 6) == (contents(page), page.lost)
    await alice.ask(DecryptToDevice(events=(plain("carol", "@carol:example.org"),)))
    assert ["friend", 7, 8, "carol"] == contents(await alice.ask(Inbox()))
    for n in range(4):
        await alice.ask(DecryptToDevice(events=(friend.event(me, LETTER, {"n": n}),)))
    page = await alice.ask(Inbox())
    assert ([0, 1, 2, 3], 11) == (contents(page), page.lost)


async def test_who_has_the_most_is_looked_at_anew_for_each_that_has_to_go(
    alice: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "MOST_EVENTS", 4)
    eves = [plain(n, "@eve:example.org") for n in range(4)]
    await alice.ask(DecryptToDevice(events=(*eves, *(plain(n, "@carol:example.org") for n in range(4, 7)))))
    assert [2, 3, 5, 6] == contents(await alice.ask(Inbox()))


async def test_large_events_are_bounded_by_their_size(alice: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "MOST_BYTES", 3_000)
    await alice.ask(DecryptToDevice(events=(plain("small", "@carol:example.org"),)))
    for n in range(3):
        await alice.ask(DecryptToDevice(events=(plain(str(n) * 1_000, "@eve:example.org"),)))
    page = await alice.ask(Inbox())
    assert (["small", "1" * 1_000, "2" * 1_000], 1) == (contents(page), page.lost)


async def test_what_is_too_large_by_itself_is_told_as_lost(alice: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MOST_CHARACTERS", 500)
    with alice.subscribe(InboxReceived) as heard:
        await alice.ask(DecryptToDevice(events=(plain("x" * 500), plain(1))))
        event = heard.receive_nowait()
    page = await alice.ask(Inbox())
    assert ([1], 1) == (contents(page), page.lost)
    assert (((page.events[0].number, LETTER),), 1) == (event.events, event.lost)


async def test_what_can_be_no_event_is_in_no_inbox_and_harms_nobody(alice: Supervisor) -> None:
    odd: tuple[JsonObject, ...] = (
        {**plain(1), "object": {1}},
        {**plain(2), "number": float("nan")},
        plain(3, event_type="x" * 256),
        {"type": "x", "content": {"n": "\ud800"}, "sender": ["odd"]},
        {"type": "", "content": {"n": 5}},
    )
    await alice.ask(DecryptToDevice(events=(*odd, plain(6))))
    assert ["\ud800", 5, 6] == contents(await alice.ask(Inbox()))


# --- what others hear ---------------------------------------------------------------------------------------


async def test_every_process_hears_of_what_came_and_a_later_one_of_what_it_missed(
    alice: Supervisor, other: Supervisor, me: DeviceIdentity, friend: Peer, device: Device
) -> None:
    with alice.subscribe(InboxReceived) as mine, other.subscribe(InboxReceived) as others:
        await alice.ask(DecryptToDevice(events=(friend.event(me, LETTER, {"n": 1}), plain(2, event_type="b"))))
        await other.ask(SyncToken())
        at_once = [mine.receive_nowait(), mine.receive_nowait()]
        heard = [await others.receive(), await others.receive()]
    page = await other.ask(Inbox())
    named = [((each.number, each_type),) for each, each_type in zip(page.events, (LETTER, "b"), strict=True)]
    assert named == [each.events for each in at_once] == [each.events for each in heard]
    async with device.open() as later:
        with later.subscribe(InboxReceived, Lagged, since=0) as missed:
            told = [await missed.receive(), await missed.receive()]
    assert at_once == told


# --- what is stored -----------------------------------------------------------------------------------------


async def test_nothing_of_it_can_be_read_on_the_disk_or_in_a_repr_and_a_backup_has_none_of_it(
    alice: Supervisor, me: DeviceIdentity, friend: Peer, device: Device, tmp_path: Path
) -> None:
    await alice.ask(DecryptToDevice(events=(friend.event(me, LETTER, {"n": "s3cret"}), plain("s3cret"))))
    page = await alice.ask(Inbox())
    assert "s3cret" not in repr(page)
    on_disk = b"".join(path.read_bytes() for path in device.folder.iterdir())
    assert b"s3cret" not in on_disk
    assert LETTER.encode() not in on_disk

    store = await open_store(device.folder, key=KEY)
    await backup(store, tmp_path / "backup")
    await store.aclose()
    device.clock.now += 1000
    async with device.open(tmp_path / "backup") as restored:
        assert InboxPage(events=(), more=False, lost=0) == await restored.ask(Inbox())
        (last, *_) = reversed(page.events)
        await restored.ask(DecryptToDevice(events=(plain(1),)))
        assert last.number < (await restored.ask(Inbox())).events[0].number
