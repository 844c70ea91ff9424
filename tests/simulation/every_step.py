"""One message, and one fault in the midst of it: at the n-th step, for each n that there is.

Owns: `Case`, a scenario with one fault in it, and `points`, which finds out where one can strike.
Rule: after the fault, nothing else strikes. The same message is asked again, on a new supervisor where the old one is
done for, and must work or say why; what an app relies on must work, for a process that comes later, too; subscribers
must have heard what was told; and the history must be right.
"""

from __future__ import annotations

import functools
import random
import zlib
from collections.abc import Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from typing import Any, Literal, TypeAlias, cast, get_args

import attrs
import trio

from olmstate.actors import Options
from olmstate.actors._engine.states import State
from olmstate.actors._room_keys import operations  # pyright: ignore[reportPrivateUsage]
from olmstate.actors.testing import MemoryDisk, MemoryStore
from olmstate.messages import (
    ActorStopped,
    Event,
    InternalError,
    Message,
    Statistics,
    StoreChanged,
    StorePoisoned,
)
from olmstate.storage import Row, Table
from tests.actors.supervised import runner_of
from tests.faults.checker import check
from tests.faults.evidence import Violation
from tests.faults.history import Entry, Log
from tests.faults.recording import WATCHED, RecordingLock, describe, record_stored
from tests.simulation import schedule
from tests.simulation.client import Client
from tests.simulation.judge import Judge, deliver
from tests.simulation.news import OWN_EVENTS, Ear
from tests.simulation.overtaking import Overtaking
from tests.simulation.process import Killed, MortalSupervisor, Process
from tests.simulation.scenario import Prepared, Scenario
from tests.simulation.scenarios import CROWD, SCENARIOS
from tests.simulation.simulate import LONG, PRODUCT, Variant
from tests.simulation.strikes import STRIKES, Bug, Panic, Steps, Strike
from tests.simulation.watch import Watch
from tests.simulation.world import World, baseline

Mode: TypeAlias = Literal["cold", "warm", "queued", "together", "crowded", "afterwards"]
"""How the message is met.

cold: by a supervisor that has just been opened
warm: by one that has done what the scenario prepares
queued: by one that finds the lock taken
together: by one that four others ask the same, at the same time
crowded: by one that others ask other things, that tells of others' writes, and that caches one entry of each kind
afterwards: there was a reply already, and the fault comes until the supervisor is closed
"""
MODES: Sequence[Mode] = get_args(Mode)

MOMENT = 0.001
"""Seconds that a step takes, of virtual time: enough for other tasks to run in between."""
AFTERWARDS = 1.0
"""Seconds that a supervisor stays open once there was a reply: enough for what is written behind."""
ENDS = (Killed, Bug, Panic)
"""What a process that was struck may end with."""


class Case:
    """See the module."""

    def __init__(
        self, scenario: Scenario, mode: Mode, strike: Strike | None = None, number: int = 0, variant: Variant = PRODUCT
    ) -> None:
        """With ``strike`` at step ``number``, from 1; None or 0: nothing goes wrong."""
        self.name = f"{scenario.name}/{mode}/{strike.name if strike else ''}/{number}"
        """By which it is run again: see `case_named`."""
        self.history: list[Entry] = []
        self.wrong: list[Violation] = []
        self.message: Message[Any] | None = None
        """What was asked."""
        self.heard: set[type[Event]] = set()
        """Which kinds of events."""
        self.watch = Watch(strike, number, self._strike)
        self._scenario = scenario
        self._mode = mode
        self._fault = strike
        self._variant = variant
        self._base = baseline()
        self._disk = MemoryDisk() if scenario.empty else self._base.disk()
        self._log = Log(self, "0-world", self._clock)
        self._process = self._start("1", latency=MOMENT)
        self._asker = trio.CancelScope()
        self._app = trio.CancelScope()
        self._judge = Judge(
            scenario=scenario,
            fault=strike,
            watch=self.watch,
            asker=self._asker,
            alone=mode not in ("together", "crowded"),
            wrong=self.wrong,
        )
        self.void = False
        """The fault can't be at that step."""
        self._overtaking: Overtaking | None = None
        self._subscriptions = ExitStack()
        """They outlive the supervisor."""
        self._ended_by: set[type[BaseException]] = set()

    def run(self) -> Steps:
        """Run it; how many steps there were."""
        # each fault meets another order of events, the same at each step
        order = zlib.crc32(self.name.rpartition("/")[0].encode())
        with self._variant.patches(), _small_chunks():
            schedule.run(self._main, random.Random(order))
        self.wrong.extend(check(self.history))
        self._check_the_end()
        return self.watch.steps

    def report(self) -> str:
        """All that there is to know of a failure."""
        again = f"again: pytest tests/simulation --case '{self.name}'"
        return "\n".join([f"--- {self.name}", *map(str, self.history), "", *map(str, self.wrong), "", again])

    def append(self, entry: Entry) -> None:
        """A sink of all histories."""
        self.history.append(entry)

    # --- what a fault can do: see `Struck` ------------------------------------------------------------------

    def _strike(self) -> None:
        if self._fault is not None:
            self._fault.do(self)

    def cancel(self) -> None:
        """Cancel the asker."""
        self._asker.cancel()

    def close(self) -> None:
        """Leave the supervisor's block."""
        self._app.cancel()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def write_from_elsewhere(self, *, keys_known: bool) -> None:
        """Somebody writes without asking for the lock."""
        rows: dict[Table, list[Row]] = {table: self._disk.rows(table) for table in Table} if keys_known else {}
        generation = self._disk.write_from_elsewhere(rows, keys_known=keys_known)
        plain = MemoryStore(self._disk)
        described = [describe(plain, table, row) for table in WATCHED for row in rows.get(table, ())]
        self._log.write("elsewhere", generation=generation, rows=described)

    def look(self) -> None:
        """Somebody else's query makes the supervisor look."""
        looking = runner_of(self._supervisor).refresh()
        with suppress(ActorStopped, StopIteration):  # it may be closed by now; else it ends, as it waits for nothing
            looking.send(None)

    def start_rival(self) -> None:
        """Another process begins to ask the same."""
        self._others.start_soon(self._rival)

    def overtake(self, *, told: bool) -> None:
        """Another process does something that makes a difference, if it still can."""
        assert self._overtaking is not None
        self.void = not self._overtaking.can(self._disk)
        if not self.void:
            self._overtaking.do(self._disk, Log(self, "9-overtaking", self._clock), told=told)
            deliver(self._world, self._overtaking.message, self._overtaking.reply)

    def subscribe(self) -> None:
        """Somebody wants to hear of others' writes."""
        self._subscribe(StoreChanged)

    def unsubscribe(self) -> None:
        """A subscriber is gone."""
        self._somebody.close()

    # --- how it goes ----------------------------------------------------------------------------------------

    async def _main(self) -> None:
        plain = MemoryStore(self._disk)
        await record_stored(plain, self._log, self._disk.generation)
        self._world = World(self._base, random.Random(0), self._log)
        try:
            with trio.fail_after(LONG):
                await self._three_lives()
        except trio.TooSlowError as error:
            self._judge.found("everybody gets through", error)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody has let it in
            self._judge.found("no bugs", error)
        for unseen in self.watch.errors:
            self._judge.found("no bugs", unseen)
        await record_stored(plain, self._log, self._disk.generation)

    async def _three_lives(self) -> None:
        """One prepares, unless the second does; the second is struck; the third finds what is left."""
        prepared: Prepared | None = None
        if self._mode in ("cold", "queued"):
            async with self._run(self._start("0")) as supervisor:
                prepared = await self._scenario.prepare(Client(supervisor, self._world))
        async with trio.open_nursery() as self._others:
            prepared = await self._be_struck(prepared)
        async with self._run(self._start("2")) as supervisor:
            with self._listening(supervisor) as ear:
                client = Client(supervisor, self._world)
                await self._judge.judge(client, prepared, ear, self._log, again=not self._judge.told)

    async def _be_struck(self, prepared: Prepared | None) -> Prepared:
        try:
            with ExitStack() as watching, self._subscriptions, self._process.scope, self._app:
                async with self._run(self._process) as supervisor:
                    client = Client(supervisor, self._world)
                    prepared = prepared or await self._scenario.prepare(client)
                    await self._prepare_for_faults(supervisor, prepared)
                    with self._listening(supervisor) as ear:
                        if self._mode == "afterwards":
                            await self._judge.ask(client, prepared, ear)
                            watching.enter_context(self._watched())
                            with self._asker:
                                await trio.sleep(AFTERWARDS)
                        else:
                            await self._ask_and_judge(client, prepared, ear)
        except ENDS as error:
            self._ended_by.add(type(error))
        except InternalError as error:
            # a bug in the last turn comes out of the block: nobody asks any more
            if self._supervisor.state is not State.CLOSED or not _is_planned(error):
                raise
        except BaseExceptionGroup as group:
            ends, rest = group.split(ENDS)
            self._ended_by.update(_kinds(ends))
            if rest is not None and self._process.life.alive:
                self._judge.found("no bugs", rest)
        assert prepared is not None
        if self._process.life.alive and self._supervisor.state is not State.CLOSED:
            self._judge.found("a supervisor is closed in the end", str(self._supervisor.state))
        return prepared

    async def _prepare_for_faults(self, supervisor: MortalSupervisor, prepared: Prepared) -> None:
        if self._fault is not None and self._fault.overtakes:
            message = prepared.elsewhere.message if prepared.elsewhere else prepared.anew()
            self._overtaking = await Overtaking.prepare(self._disk, message, OPTIONS, self._clock)
        self._supervisor = supervisor.supervisor
        self._prepared = prepared
        self.message = prepared.message
        self._somebody = self._subscribe(*OWN_EVENTS)

    async def _ask_and_judge(self, client: Client, prepared: Prepared, ear: Ear) -> None:
        """Ask, be struck, and ask again if that can be."""
        crowded, begun = self._mode == "crowded", len(self.history)
        if self._mode == "queued":
            await self._others.start(self._hold_the_lock)
        if crowded:
            await self._supervisor.ask(Statistics())  # so that it can tell what is new from now on
        with self._supervisor.subscribe(StoreChanged) if crowded else nullcontext() as changes:
            async with trio.open_nursery() as crowd:
                with self._watched():
                    for asking in CROWD if crowded else ():
                        crowd.start_soon(self._judge.ask_beside, asking, client, ear)
                    if self._mode == "together":
                        for _ in range(4):
                            crowd.start_soon(self._judge.ask_together, client, prepared)
                        await trio.lowlevel.cancel_shielded_checkpoint()  # so that some of them are first
                    with self._asker:
                        await self._judge.ask(client, prepared, ear)
            if not await self._done_for():
                await self._judge.judge(client, prepared, ear, self._log, again=True)
                if changes is not None:
                    await self._check_changes(changes, begun)

    def _watched(self) -> AbstractContextManager[None]:
        actors = runner_of(self._supervisor).actors
        return self.watch.over(self._process.faults, actors)

    async def _done_for(self) -> bool:
        if self._judge.stopped:
            return True
        try:
            await self._supervisor.ask(Statistics())
        except (StorePoisoned, ActorStopped):
            return True
        return False

    # --- others ---------------------------------------------------------------------------------------------

    async def _rival(self) -> None:
        """Another process, that asks the same."""
        message = self._prepared.anew()
        try:
            async with self._run(self._start("9", pid=9, latency=0.7 * MOMENT)) as supervisor:
                with suppress(*self._scenario.again, *self._scenario.refused):
                    deliver(self._world, message, await supervisor.ask(message))
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody has let it in
            self._judge.found("no bugs", error)

    async def _hold_the_lock(self, *, task_status: trio.TaskStatus[None]) -> None:
        log = Log(self, "99-holder", self._clock)
        lock = RecordingLock(MemoryStore(self._disk, pid=99).lock, log)
        await lock.acquire(LONG)
        task_status.started()
        await trio.sleep(10 * MOMENT)
        lock.release()

    # --- subscribers ----------------------------------------------------------------------------------------

    @contextmanager
    def _listening(self, supervisor: MortalSupervisor) -> Generator[Ear]:
        with supervisor.supervisor.subscribe(*OWN_EVENTS) as events:
            ear = Ear(events)
            yield ear
            self.heard |= ear.heard

    def _subscribe(self, *types: type[Event]) -> trio.MemoryReceiveChannel[Event]:
        events = self._subscriptions.enter_context(self._supervisor.subscribe(*types))
        self._subscriptions.callback(self._check_it_ends, events)
        return events

    def _check_it_ends(self, events: trio.MemoryReceiveChannel[Event]) -> None:
        """Whoever goes through the events of a supervisor that is closed comes to the end."""
        if self._process.life.alive:
            with suppress(trio.EndOfChannel, trio.ClosedResourceError):
                while True:
                    try:
                        events.receive_nowait()
                    except trio.WouldBlock:
                        self._judge.found("subscriptions end", "")
                        return

    async def _check_changes(self, changes: trio.MemoryReceiveChannel[StoreChanged], begun: int) -> None:
        """Of each of others' writes somebody was told, and of nothing else."""
        await trio.sleep(10 * CROWDED.watch)
        heard: list[int] = []
        while changes.statistics().current_buffer_used:
            heard.append(changes.receive_nowait().generation)
        self.heard.update({StoreChanged} if heard else ())
        ours = self._process.log.process
        writes = [
            entry
            for entry in self.history[begun:]
            if entry.kind == "elsewhere" or (entry.kind == "committed" and entry.process != ours)
        ]
        seen = self._clock() - int(5 * CROWDED.watch * 1e9)
        missed = [entry for entry in writes if entry.t < seen and entry.data["generation"] > max(heard, default=0)]
        if missed or len(heard) > len(writes):
            self._judge.found("others' writes are told", f"of generations {heard} it was told", writes)

    # --- what is wrong --------------------------------------------------------------------------------------

    def _check_the_end(self) -> None:
        """What must be so when everything is over."""
        if self._disk.slot.holder is not None:
            self._judge.found("the lock is free in the end", "")
        if self._ended_by & {Bug, Panic}:
            self._judge.found("a bug ends nothing", f"it ended by {self._ended_by}")
        excused = self._process.log.process if self._ended_by else None
        waiting: dict[tuple[str, int], Entry] = {}
        for entry in self.history:
            if entry.kind == "asked" and entry.process != excused:
                waiting[entry.process, entry.data["ask"]] = entry
            elif entry.kind in ("replied", "failed", "cancelled"):
                waiting.pop((entry.process, entry.data["ask"]), None)
        if waiting:
            self._judge.found("everybody is answered", "", waiting.values())

    # --- parts ----------------------------------------------------------------------------------------------

    def _clock(self) -> int:
        """Virtual nanoseconds; two entries never have the same."""
        now = int(trio.current_time() * 1e9)
        return max(now, self.history[-1].t + 1) if self.history else now

    def _start(self, token: str, *, pid: int = 1, latency: float = 0) -> Process:
        return Process(
            self._disk, self, pid=pid, token=token, clock=self._clock, latency=(lambda _: latency) if latency else None
        )

    def _run(self, process: Process) -> AbstractAsyncContextManager[MortalSupervisor]:
        options = CROWDED if self._mode == "crowded" and process is self._process else OPTIONS
        return process.run(options, partial(self._variant.store, disk=self._disk))


@attrs.frozen
class Point:
    """Where a fault can strike."""

    scenario: Scenario
    mode: Mode
    strike: Strike
    number: int

    def case(self, variant: Variant = PRODUCT) -> Case:
        """Strike there."""
        return Case(self.scenario, self.mode, self.strike, self.number, variant)


def case_named(name: str) -> Case:
    """The case that was printed by this name."""
    scenario_name, mode_name, strike_name, number = name.split("/")
    (scenario,) = [each for each in SCENARIOS if each.name == scenario_name]
    strike = next((each for each in STRIKES if each.name == strike_name), None)
    return Case(scenario, MODES[MODES.index(cast("Mode", mode_name))], strike, int(number))


@functools.cache
def unharmed(scenario: Scenario, mode: Mode) -> Case:
    """A scenario in which nothing goes wrong."""
    case = Case(scenario, mode)
    case.run()
    return case


@functools.cache
def points(scenario: Scenario, mode: Mode, strike: Strike) -> Sequence[Point]:
    """All steps at which a fault can strike."""
    steps = Case(scenario, mode, strike).run()
    return [Point(scenario, mode, strike, number) for number in steps.of(strike)]


OPTIONS = Options(wall_clock=schedule.wall_clock)
CROWDED = Options(wall_clock=schedule.wall_clock, capacities=dict.fromkeys(Table, 1), watch=2 * MOMENT)


@contextmanager
def _small_chunks() -> Generator[None]:
    """An import is of several steps; with as many keys a step as there are, each case would take a second."""
    before = operations.CHUNK
    operations.CHUNK = 2
    try:
        yield
    finally:
        operations.CHUNK = before


def _is_planned(error: BaseException | None) -> bool:
    """Whether a fault is behind it."""
    return error is not None and (isinstance(error, Bug | Panic) or _is_planned(error.__cause__))


def _kinds(error: BaseException | None) -> set[type[BaseException]]:
    inside: Sequence[BaseException] = getattr(error, "exceptions", ())
    return {kind for each in inside for kind in _kinds(each)} or ({type(error)} if error is not None else set())
