"""A bug is its asker's: the turn that met it is rolled back, the others go on, and what is stored can be read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from vodozemac import Ed25519PublicKey

from olmstate.actors import Options
from olmstate.actors._devices.actor import DevicesActor, UserDevices
from olmstate.actors._engine.records import dumps
from olmstate.actors._engine.turn import Turn
from olmstate.actors._room_keys.actor import InboundGroupSessionsActor
from olmstate.actors._room_keys.stored import RoomKeyRecord
from olmstate.actors._rooms.actor import Encrypt, EncryptReserved, OutboundGroupSessionsActor
from olmstate.actors.testing import MemoryDisk, MemoryStore
from olmstate.messages import (
    AddRoomKey,
    CreateAccount,
    DeviceIdentity,
    Devices,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    ExportRoomKeys,
    InternalError,
    MarkRoomKeyShared,
    Message,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    Reply,
    RoomId,
    RoomKeyChange,
    Statistics,
    StorePoisoned,
    SyncToken,
)
from olmstate.storage import Table
from tests.actors.capabilities import Run, with_run
from tests.actors.supervised import refusal, supervised
from tests.actors.test_turns import Askers, a_second
from tests.operations.device import ROOM
from tests.operations.peer import Peer, Room, add_devices


class Bug(Exception):
    """Nothing that anybody expects."""


def panic() -> None:
    """One of vodozemac's own, which is no Exception: it takes 33 bytes for a key."""
    Ed25519PublicKey.from_base64("A" * 44)


def bug() -> None:
    """A plain one."""
    raise Bug


BUGS = pytest.mark.parametrize("meet", [bug, panic])


def test_a_panic_is_no_exception() -> None:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - it has no name
        panic()
    assert not isinstance(caught.value, Exception)


# --- in an actor --------------------------------------------------------------------------------------------


@BUGS
async def test_a_bug_in_an_actor_is_its_askers_and_the_others_go_on(
    meet: Callable[[], None], monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    handle, peer = DevicesActor.handle, Peer()
    met: list[Message[Any]] = []

    def meet_once(self: DevicesActor, message: Any) -> Reply:  # noqa: ANN401 - as the actor's
        if not met:
            met.append(message)
            meet()
        return handle(self, message)

    monkeypatch.setattr(DevicesActor, "handle", meet_once)
    async with supervised(MemoryDisk(), latency=a_second) as supervisor:
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery)
            askers.ask(supervisor, Devices(user_id=peer.user_id))
            await wait_all_tasks_blocked()
            askers.ask(supervisor, add_devices(peer))
            askers.ask(supervisor, SyncToken())
        assert {InternalError} == {heard for heard in askers.heard if isinstance(heard, type)}
        assert 3 == len(askers.heard)
        assert (peer.keys,) == await supervisor.ask(Devices(user_id=peer.user_id))


async def test_the_asker_is_told_which_bug_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DevicesActor, "handle", lambda *_: {}["s3cret"])  # type: ignore[index]
    async with supervised(MemoryDisk()) as supervisor:
        for _ in range(2):  # the second in the asker's own slice of time
            error = await refusal(supervisor, Devices(user_id=Peer().user_id))
            assert isinstance(error, InternalError)
            assert isinstance(error.__cause__, KeyError | InternalError)
            assert str(error).startswith("olmstate has a bug: KeyError in tests.actors.test_bugs.")
            assert "s3cret" not in str(error)


async def test_what_a_handler_that_failed_may_have_spoiled_is_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    async with supervised(MemoryDisk()) as supervisor:
        await supervisor.ask(add_devices(peer))
        await supervisor.ask(Devices(user_id=peer.user_id))

        def spoil(self: Any, message: Devices) -> Reply:  # noqa: ANN401 - an actor
            entry: UserDevices = self._devices.committed(self._partition(message.user_id))
            entry.by_id.clear()
            raise Bug

        with monkeypatch.context() as patch:
            patch.setattr(DevicesActor, "handle", spoil)
            await refusal(supervisor, Devices(user_id=peer.user_id))
        assert (peer.keys,) == await supervisor.ask(Devices(user_id=peer.user_id))


# --- in a turn ----------------------------------------------------------------------------------------------


@BUGS
async def test_a_command_that_meets_a_bug_half_way_is_taken_out_and_the_others_run_again(
    meet: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = [Room(Peer()) for _ in range(5)]
    broken = rooms[2].add_room_key()

    def breaking(run: Run) -> Run:
        async def break_half_way(turn: Turn, command: AddRoomKey) -> RoomKeyChange:
            change: RoomKeyChange = await run(turn, command)
            if command.session_id == broken.session_id:
                meet()
            return change

        return break_half_way

    monkeypatch.setattr("olmstate.actors._open.CAPABILITIES", with_run(AddRoomKey, breaking))
    disk = MemoryDisk()
    async with supervised(disk) as supervisor:
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery)
            for room in rooms:
                askers.ask(supervisor, broken if room is rooms[2] else room.add_room_key())
        assert [InternalError, *["new"] * 4] == sorted(askers.heard, key=str)
        statistics = await supervisor.ask(Statistics())
        assert (1, 1) == (statistics.turns, statistics.commits)
    assert 4 == len(disk.rows(Table.INBOUND_GROUP_SESSIONS))


async def test_what_a_bug_may_have_done_to_others_changes_is_rolled_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    handle, rooms = InboundGroupSessionsActor.handle, [Room(Peer()) for _ in range(2)]
    broken = rooms[1].session_id

    def spoil(self: Any, message: Any) -> Reply:  # noqa: ANN401 - an actor, and its messages
        if any(new.session_id == broken for new in getattr(message, "room_keys", ())):
            self._room_keys._dirty.clear()  # of which nobody counts it
            raise Bug
        return handle(self, message)

    monkeypatch.setattr(InboundGroupSessionsActor, "handle", spoil)
    disk = MemoryDisk()
    holder = MemoryStore(disk, pid=2).lock
    async with supervised(disk) as supervisor:
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery)
            holder.acquire_nowait()
            # the first is a turn of its own, and the others wait for one together, in their order
            messages: list[Message[Any]] = [CreateAccount(), *(room.add_room_key() for room in rooms)]
            for message in messages:
                askers.ask(supervisor, message)
                await wait_all_tasks_blocked()
            holder.release()
        assert {"new", InternalError} == {heard for heard in askers.heard if not isinstance(heard, DeviceIdentity)}
    assert 1 == len(disk.rows(Table.INBOUND_GROUP_SESSIONS))


async def test_a_change_that_cannot_be_written_is_found_by_giving_each_command_a_turn_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rooms = [Room(Peer()) for _ in range(5)]
    unwritable = attrs.evolve(rooms[2].add_room_key(), room_id=RoomId("!unwritable:example.org"))

    def write(record: RoomKeyRecord) -> bytes:
        if record.room_id == unwritable.room_id:
            raise Bug
        return dumps(record)

    monkeypatch.setattr("olmstate.actors._room_keys.actor.dumps", write)
    disk = MemoryDisk()
    async with supervised(disk) as supervisor:
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery)
            for room in rooms:
                askers.ask(supervisor, unwritable if room is rooms[2] else room.add_room_key())
        assert [InternalError, *["new"] * 4] == sorted(askers.heard, key=str)
        assert "known" == await supervisor.ask(rooms[0].add_room_key())
    assert 4 == len(disk.rows(Table.INBOUND_GROUP_SESSIONS))
    assert disk.slot.holder is None


async def test_a_bug_while_committing_leaves_the_store_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> int:
        raise Bug

    async with supervised(MemoryDisk()) as supervisor:
        await supervisor.ask(CreateAccount())
        monkeypatch.setattr(MemoryStore, "commit", fail)
        error = await refusal(supervisor, PrepareRoomKey(room_id=ROOM))
        assert isinstance(error, StorePoisoned)
        assert "a commit met a bug, Bug in tests.actors.test_bugs." in str(error)
        assert isinstance(await refusal(supervisor, SyncToken()), StorePoisoned)


async def test_a_bug_in_a_procedure_is_its_askers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise Bug

    monkeypatch.setattr("olmstate.actors._open.CAPABILITIES", with_run(ExportRoomKeys, lambda _: fail))
    async with supervised(MemoryDisk()) as supervisor:
        assert isinstance(await refusal(supervisor, ExportRoomKeys()), InternalError)
        assert await supervisor.ask(SyncToken()) is None


async def test_of_several_events_that_are_encrypted_at_once_a_bug_costs_the_one_that_meets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other, handle = RoomId("!other:example.org"), OutboundGroupSessionsActor.handle

    def meet(self: OutboundGroupSessionsActor, message: Any) -> Reply:  # noqa: ANN401 - as the actor's
        match message:
            case Encrypt(room_id=room_id) if room_id == other:
                raise Bug
            case EncryptReserved(events=events) if other in {room_id for room_id, *_ in events}:
                raise Bug
            case _:
                pass
        return handle(self, message)

    async with supervised(MemoryDisk()) as supervisor:
        await supervisor.ask(CreateAccount())
        for room_id in (ROOM, other):
            key = await supervisor.ask(PrepareRoomKey(room_id=room_id))
            await supervisor.ask(MarkRoomKeyShared(room_id=room_id, session_id=key.session_id, devices=()))
            await supervisor.ask(EncryptRoomEvent(room_id=room_id, type="m.test", content={}))  # the rest is reserved
        monkeypatch.setattr(OutboundGroupSessionsActor, "handle", meet)
        async with trio.open_nursery() as nursery:
            askers = Askers(nursery)
            for room_id in (ROOM, other, ROOM, other, ROOM):
                askers.ask(supervisor, EncryptRoomEvent(room_id=room_id, type="m.test", content={}))
        assert 2 == askers.heard.count(InternalError)
        indices = {heard.message_index for heard in askers.heard if isinstance(heard, EncryptedRoomEvent)}
        assert 3 == len(indices)


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
async def test_what_ends_a_program_is_no_bug(ending: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    async def end(*_: object) -> None:
        raise ending

    monkeypatch.setattr("olmstate.actors._open.CAPABILITIES", with_run(ExportRoomKeys, lambda _: end))
    with pytest.raises(ending):
        async with supervised(MemoryDisk()) as supervisor:
            await supervisor.ask(ExportRoomKeys())


# --- the wall clock -----------------------------------------------------------------------------------------


async def test_a_clock_that_gives_floats_makes_nothing_unreadable() -> None:
    # the account couldn't be read again, ever
    disk = MemoryDisk()
    options = Options(wall_clock=lambda: 1_700_000_000_000.75)  # type: ignore[arg-type, return-value]
    async with supervised(disk, options=options) as supervisor:
        await supervisor.ask(CreateAccount())
        made = (await supervisor.ask(PrepareOneTimeKeys())).fallback_keys
        key = await supervisor.ask(PrepareRoomKey(room_id=ROOM))
    async with supervised(disk, options=options) as supervisor:
        assert made == (await supervisor.ask(PrepareOneTimeKeys())).fallback_keys
        assert key.session_id == (await supervisor.ask(PrepareRoomKey(room_id=ROOM))).session_id


NO_TIMES: dict[str, Any] = {
    "nan": math.nan,
    "infinity": math.inf,
    "negative": -1,
    "large": 2**53,
    "huge": 10**4301,
    "text": "1700000000000",
    "None": None,
    "bytes": b"1",
}


@pytest.mark.parametrize("time", NO_TIMES.values(), ids=NO_TIMES)
async def test_a_clock_that_gives_what_is_no_time_stores_nothing_and_stops_nobody(time: Any) -> None:  # noqa: ANN401
    disk, right = MemoryDisk(), [1_700_000_000_000]
    async with supervised(disk, options=Options(wall_clock=lambda: right[0])) as supervisor:
        await supervisor.ask(CreateAccount())
        await supervisor.ask(PrepareRoomKey(room_id=ROOM))
        before = disk.generation
        right[0] = time
        error = await refusal(supervisor, PrepareOneTimeKeys())
        assert isinstance(error, InternalError)
        assert "Options.wall_clock must give milliseconds since 1970" == str(error.__cause__)
        assert before == disk.generation
        right[0] = 1_700_000_000_001
        await supervisor.ask(PrepareOneTimeKeys())


async def test_a_clock_that_fails_is_no_end_either() -> None:
    def fail() -> int:
        raise Bug

    with pytest.raises(InternalError):  # noqa: PT012 - the block ends with it: there is no last turn either
        async with supervised(MemoryDisk(), options=Options(wall_clock=fail)) as supervisor:
            async with trio.open_nursery() as nursery:
                askers = Askers(nursery)
                for _ in range(3):
                    askers.ask(supervisor, CreateAccount())
            assert [InternalError] * 3 == askers.heard
            assert await supervisor.ask(SyncToken()) is None
