"""The outbound group sessions actor: an index is used once, by one process, on a session that was shared."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from vodozemac import InboundGroupSession, MegolmMessage, SessionKey

from olmstate.actors._rooms.actor import (
    FIRST_RESERVED,
    LEAST_RESERVED,
    MOST_RESERVED,
    Current,
    Discard,
    Encrypt,
    EncryptReserved,
    Export,
    GiveBack,
    MarkShared,
    Replace,
)
from olmstate.actors._wire.room_event import MegolmCiphertext
from olmstate.actors._wire.steps import at_once
from olmstate.actors.testing import ActorsUnderTest, Faults, MemoryDisk, MemoryStore, run_actor
from olmstate.messages import (
    DeviceAddress,
    EncryptionError,
    EncryptionSettings,
    MegolmSessionId,
    OutboundRoomKey,
    RoomId,
    RoomKeyNotShared,
    RoomKeyReplaced,
    RotationPeriod,
    StoreFull,
)
from olmstate.storage import Table
from tests.operations.device import ROOM
from tests.operations.peer import Peer

NOW = 1_700_000_000_000
LONG = RotationPeriod(messages=10_000)
BOB, CAROL = Peer().address, Peer("@carol:example.org", "CAROL").address


def turn(now: int = NOW) -> Encrypt:
    return Encrypt(room_id=ROOM, plaintext=b"hello", now=now)


def current(now: int = NOW) -> Current:
    return Current(room_id=ROOM, now=now, rotation=None, shared_history=None)


def shared(session_id: MegolmSessionId, *devices: DeviceAddress) -> MarkShared:
    return MarkShared(room_id=ROOM, session_id=session_id, devices=frozenset(devices))


class Process:
    """An actor, the rest of its process, and what it has encrypted."""

    def __init__(self, disk: MemoryDisk, faults: Faults | None = None) -> None:
        self.actors = ActorsUnderTest(MemoryStore(disk, faults=faults))
        self.outbound = self.actors.outbound_group_sessions

    async def encrypt(self, now: int = NOW) -> MegolmCiphertext:
        """As the supervisor does: with a reserved index, or in a turn."""
        self.actors.refresh()
        (reserved,) = await self.outbound.ask(self.beside(now))
        if reserved is not None:
            return reserved
        encrypted = await self.outbound.ask(turn(now))
        await self.commit()
        return encrypted

    def beside(self, now: int = NOW) -> EncryptReserved:
        """An event for an index that is reserved, of whoever has looked just now."""
        return EncryptReserved(events=((ROOM, b"hello", None),), now=now, seen=self.actors.newest.generation)

    async def commit(self) -> None:
        await self.actors.commit()
        self.actors.refresh()

    async def indices(self, count: int) -> list[int]:
        return [(await self.encrypt()).message_index for _ in range(count)]

    async def export(self) -> OutboundRoomKey:
        self.actors.refresh()
        key = await self.outbound.ask(Export(room_id=ROOM))
        assert key is not None
        await self.commit()
        return key


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def process(disk: MemoryDisk, faults: Faults) -> AsyncIterator[Process]:
    """A process with a session that was shared with Bob."""
    process = Process(disk, faults)
    async with run_actor(process.outbound):
        made = await process.outbound.ask(Replace(room_id=ROOM, now=NOW, settings=EncryptionSettings(rotation=LONG)))
        await process.outbound.ask(shared(made.session_id, BOB))
        await process.commit()
        yield process


@pytest.fixture
async def another(disk: MemoryDisk) -> AsyncIterator[Process]:
    another = Process(disk)
    async with run_actor(another.outbound):
        yield another


# --- indices ------------------------------------------------------------------------------------------------


async def test_indices_are_used_one_after_another_and_most_need_no_commit(process: Process, disk: MemoryDisk) -> None:
    before = disk.generation
    assert list(range(50)) == await process.indices(50)
    # 1, 2, 4, 8, 16 and 32 at a time
    assert disk.generation - before == 6


async def test_what_is_encrypted_can_be_read_with_the_key_from_its_index_on(process: Process) -> None:
    await process.indices(3)
    key = await process.export()
    reader = InboundGroupSession(SessionKey(key.session_key))
    message = await process.encrypt()
    assert key.message_index <= message.message_index
    assert reader.decrypt(MegolmMessage.from_base64(message.ciphertext)).plaintext == b"hello"


async def test_two_processes_never_use_an_index_twice(process: Process, another: Process) -> None:
    used: list[int] = []
    for _ in range(30):
        used += await process.indices(2)
        used += await another.indices(3)
    assert len(set(used)) == len(used) == 150


async def test_what_is_reserved_stays_reserved_while_others_write(
    process: Process, another: Process, disk: MemoryDisk
) -> None:
    assert await process.indices(4) == [0, 1, 2, 3]  # 1, 2 and 4 at a time
    assert await another.indices(2) == [7, 8]  # 1 and 2
    disk.write_from_elsewhere(keys_known=False)
    assert await process.indices(3) == [4, 5, 6]
    assert await another.indices(1) == [9]


async def test_a_process_that_is_killed_leaves_a_gap_and_never_a_second_use(process: Process, disk: MemoryDisk) -> None:
    used = await process.indices(4)
    reborn = Process(disk)
    async with run_actor(reborn.outbound):
        assert min(await reborn.indices(3)) == 7 > max(used)


async def test_a_reservation_that_is_not_on_the_disk_is_no_reservation(
    process: Process, faults: Faults, another: Process
) -> None:
    faults.at("commit", StoreFull())
    await process.outbound.ask(turn())
    with pytest.raises(StoreFull):
        await process.actors.commit()
    assert (None,) == await process.outbound.ask(process.beside())
    assert await another.indices(1) == [0]  # nobody has seen the other message
    assert await process.indices(1) == [FIRST_RESERVED]


async def test_an_index_of_a_turn_that_may_yet_fail_is_not_used_beside_it(process: Process) -> None:
    encrypted = await process.outbound.ask(turn())
    assert encrypted.message_index == 0
    assert (None,) == await process.outbound.ask(process.beside())
    await process.commit()
    assert await process.indices(1) == [1]


async def test_nothing_is_used_beside_a_turn_once_it_is_known_that_somebody_has_committed_since_the_look(
    process: Process, disk: MemoryDisk
) -> None:
    await process.indices(4)  # of seven that are reserved by then
    asked = process.beside()
    assert (None,) != await process.outbound.ask(asked)
    disk.write_from_elsewhere()
    process.actors.refresh()
    assert (None,) == await process.outbound.ask(asked)
    assert (None,) != await process.outbound.ask(process.beside())


async def test_a_reservation_grows_while_nobody_comes_in_between(
    process: Process, another: Process, disk: MemoryDisk
) -> None:
    await process.indices(MOST_RESERVED - FIRST_RESERVED + MOST_RESERVED)  # 1, 2, … and once the most
    before = disk.generation
    await process.indices(MOST_RESERVED + 1)
    assert disk.generation - before == 2  # never more than that at a time
    await another.indices(1)
    before = disk.generation
    await process.indices(MOST_RESERVED - 1 + LEAST_RESERVED + 2 * LEAST_RESERVED + 1)
    assert disk.generation - before == 3  # when what was left is used up it begins small again


async def test_processes_that_send_one_event_each_skip_none(disk: MemoryDisk, process: Process) -> None:
    used = await process.indices(1)
    for _ in range(49):
        once = Process(disk)
        async with run_actor(once.outbound):
            used += await once.indices(1)
    assert list(range(50)) == used


async def test_processes_that_send_many_events_beside_each_other_reserve_some_at_a_time(
    process: Process, another: Process, disk: MemoryDisk
) -> None:
    for _ in range(20):
        await process.indices(1)
        await another.indices(1)
    before = disk.generation
    for _ in range(16):
        await process.indices(1)
        await another.indices(1)
    assert 2 * 16 // LEAST_RESERVED == disk.generation - before


async def test_what_is_given_back_is_used_by_the_next(process: Process, another: Process) -> None:
    assert await process.indices(3) == [0, 1, 2]
    await process.outbound.ask(GiveBack())
    await process.commit()
    assert await another.indices(2) == [3, 4]


async def test_what_another_has_gone_past_is_not_given_back(process: Process, another: Process) -> None:
    used = await process.indices(3) + await another.indices(3)
    process.actors.refresh()
    await process.outbound.ask(GiveBack())
    assert at_once(process.outbound.changed_rows()) == {}
    used += await another.indices(9) + await process.indices(9)
    assert len(set(used)) == len(used)


async def test_what_was_given_back_in_a_turn_that_fails_is_used_by_nobody(process: Process, another: Process) -> None:
    used = await process.indices(3)
    await process.outbound.ask(GiveBack())
    process.actors.roll_back()
    used += await process.indices(3) + await another.indices(3)
    assert len(set(used)) == len(used)


# --- exporting ----------------------------------------------------------------------------------------------


async def test_after_an_export_nothing_is_sent_with_an_earlier_index_by_anybody(
    process: Process, another: Process
) -> None:
    await process.indices(2)
    await another.indices(2)
    exported = await process.export()
    sent = await another.indices(20) + await process.indices(20)
    assert min(sent) >= exported.message_index
    assert len(set(sent)) == 40


async def test_an_export_in_a_turn_that_fails_ends_no_reservation_of_others(process: Process, another: Process) -> None:
    used = await process.indices(2) + await another.indices(2)
    process.actors.refresh()
    await process.outbound.ask(Export(room_id=ROOM))
    process.actors.roll_back()
    used += await another.indices(2) + await process.indices(20)
    assert len(set(used)) == len(used)


# --- rotation -----------------------------------------------------------------------------------------------


async def refused(process: Process, now: int = NOW) -> type[EncryptionError] | None:
    try:
        await process.encrypt(now)
    except EncryptionError as error:
        return type(error)
    return None


async def test_a_session_ends_after_as_many_messages_as_the_room_allows(disk: MemoryDisk) -> None:
    process = Process(disk)
    async with run_actor(process.outbound) as outbound:
        made = await outbound.ask(
            Replace(room_id=ROOM, now=NOW, settings=EncryptionSettings(rotation=RotationPeriod(messages=11)))
        )
        await outbound.ask(shared(made.session_id))
        await process.commit()
        assert list(range(11)) == await process.indices(11)
        assert await refused(process) is RoomKeyNotShared
        assert None is await outbound.ask(current())


@pytest.mark.parametrize(
    ("now", "usable"), [(NOW, True), (NOW + 604_799_999, True), (NOW + 604_800_000, False), (NOW - 1, False)]
)
async def test_a_session_ends_after_a_week_and_when_the_clock_was_set_back(
    process: Process,
    now: int,
    usable: bool,  # noqa: FBT001 - what is expected
) -> None:
    await process.indices(1)
    assert (await refused(process, now) is None) == usable
    assert (await process.outbound.ask(current(now)) is not None) == usable


async def test_a_replaced_or_discarded_session_is_used_by_nobody_any_more(process: Process, another: Process) -> None:
    old = (await process.encrypt()).session_id
    await another.encrypt()
    process.actors.refresh()
    made = await process.outbound.ask(Replace(room_id=ROOM, now=NOW, settings=EncryptionSettings(rotation=LONG)))
    await process.commit()
    assert made.session_id != old
    for each in (process, another):
        assert await refused(each) is RoomKeyNotShared
    await process.outbound.ask(shared(made.session_id))
    await process.commit()
    for each in (process, another):
        assert (await each.encrypt()).session_id == made.session_id
    another.actors.refresh()
    await another.outbound.ask(Discard(room_id=ROOM))
    await another.commit()
    for each in (process, another):
        assert await refused(each) is RoomKeyNotShared
        assert None is await each.outbound.ask(current())


async def test_a_replacement_that_fails_leaves_the_session_as_it_was(process: Process) -> None:
    session_id = (await process.encrypt()).session_id
    await process.outbound.ask(Replace(room_id=ROOM, now=NOW, settings=EncryptionSettings(rotation=LONG)))
    process.actors.roll_back()
    assert ((await process.encrypt()).session_id, (await process.encrypt()).message_index) == (session_id, 2)


async def test_discarding_nothing_writes_nothing(process: Process) -> None:
    await process.outbound.ask(Discard(room_id=RoomId("!nobody:example.org")))
    assert at_once(process.outbound.changed_rows()) == {}


# --- recipients ---------------------------------------------------------------------------------------------


async def test_nothing_is_encrypted_before_the_key_was_marked_as_shared(disk: MemoryDisk) -> None:
    process = Process(disk)
    async with run_actor(process.outbound) as outbound:
        assert await refused(process) is RoomKeyNotShared
        made = await outbound.ask(Replace(room_id=ROOM, now=NOW, settings=EncryptionSettings(rotation=LONG)))
        await process.commit()
        assert await refused(process) is RoomKeyNotShared
        await outbound.ask(shared(made.session_id))  # a room with nobody else in it
        await process.commit()
        assert await refused(process) is None


async def test_recipients_are_those_that_were_marked_in_any_process(process: Process, another: Process) -> None:
    session_id = (await process.encrypt()).session_id
    another.actors.refresh()
    await another.outbound.ask(shared(session_id, BOB, CAROL))
    await another.commit()
    process.actors.refresh()
    found = await process.outbound.ask(current())
    assert found is not None
    assert {BOB, CAROL} == found.shared_with


async def test_marking_whom_one_has_marked_before_writes_nothing(process: Process) -> None:
    session_id = (await process.encrypt()).session_id
    await process.outbound.ask(shared(session_id, BOB))
    assert at_once(process.outbound.changed_rows()) == {}


async def test_a_session_that_was_replaced_cannot_be_marked(process: Process) -> None:
    session_id = (await process.encrypt()).session_id
    await process.outbound.ask(Replace(room_id=ROOM, now=NOW, settings=EncryptionSettings(rotation=LONG)))
    with pytest.raises(RoomKeyReplaced):
        await process.outbound.ask(shared(session_id, BOB))
    with pytest.raises(RoomKeyReplaced):
        await process.outbound.ask(MarkShared(room_id=RoomId("!no"), session_id=session_id, devices=frozenset()))


async def test_recipients_of_a_session_go_with_it(process: Process, disk: MemoryDisk) -> None:
    session_id = (await process.encrypt()).session_id
    await process.outbound.ask(shared(session_id, CAROL))
    await process.commit()
    assert len(disk.rows(Table.ROOM_KEY_RECIPIENTS)) == 2
    await process.outbound.ask(Replace(room_id=ROOM, now=NOW, settings=EncryptionSettings(rotation=LONG)))
    await process.commit()
    assert disk.rows(Table.ROOM_KEY_RECIPIENTS) == []
    found = await process.outbound.ask(current())
    assert found is not None
    assert found.shared_with == frozenset()


async def test_a_message_does_not_load_the_recipients(process: Process, disk: MemoryDisk) -> None:
    reborn = Process(disk)
    async with run_actor(reborn.outbound) as outbound:
        await reborn.indices(3)
        assert outbound.statistics()["room_key_recipients"].loaded == 0
        assert outbound.statistics()["outbound_group_sessions"].loaded == 1
