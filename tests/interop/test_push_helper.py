"""A process that syncs, and a helper that wakes for one event each time: each reads all, and takes nothing away.

The helper is what a push notification starts: it is told a room and an event, and doesn't have the sync role. Either is
stopped, started and killed between the rounds and within them.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

import attrs
import pytest
import trio

from olmstate.messages import DeviceAddress, EventId, RoomId, SendToDevice
from tests.interop.claims import keys_left
from tests.interop.device import Device
from tests.interop.fault_proxy import FaultProxy, open_fault_proxy
from tests.interop.homeserver import Homeserver, HttpSession
from tests.interop.olmstate_device import LETTER, OlmstateDevice
from tests.interop.olmstate_process import OlmstateProcess, open_olmstate_process
from tests.interop.people import People, meet, sync_all, what_they_read
from tests.interop.program import ProgramError

LONGEST = 0.6
"""Seconds until a process is killed, at the most: as long as what it does takes here."""


@pytest.fixture
async def proxy(homeserver: Homeserver) -> AsyncGenerator[FaultProxy]:
    async with open_fault_proxy(homeserver.synapse.url, homeserver.client) as running:
        yield running


@attrs.define(eq=False, kw_only=True)
class Life:
    """A process that is started when it is needed, and may end at any time."""

    session: HttpSession
    people: People
    is_helper: bool
    read: dict[EventId, str] = attrs.field(factory=dict[EventId, str])
    trouble: set[str] = attrs.field(factory=set[str])
    letters: list[int] = attrs.field(factory=list[int])
    started: int = 0
    killed: int = 0
    _process: OlmstateProcess | None = None
    _open: AsyncExitStack = attrs.field(factory=AsyncExitStack)

    async def process(self) -> OlmstateProcess:
        """The one that runs, or a new one."""
        if self._process is None:
            self.started += 1
            self._process = await self._open.enter_async_context(
                open_olmstate_process(self.session, self.people.folder / "store", helper=self.is_helper)
            )
        return self._process

    async def stop(self) -> None:
        """Have it end by itself."""
        self._process = None
        await self._open.aclose()

    async def killed_within(self, seconds: float, doing: Callable[[], Awaitable[object]]) -> None:
        """Have it do something, and kill it while it does, or shortly after."""
        process = await self.process()

        async def do() -> None:
            with suppress(ProgramError):  # it is gone
                await doing()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(do)
            await trio.sleep(seconds)
            process.kill()
        self.killed += 1
        await self.stop()

    async def look(self, room_id: RoomId, event_id: EventId) -> None:
        """Read one event, as a helper does."""
        process = await self.process()
        await process.look(room_id, event_id)
        self._note(process)

    async def sync(self) -> None:
        """Take in what is new, and deal with the inbox."""
        process = await self.process()
        await process.sync()
        self._note(process)
        letters = await process.letters()
        self.letters += letters
        await process.acknowledge(*letters.values())

    def _note(self, process: OlmstateProcess) -> None:
        self.read |= process.ears.bodies
        self.trouble |= set(process.trouble)


@attrs.define(eq=False, kw_only=True)
class Story:
    """What happens, round by round."""

    rng: random.Random
    main: Life
    helper: Life
    room_id: RoomId
    others: list[Device]
    dave: OlmstateDevice
    stranger: HttpSession
    """Claims keys, so that new ones are uploaded."""
    said: dict[EventId, str] = attrs.field(factory=dict[EventId, str])
    letters: int = 0

    async def round(self, number: int) -> None:
        """Somebody says something, and both read it, in an order, with an end and a beginning of either."""
        await self._others_send(number)
        event_id = next(reversed(self.said))
        steps: list[Callable[[], Awaitable[None]]] = [partial(self._look, event_id), self._sync]
        self.rng.shuffle(steps)
        if self.rng.random() < 0.3:
            async with trio.open_nursery() as nursery:
                for step in steps:
                    nursery.start_soon(step)
        else:
            for step in steps:
                await step()
        # what a killed process had read was in its memory only; whoever comes next can read it again
        for life in (self.main, self.helper):
            for missed in self.said.keys() - life.read.keys():
                await life.look(self.room_id, missed)
            assert self.said == life.read
        await self._answer(number)
        for life in (self.main, self.helper):
            if self.rng.random() < 0.4:
                await life.stop()

    async def _others_send(self, number: int) -> None:
        for other in self.rng.sample(self.others, self.rng.randint(1, len(self.others))):
            if self.rng.random() < 0.3:
                await other.rotate(self.room_id)
            body = f"round {number} from {type(other).__name__}"
            self.said[await other.send(self.room_id, body)] = body
        alice = self.main.session
        if self.rng.random() < 0.5:
            await self.stranger.claim_keys([(alice.user_id, alice.device_id)])
        if self.rng.random() < 0.5:
            self.letters += 1
            address = DeviceAddress(user_id=alice.user_id, device_id=alice.device_id)
            letter = SendToDevice(devices=(address,), type=LETTER, content={"number": self.letters})
            sent = await self.dave.device.ask(letter)
            assert (True, ()) == (sent.delivered, sent.missing)

    async def _look(self, event_id: EventId) -> None:
        if self.rng.random() < 0.3:
            await self.helper.killed_within(
                self.rng.uniform(0, LONGEST), partial(self.helper.look, self.room_id, event_id)
            )
        await self.helper.look(self.room_id, event_id)

    async def _sync(self) -> None:
        if self.rng.random() < 0.3:
            await self.main.killed_within(self.rng.uniform(0, LONGEST), self.main.sync)
        await self.main.sync()

    async def _answer(self, number: int) -> None:
        """Either sends, sometimes both at once; all others read it."""
        if self.rng.random() < 0.5:
            return
        answers: dict[EventId, str] = {}

        async def send(life: Life) -> None:
            body = f"answer {number} from {'the helper' if life.is_helper else 'the main process'}"
            event_id = await (await life.process()).send(self.room_id, body)
            answers[event_id] = body

        async with trio.open_nursery() as nursery:
            for life in self.rng.choice(([self.main], [self.helper], [self.main, self.helper])):
                nursery.start_soon(send, life)
        await sync_all(self.others)
        assert [answers] * len(self.others) == what_they_read(self.others, answers)
        self.said |= answers


async def story(people: People, proxy: FaultProxy, session: HttpSession, seed: int, rounds: int) -> Story:
    """So many rounds of it."""
    bob, carol, dave = await people.rust(), await people.nio(), await people.olmstate()
    main = Life(session=session, people=people, is_helper=False)
    helper = Life(session=session, people=people, is_helper=True)
    alice = await main.process()
    room_id = await meet([alice, bob, carol, dave])
    told = Story(
        rng=random.Random(seed),
        main=main,
        helper=helper,
        room_id=room_id,
        others=[bob, carol],
        dave=dave,
        stranger=await people.homeserver.register("stranger"),
    )
    try:
        for number in range(rounds):
            await told.round(number)
        await main.sync()
    finally:
        with trio.CancelScope(shield=True):
            await helper.stop()
            await main.stop()
    return told


ROUNDS = [pytest.param(10, id="10"), pytest.param(100, id="100", marks=pytest.mark.full)]


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_a_syncing_process_and_a_helper_read_everything_whatever_is_killed(
    rounds: int, people: People, homeserver: Homeserver, proxy: FaultProxy
) -> None:
    session = homeserver.through(proxy.url, await homeserver.register("helped"))
    told = await story(people, proxy, session, 1, rounds)
    # each letter at least once: who is killed between reading and acknowledging reads it again
    assert list(range(1, told.letters + 1)) == sorted(set(told.main.letters))
    assert set() == told.main.trouble | told.helper.trouble, "a session was wedged"
    uploads = [passed for passed in proxy.passed if passed.path == "/keys/upload"]
    assert len(uploads) > rounds // 10
    assert {200} == {passed.status for passed in uploads if passed.status is not None}
    assert 50 == await keys_left(session)
    print(
        f"{rounds} rounds: {len(told.said)} events, {told.letters} letters; main process started"
        f" {told.main.started} times, killed {told.main.killed}; helper {told.helper.started}, {told.helper.killed};"
        f" {len(uploads)} key uploads, all answered with 200"
    )
