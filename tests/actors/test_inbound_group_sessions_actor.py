"""The inbound group sessions actor: a room key decrypts what it should, and an index belongs to one event."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from olmstate.actors._room_keys.actor import (
    AddRoomKeys,
    AddWithheld,
    DecryptSome,
    InboundGroupSessionsActor,
    RoomKeysPage,
)
from olmstate.actors._room_keys.stored import WithheldRecord
from olmstate.actors._wire.steps import at_once
from olmstate.actors.testing import ActorsUnderTest, Faults, MemoryDisk, MemoryStore, run_actor
from olmstate.messages import (
    DecryptedRoomEvent,
    DecryptionError,
    DecryptRoomEvent,
    JsonObject,
    MalformedMessage,
    MismatchedRoom,
    MismatchedSender,
    MissingRoomKey,
    ReplayedMessage,
    RoomId,
    RoomKeyWithheld,
    SenderState,
    StoreCorrupt,
    StoreFull,
    UnknownMessageIndex,
)
from olmstate.storage import START, Row, Table
from tests.actors.peers import new_room_key
from tests.operations.device import ROOM
from tests.operations.peer import Peer, Room

OTHER_ROOM = RoomId("!other:example.org")


async def write_behind(inbound: InboundGroupSessionsActor) -> None:
    """Make what was decrypted part of the turn."""
    for step in inbound.before_commit():
        await inbound.ask(step)


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def actors(disk: MemoryDisk, faults: Faults) -> ActorsUnderTest:
    return ActorsUnderTest(MemoryStore(disk, faults=faults))


@pytest.fixture
def room() -> Room:
    return Room(Peer())


@pytest.fixture
async def inbound(actors: ActorsUnderTest, room: Room) -> AsyncIterator[InboundGroupSessionsActor]:
    """An actor with the room's key."""
    async with run_actor(actors.inbound_group_sessions) as inbound:
        await inbound.ask(AddRoomKeys(room_keys=(new_room_key(room),)))
        await actors.commit()
        yield inbound


async def decrypt(
    inbound: InboundGroupSessionsActor, event: JsonObject, *, room_id: RoomId = ROOM
) -> DecryptedRoomEvent | DecryptionError:
    try:
        return await inbound.ask(DecryptRoomEvent(room_id=room_id, event=event))
    except DecryptionError as error:
        return error


def altered(event: JsonObject, **content: object) -> JsonObject:
    return {**event, "content": {**event["content"], **content}}


def tables_read(faults: Faults) -> list[Table | None]:
    return [step.table for step in faults.steps if step.operation == "read"]


# --- decrypting -------------------------------------------------------------------------------------------------


async def test_an_event_is_decrypted_and_says_whose_key_did_it(inbound: InboundGroupSessionsActor, room: Room) -> None:
    decrypted = await decrypt(inbound, room.send({"body": "hello"}, event_id="$1"))
    assert isinstance(decrypted, DecryptedRoomEvent)
    assert (decrypted.type, decrypted.content) == ("m.room.message", {"body": "hello"})
    assert (decrypted.room_id, decrypted.event_id) == (ROOM, "$1")
    assert (decrypted.session_id, decrypted.message_index) == (room.session_id, 0)
    info = decrypted.encryption_info
    assert (info.sender_state, info.sender_device) == (SenderState.UNKNOWN_DEVICE, None)
    assert info.claimed_sender == room.maker.user_id
    assert (info.claimed_curve25519, info.claimed_ed25519) == (room.maker.curve25519, room.maker.ed25519)
    assert not info.imported


async def test_an_event_without_an_id_is_malformed(inbound: InboundGroupSessionsActor, room: Room) -> None:
    event = room.send()
    for event_id in (None, 7):
        assert isinstance(await decrypt(inbound, {**event, "event_id": event_id}), MalformedMessage)
    del event["event_id"]
    assert isinstance(await decrypt(inbound, event), MalformedMessage)


async def test_what_cannot_be_decrypted_is_told_apart(inbound: InboundGroupSessionsActor, room: Room) -> None:
    event, stranger = room.send(), Room(Peer())
    early = Room(Peer())
    sent_before = early.send()
    await inbound.ask(AddRoomKeys(room_keys=(new_room_key(early),)))
    expected: list[tuple[JsonObject, type[DecryptionError]]] = [
        (stranger.send(), MissingRoomKey),
        (altered(event, algorithm="m.megolm.v2"), MalformedMessage),
        (altered(event, ciphertext="no base64"), MalformedMessage),
        (altered(event, ciphertext=stranger.send()["content"]["ciphertext"]), MalformedMessage),
        (altered(event, ciphertext=None), MalformedMessage),
        (altered(event, session_id=5), MalformedMessage),
        ({**event, "content": None}, MalformedMessage),
        ({**event, "sender": "@mallory:example.org"}, MismatchedSender),
    ]
    for bad, error in expected:
        assert isinstance(await decrypt(inbound, bad), error)
    assert isinstance(await decrypt(inbound, sent_before), MissingRoomKey)  # of an uncommitted key
    assert isinstance(await decrypt(inbound, event), DecryptedRoomEvent)


async def test_a_message_from_before_the_key_is_not_readable(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor
) -> None:
    late = Room(Peer())
    before = late.send()
    await inbound.ask(AddRoomKeys(room_keys=(new_room_key(late),)))
    await actors.commit()
    error = await decrypt(inbound, before)
    assert isinstance(error, UnknownMessageIndex)
    assert (error.message_index, error.first_known_index) == (0, 1)


async def test_a_message_that_was_encrypted_for_another_room_is_refused(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room
) -> None:
    await inbound.ask(AddRoomKeys(room_keys=(msgspec.structs.replace(new_room_key(room), room_id=OTHER_ROOM),)))
    await actors.commit()
    assert isinstance(await decrypt(inbound, room.send(), room_id=OTHER_ROOM), MismatchedRoom)


async def test_of_many_events_a_bad_one_harms_none(inbound: InboundGroupSessionsActor, room: Room) -> None:
    first, second, unknown = room.send({"body": "1"}), room.send({"body": "2"}), Room(Peer()).send()
    replies = await inbound.ask(
        DecryptSome(events=((ROOM, first), (ROOM, unknown), (ROOM, {"content": 5}), (ROOM, second)))
    )
    assert [DecryptedRoomEvent, MissingRoomKey, MalformedMessage, DecryptedRoomEvent] == [
        type(reply) for reply in replies
    ]


async def test_a_session_is_read_once_for_many_events_and_a_notice_only_where_there_is_no_key(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room, disk: MemoryDisk, faults: Faults
) -> None:
    disk.write_from_elsewhere(keys_known=False)
    actors.refresh()
    faults.steps.clear()
    await inbound.ask(DecryptSome(events=tuple((ROOM, room.send()) for _ in range(9))))
    assert tables_read(faults) == [
        *(Table.INBOUND_GROUP_SESSIONS, Table.MESSAGE_INDICES),
        *(Table.DEVICES, Table.IDENTITIES),
    ]
    faults.steps.clear()
    await decrypt(inbound, Room(Peer()).send())
    assert tables_read(faults) == [Table.INBOUND_GROUP_SESSIONS, Table.WITHHELD_ROOM_KEYS]


async def test_an_event_that_names_no_session_reads_nothing(inbound: InboundGroupSessionsActor, faults: Faults) -> None:
    faults.steps.clear()
    await decrypt(inbound, {"content": {"algorithm": "m.megolm.v1.aes-sha2"}})
    assert faults.steps == []


# --- room keys and notices --------------------------------------------------------------------------------------


async def test_a_key_that_comes_again_is_known_and_an_earlier_one_is_better(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor
) -> None:
    late = Room(Peer())
    from_start = new_room_key(late)
    first_event = late.send()
    from_now = new_room_key(late)
    assert ("new",) == await inbound.ask(AddRoomKeys(room_keys=(from_now,)))
    await actors.commit()
    assert isinstance(await decrypt(inbound, first_event), UnknownMessageIndex)
    assert ("known",) == await inbound.ask(AddRoomKeys(room_keys=(from_now,)))
    assert at_once(inbound.changed_rows()) == {}
    assert ("better", "known") == await inbound.ask(AddRoomKeys(room_keys=(from_start, from_now)))
    await actors.commit()
    assert isinstance(await decrypt(inbound, first_event), DecryptedRoomEvent)


async def test_a_forged_key_under_the_same_id_is_kept_apart_and_what_it_decrypts_says_so(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room
) -> None:
    forged = Room(Peer())
    new = msgspec.structs.replace(new_room_key(forged, exported=True), session_id=room.session_id)
    assert ("unconnected",) == await inbound.ask(AddRoomKeys(room_keys=(new,)))
    await actors.commit()
    genuine = await decrypt(inbound, room.send())
    forged.send()  # its index is the genuine event's
    theirs = forged.send()["content"]["ciphertext"]
    fake = await decrypt(inbound, altered(room.send(), ciphertext=theirs))
    assert isinstance(genuine, DecryptedRoomEvent)
    assert isinstance(fake, DecryptedRoomEvent)
    for event, imported, peer in ((genuine, False, room.maker), (fake, True, forged.maker)):
        info = event.encryption_info
        assert (info.imported, info.claimed_curve25519) == (imported, peer.curve25519)


async def test_the_reason_of_the_last_notice_is_told_until_the_key_comes(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor
) -> None:
    withheld = Room(Peer())
    for code in ("m.unverified", "m.blacklisted"):
        name = ROOM, withheld.session_id, withheld.maker.user_id
        await inbound.ask(AddWithheld(notices={name: WithheldRecord(code=code)}))
        await actors.commit()
    error = await decrypt(inbound, withheld.send())
    assert isinstance(error, RoomKeyWithheld)
    assert error.code == "m.blacklisted"
    await inbound.ask(AddRoomKeys(room_keys=(new_room_key(withheld),)))
    await actors.commit()
    assert isinstance(await decrypt(inbound, withheld.send()), DecryptedRoomEvent)


async def test_a_query_sees_no_key_of_a_turn_that_may_yet_fail(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor
) -> None:
    new = Room(Peer())
    await inbound.ask(AddRoomKeys(room_keys=(new_room_key(new),)))
    assert isinstance(await decrypt(inbound, new.send()), MissingRoomKey)
    actors.roll_back()
    assert isinstance(await decrypt(inbound, new.send()), MissingRoomKey)
    await inbound.ask(AddRoomKeys(room_keys=(new_room_key(new),)))
    await actors.commit()
    assert isinstance(await decrypt(inbound, new.send()), DecryptedRoomEvent)


async def test_a_key_from_another_process_is_found_after_a_look(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, disk: MemoryDisk
) -> None:
    new, others = Room(Peer()), ActorsUnderTest(MemoryStore(disk))
    assert isinstance(await decrypt(inbound, new.send()), MissingRoomKey)
    async with run_actor(others.inbound_group_sessions) as other:
        others.refresh()
        await other.ask(AddRoomKeys(room_keys=(new_room_key(new),)))
        await others.commit()
    actors.refresh()
    assert isinstance(await decrypt(inbound, new.send()), DecryptedRoomEvent)


async def test_pages_walk_all_keys_in_the_order_of_their_rows(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room
) -> None:
    rooms = [Room(Peer()) for _ in range(4)]
    await inbound.ask(AddRoomKeys(room_keys=tuple(new_room_key(each) for each in rooms)))
    await actors.commit()
    found: list[str] = []
    after, entries = await inbound.ask(RoomKeysPage(limit=2))
    while entries:
        assert len(entries) <= 2
        found += [entry.copies[0].session.session_id for entry in entries]
        after, entries = await inbound.ask(RoomKeysPage(after=after, limit=2))
    assert after == START
    assert {each.session_id for each in [room, *rooms]} == set(found)
    assert len(found) == 5


async def test_a_damaged_row_in_a_page_is_a_damaged_store_and_no_bug(
    inbound: InboundGroupSessionsActor, room: Room, disk: MemoryDisk
) -> None:
    # walking the whole table, as an export does, stopped the actor
    disk.write_from_elsewhere({Table.INBOUND_GROUP_SESSIONS: [Row(b"damaged", b"damaged", b"{")]})
    with pytest.raises(StoreCorrupt, match="inbound_group_sessions"):
        await inbound.ask(RoomKeysPage())
    assert isinstance(await decrypt(inbound, room.send()), DecryptedRoomEvent)


# --- the replay guard -------------------------------------------------------------------------------------------


def replayed(event: JsonObject) -> JsonObject:
    return {**event, "event_id": "$another"}


async def test_an_event_may_be_decrypted_again_and_another_with_its_index_may_not(
    inbound: InboundGroupSessionsActor, room: Room
) -> None:
    event = room.send()
    for _ in range(2):
        assert isinstance(await decrypt(inbound, event), DecryptedRoomEvent)
        assert isinstance(await decrypt(inbound, replayed(event)), ReplayedMessage)
    assert inbound.before_commit()


async def test_in_one_batch_the_first_event_gets_the_index(inbound: InboundGroupSessionsActor, room: Room) -> None:
    event = room.send()
    replies = await inbound.ask(DecryptSome(events=((ROOM, event), (ROOM, replayed(event)))))
    assert [DecryptedRoomEvent, ReplayedMessage] == [type(reply) for reply in replies]


async def test_the_guard_holds_in_another_process_once_it_is_written(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room, disk: MemoryDisk
) -> None:
    event = room.send()
    await decrypt(inbound, event)
    others = ActorsUnderTest(MemoryStore(disk))
    async with run_actor(others.inbound_group_sessions) as other:
        others.refresh()
        await write_behind(inbound)
        await actors.commit()
        others.refresh()
        assert isinstance(await decrypt(other, replayed(event)), ReplayedMessage)
        assert isinstance(await decrypt(other, event), DecryptedRoomEvent)


async def test_nothing_waits_to_be_written_once_it_is_written(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room
) -> None:
    await decrypt(inbound, room.send())
    await write_behind(inbound)
    await actors.commit()
    assert not inbound.before_commit()
    await write_behind(inbound)
    assert at_once(inbound.changed_rows()) == {}


async def test_what_is_decrypted_while_the_guard_is_being_written_waits_for_the_next_turn(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room
) -> None:
    first, second = room.send(), room.send()
    await decrypt(inbound, first)
    await write_behind(inbound)
    await decrypt(inbound, second)
    await actors.commit()
    assert inbound.before_commit()
    for event in (first, second):
        assert isinstance(await decrypt(inbound, replayed(event)), ReplayedMessage)
    await write_behind(inbound)
    await actors.commit()
    assert not inbound.before_commit()


async def test_the_guard_survives_a_turn_that_fails(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room, faults: Faults, disk: MemoryDisk
) -> None:
    event = room.send()
    await decrypt(inbound, event)
    faults.at("commit", StoreFull())
    await write_behind(inbound)
    with pytest.raises(StoreFull):
        await actors.commit()
    assert isinstance(await decrypt(inbound, replayed(event)), ReplayedMessage)
    assert inbound.before_commit()
    await write_behind(inbound)
    await actors.commit()
    assert len(disk.rows(Table.MESSAGE_INDICES)) == 1


async def test_the_guard_survives_invalidations(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room, disk: MemoryDisk
) -> None:
    before, between = room.send(), room.send()
    await decrypt(inbound, before)
    disk.write_from_elsewhere(keys_known=False)
    actors.refresh()
    await decrypt(inbound, between)
    await write_behind(inbound)
    disk.write_from_elsewhere(keys_known=False)
    actors.refresh()  # the turn can't commit what it had merged
    await actors.commit()
    for event in (before, between):
        assert isinstance(await decrypt(inbound, replayed(event)), ReplayedMessage)
    await write_behind(inbound)
    await actors.commit()
    assert not inbound.before_commit()
    assert len(disk.rows(Table.MESSAGE_INDICES)) == 1


async def test_of_two_processes_the_first_to_write_gives_its_event_the_index(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room, disk: MemoryDisk
) -> None:
    event = room.send()
    others = ActorsUnderTest(MemoryStore(disk))
    async with run_actor(others.inbound_group_sessions) as other:
        others.refresh()
        await decrypt(other, replayed(event))
        await decrypt(inbound, event)  # neither knows of the other
        await write_behind(other)
        await others.commit()
        actors.refresh()
        await write_behind(inbound)
        await actors.commit()
        others.refresh()
        for process in (inbound, other):
            assert isinstance(await decrypt(process, replayed(event)), DecryptedRoomEvent)
            assert isinstance(await decrypt(process, event), ReplayedMessage)


async def test_indices_are_stored_in_blocks_and_only_those_that_changed_are_written(
    actors: ActorsUnderTest, inbound: InboundGroupSessionsActor, room: Room, disk: MemoryDisk
) -> None:
    events = [room.send() for _ in range(300)]
    await inbound.ask(DecryptSome(events=tuple((ROOM, event) for event in events)))
    await write_behind(inbound)
    await actors.commit()
    assert len(disk.rows(Table.MESSAGE_INDICES)) == 2
    await decrypt(inbound, room.send())
    await write_behind(inbound)
    assert len(at_once(inbound.changed_rows())[Table.MESSAGE_INDICES]) == 1
    await actors.commit()
    actors.refresh()
    replies = await inbound.ask(DecryptSome(events=tuple((ROOM, replayed(event)) for event in events)))
    assert {ReplayedMessage} == {type(reply) for reply in replies}
