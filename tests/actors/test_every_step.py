"""Trouble at each single step of a day's work: what was answered holds, nothing is used twice, and work goes on.

The day is run again and again, with something going wrong one step later each time, until it has no such step. The
short form goes several steps at a time; `--full` leaves none out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias, TypeVar

import pytest
import trio
from trio.testing import MockClock
from vodozemac import InboundGroupSession, MegolmMessage, SessionKey

from olmstate.actors import Supervisor
from olmstate.actors._engine.states import State
from olmstate.actors.testing import Faults, MemoryDisk, Step, When
from olmstate.messages import (
    AccountExists,
    CreateAccount,
    DecryptRoomEvent,
    DeviceIdentity,
    EncryptedRoomEvent,
    EncryptRoomEvent,
    IdentityKeys,
    JsonObject,
    KeyId,
    MarkKeysPublished,
    MarkRoomKeyShared,
    Message,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    ReceiveSync,
    StoreError,
    StoreFull,
    StorePoisoned,
    StoreUnavailable,
    SyncToken,
)
from olmstate.storage import Fenced, Table
from tests.actors.supervised import state_of, supervised
from tests.operations.device import ROOM
from tests.operations.peer import Peer, Room

R = TypeVar("R")


class Day:
    """What a program does in a day, on as many supervisors as it takes, and what it was told."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.faults = Faults()
        self.bob = Peer()
        self.room = Room(self.bob)
        self.identity: DeviceIdentity | None = None
        self.exported: SessionKey | None = None
        self.sent: list[EncryptedRoomEvent] = []
        self.key_ids: dict[KeyId, str] = {}
        self.token: str | None = None
        self.decrypted = False
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        """Go on until all is done, with a new supervisor where the last is in doubt."""
        for _ in range(5):
            async with supervised(self.disk, faults=self.faults, latency=a_moment) as supervisor:
                try:
                    await self._work(supervisor)
                except StorePoisoned:
                    continue
                assert state_of(supervisor) is State.IDLE
                break
        else:
            pytest.fail("it was never done")
        assert self.disk.slot.holder is None
        assert state_of(supervisor) is State.CLOSED

    async def _work(self, supervisor: Supervisor) -> None:
        with suppress(AccountExists):  # made by an attempt whose answer was lost
            await self._ask(supervisor, CreateAccount())
        self.identity = await self._ask(supervisor, IdentityKeys())
        if len(self.sent) < 4:
            made = await self._ask(supervisor, PrepareRoomKey(room_id=ROOM))
            self.exported = self.exported or SessionKey(made.session_key)
            await self._ask(supervisor, MarkRoomKeyShared(room_id=ROOM, session_id=made.session_id, devices=()))
        while len(self.sent) < 4:
            message = EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={"body": str(len(self.sent))})
            self.sent.append(await self._ask(supervisor, message))
        keys = await self._ask(supervisor, PrepareOneTimeKeys())
        assert not keys.one_time_keys.keys() & self.key_ids.keys(), "offered twice"
        self.key_ids |= {key_id: key["key"] for key_id, key in keys.one_time_keys.items()}
        if self.token is None:
            # of the fallback keys the same, if those that came first were lost with their answer
            claimed = next(iter({**keys.one_time_keys, **keys.fallback_keys}.values()))
            await self._receive(supervisor, claimed)
            self.token = "s1"
        assert await self._ask(supervisor, SyncToken()) == "s1"
        event = DecryptRoomEvent(room_id=self.room.room_id, event=self.room.send({"body": "hello"}))
        assert (await self._ask(supervisor, event)).content == {"body": "hello"}
        self.decrypted = True
        await self._ask(supervisor, MarkKeysPublished(key_ids=keys.key_ids))

    async def _receive(self, supervisor: Supervisor, one_time_key: JsonObject) -> None:
        assert self.identity is not None
        if not self.bob.sessions:
            self.bob.start_session(self.identity, one_time_key)
            self.to_device = self.bob.event(self.identity, "m.room_key", self.room.room_key)
        sync = {"next_batch": "s1", "to_device": {"events": [self.to_device]}}
        await self._ask(supervisor, ReceiveSync(sync=sync))

    async def _ask(self, supervisor: Supervisor, message: Message[R]) -> R:
        """Ask again after a failure or a cancellation, as a program does."""
        for _ in range(3):
            try:
                with trio.CancelScope() as self.scope:
                    return await supervisor.ask(message)
            except StorePoisoned:
                raise
            except StoreError:
                continue
        pytest.fail("it failed more than once")

    async def judge(self) -> None:
        """What was answered holds, for anybody who comes later."""
        assert self.decrypted
        assert self.exported is not None
        reader = InboundGroupSession(self.exported)
        indices = [event.message_index for event in self.sent]
        assert len(set(indices)) == len(indices)
        for number, event in enumerate(self.sent):
            plaintext = reader.decrypt(MegolmMessage.from_base64(event.content["ciphertext"])).plaintext
            assert json.loads(plaintext)["content"] == {"body": str(number)}
        async with supervised(self.disk) as later:
            assert self.identity == await later.ask(IdentityKeys())
            assert "s1" == await later.ask(SyncToken())
            await later.ask(DecryptRoomEvent(room_id=self.room.room_id, event=self.room.send()))
            assert () == tuple(set((await later.ask(PrepareOneTimeKeys())).one_time_keys) & set(self.key_ids))
            again = await later.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={}))
            assert again.message_index not in indices


def a_moment(step: Step) -> float:
    """Enough for another task to run in between."""
    return 0.01 if step.operation in ("read", "commit") else 0.0


Trouble: TypeAlias = Callable[[Day], Exception | Callable[[], object]]
"""What goes wrong in a day."""

TROUBLES: dict[str, tuple[Trouble, When]] = {
    "an I/O error": (lambda _: StoreUnavailable(reason="I/O error"), "before"),
    "a full disk": (lambda _: StoreFull(), "before"),
    "a doubt": (lambda _: StorePoisoned(reason="replaced"), "before"),
    "a doubt after it was done": (lambda _: StorePoisoned(reason="replaced"), "after"),
    "a write from elsewhere": (lambda day: day.disk.write_from_elsewhere, "before"),
    "a write from elsewhere while it is on its way": (lambda day: day.disk.write_from_elsewhere, "after"),
    "an invalidation of everything": (lambda day: lambda: day.disk.write_from_elsewhere(keys_known=False), "after"),
    "an invalidation of each row": (
        lambda day: lambda: day.disk.write_from_elsewhere({table: day.disk.rows(table) for table in Table}),
        "before",
    ),
    "a cancellation": (lambda day: lambda: day.scope.cancel(), "before"),  # noqa: PLW0108 - the scope of that moment
    "a cancellation after it was done": (lambda day: lambda: day.scope.cancel(), "after"),  # noqa: PLW0108
}


async def test_a_day_without_trouble(autojump_clock: MockClock) -> None:
    day = Day()
    await day.run()
    await day.judge()
    assert {"read", "commit", "look", "acquire_nowait"} <= {step.operation for step in day.faults.steps}


@pytest.fixture
def stride(request: pytest.FixtureRequest) -> int:
    """Steps to go at a time; no divisor of what the day repeats."""
    return 1 if request.config.getoption("--full") else 5


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_at_any_step_costs_nothing_that_was_answered(
    trouble: str, stride: int, autojump_clock: MockClock
) -> None:
    cause, when = TROUBLES[trouble]
    number, steps = list(TROUBLES).index(trouble) % stride, 100
    while number < steps:
        day = Day()
        day.faults.at(number, cause(day), when=when)
        await day.run()
        await day.judge()
        steps, number = len(day.faults.steps), number + stride
    assert number > 20


async def test_a_commit_that_is_fenced_costs_nothing_that_was_answered(autojump_clock: MockClock) -> None:
    commits, number = 1, 0
    while number < commits:
        day, count = Day(), 0

        def fence(day: Day = day, last: int = number) -> None:
            nonlocal count
            count += 1
            if count <= last:
                day.faults.at("commit", fence)
            else:
                raise Fenced

        day.faults.at("commit", fence)
        await day.run()
        await day.judge()
        commits, number = sum(step.operation == "commit" for step in day.faults.steps), number + 1
    assert number > 5
