"""What runs a supervisor: the one actor that holds the cross-process lock, and the only way in.

A command waits in its mailbox. A *turn* takes one command and all others that wait, takes the lock, learns what other
processes have written and tells the actors, runs the commands, and writes what they changed in one transaction. Only
then does anybody get an answer. That gives, in this order:

1. *One step, one message.* What is stored of a ratchet moves only under the lock, from state that was current when the
   lock was taken; and the commit is fenced by the generation, so that even a lost lock turns the turn back instead of
   writing over another's. Megolm indices are reserved that way, a block at a time, and then used without a turn.
2. *Durable before it leaves.* Answers and events go out after the commit, or not at all.
3. *All or nothing.* A command that is refused half-way, or that meets a bug, is taken out, everything is rolled back,
   and the others run again. Where nobody knows whose bug it was, as when what has changed can't be written, each runs
   in a turn of its own.

A query takes no lock: the supervisor looks whether anybody has committed, tells the actors if so, and passes it to the
actor that owns the answer. See `states` for the states and moves.

It knows no message but its own, and no actor: what there is comes from a tuple of capabilities (see `capability`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import attrs
import trio
from outcome import Error, Outcome, Value
from trio.lowlevel import enable_ki_protection

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import (
    ActorStopped,
    Command,
    DeviceId,
    Event,
    InternalError,
    Message,
    OlmStateError,
    Route,
    SharedEvent,
    Statistics,
    StoreChanged,
    StoreError,
    StorePoisoned,
    SupervisorStatistics,
    UserId,
)
from olmstate.storage import Changes, Fenced, Row, Store, Table

from .actor import Actor, Committed, Environment, Invalidate, Newest, Notice, RolledBack
from .bugs import internal_error, is_bug, left_to_the_next
from .cache import ChangeCounter
from .capability import Capability, WithoutTurn, check_routes
from .envelope import Envelope, own_error
from .options import Options
from .points import Addition, Additions
from .service import ServicesByClass, run_service
from .slices import in_slices
from .states import TRANSITIONS, Move, State, next_state
from .stream import StreamActor, StreamReader, store_events
from .subscriptions import Subscriptions
from .turn import ActorsByClass, Turn

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V", bound=Event)
_Asks: TypeAlias = dict[type[Message[Any]], Callable[[Any], Awaitable[Any]]]
_Runs: TypeAlias = dict[type[Message[Any]], Callable[[Turn, Any], Awaitable[Any]]]

MAILBOX_SIZE = 1024
"""Commands that may wait; more askers wait outside."""
MOST_COMMANDS = 256
"""Commands a turn, so that it ends while others wait for the lock."""
MOST_ROWS = 24
"""Encoded and written without giving other tasks a chance in between; a row takes some 20 µs for each."""
MANY_ROWS = 2_048
"""Freed without giving other tasks a chance: a millisecond."""
MOST_FENCED = 8
"""Times that a turn is turned back before it is given up: with a lock that works, it never is."""


@attrs.define
class _Counters:
    turns: int = 0
    commits: int = 0
    commands: int = 0
    largest_batch: int = 0
    lock_waits: int = 0
    lock_wait_seconds: float = 0.0
    longest_lock_wait: float = 0.0
    foreign_writes: int = 0
    fenced: int = 0


class Flush(QuietStruct, Command[None], kw_only=True, frozen=True):
    """Nothing but a turn: what waits to be written goes with it."""

    closing: bool = False
    """It is the last one."""


class _Spoiled(Exception):
    """A command was refused after it had changed something, or met a bug and may have."""

    def __init__(self, envelope: Envelope[Any], error: OlmStateError) -> None:
        super().__init__(envelope, error)
        self.envelope = envelope
        self.error = error


class Runner:
    """Runs the actors, the turns and the services; what of it is for users, they have as a `Supervisor`."""

    def __init__(
        self,
        store: Store,
        capabilities: Sequence[Capability],
        *,
        user_id: UserId,
        device_id: DeviceId,
        options: Options | None = None,
        additions: Sequence[Addition] = (),
    ) -> None:
        """A supervisor over an open store; it answers only while `run` is running.

        ``additions`` are the user's, beside those of the capabilities.
        """
        self._store = store
        self._options = options or Options()
        self._newest = Newest()
        self._changes = ChangeCounter()
        environment = Environment(
            store=store,
            newest=self._newest,
            capacity=self._options.capacity,
            write_later=self._write_later,
            presence=store.presence,
            changes=self._changes,
            user_id=user_id,
            device_id=device_id,
        )
        shared = [event for each in capabilities for event in each.events]
        self._stream = StreamActor(environment, shared)
        made = (each.actor(environment) for each in capabilities if each.actor is not None)
        self.actors = ActorsByClass([*made, self._stream])
        self._all: tuple[Actor[Any], ...] = tuple(self.actors)
        self._with_steps = tuple(
            actor for actor in self._all if type(actor).before_commit is not Actor[Any].before_commit
        )
        self.additions = Additions([*(added for each in capabilities for added in each.additions), *additions])
        self.presence = store.presence
        self._unwritten = trio.Event()
        self._viewed = frozenset[Table]().union(*(actor.viewed for actor in self._all))
        self._writing: dict[Table, frozenset[bytes]] = {}
        """What the last commit, which may not have returned yet, changes of the tables that are viewed."""
        self._subscriptions = Subscriptions(StreamReader(store, shared).read, pause=self._options.watch)
        self._counters = _Counters()
        self._state = State.IDLE
        self._poison: StorePoisoned | None = None
        self._refreshed = False
        self._commands, self._queries, self._others = self._routes(capabilities)
        self.services = ServicesByClass(make(self) for each in capabilities for make in each.services)
        self._send, self._inbox = trio.open_memory_channel[Envelope[Any]](MAILBOX_SIZE)

    # --- for users ------------------------------------------------------------------------------------------

    @enable_ki_protection  # Ctrl-C comes where a cancellation can, and never into a handler
    async def ask(self, message: Message[R]) -> R:
        """Send a message and wait for its reply; see `Supervisor.ask`."""
        kind = type(message)
        answer = self._queries.get(kind)
        run = answer or self._others.get(kind)
        if run is None:
            raise TypeError(f"{kind.__name__} is no message that olmstate knows")
        try:
            if answer is not None:
                await self.refresh()
            return cast("R", await run(message))
        except OlmStateError:
            raise
        except BaseException as error:
            if is_bug(error) and trio.lowlevel.in_trio_task():
                raise internal_error(error) from error
            raise

    def subscribe(
        self, *types: type[V], since: int | None = None
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[V]]:
        """Receive the events of ``types``; see `Supervisor.subscribe`."""
        return self._subscriptions.subscribe(*types, since=since)

    def publish(self, event: Event) -> None:
        """Tell subscribers in this process."""
        self._subscriptions.publish(event)

    @enable_ki_protection
    async def take_sync_role(self) -> None:
        """Wait for the role of who syncs, and have it until `leave_sync_role`; see `Supervisor.sync_turn`."""
        if self._poison is not None:
            raise own_error(self._poison)
        try:
            await self._store.sync_role.acquire()
        except trio.ClosedResourceError:
            raise ActorStopped from None

    @enable_ki_protection
    def leave_sync_role(self) -> None:
        """Let another have it."""
        self._store.sync_role.release()

    @property
    def state(self) -> State:
        """Where it is."""
        return self._state

    # --- routes ---------------------------------------------------------------------------------------------

    def _routes(self, capabilities: Sequence[Capability]) -> tuple[_Runs, _Asks, _Asks]:
        """What runs each command in a turn, what answers each query, and what each other message is passed to."""
        commands = [Flush.by(self._flush), *(route for each in capabilities for route in each.commands)]
        queries = [route for each in capabilities for route in each.queries]
        procedures: list[Route[Runner]] = [Statistics.by(_statistics_of)]
        procedures += [route for each in capabilities for route in each.procedures]
        check_routes([*commands, *queries, *procedures])
        others: _Asks = {route.message: self.ask_in_turn for route in commands}
        for beside in (beside for each in capabilities for beside in each.without_turn):
            others |= self._without_turn(beside)
        others |= {route.message: partial(route.run, self) for route in procedures}
        return (
            {route.message: route.run for route in commands},
            {route.message: self.actors[route.actor].ask for route in queries},
            others,
        )

    def _without_turn(self, beside: WithoutTurn[T]) -> _Asks:
        made = beside.make(self)
        return {route.message: partial(route.run, made) for route in beside.routes}

    # --- what others write ----------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """The newest that was learnt of."""
        return self._newest.generation

    async def refresh(self) -> None:
        """Learn what others have committed and tell the actors: nothing older answers what is asked from now on."""
        if self._poison is not None:
            raise own_error(self._poison)
        if self._state is State.CLOSED:
            raise ActorStopped
        try:
            changes = await self._store.look(self._newest.generation if self._refreshed else None)
        except StorePoisoned as error:
            self._poison_with(error)
            raise
        if changes is not None:
            self._apply_changes(changes)

    def _apply_changes(self, changes: Changes) -> None:
        first, self._refreshed = not self._refreshed, True
        if changes.generation <= self._newest.generation and not first:
            return  # it was our own commit, or another look was quicker
        self._newest.generation = changes.generation
        if changes.ours and not first:
            # a query was quicker than the commit's own answer
            self._notify(Committed(generation=changes.generation, written=self._writing))
            return
        self._notify(Invalidate(generation=changes.generation, partitions=changes.partitions))
        self._subscriptions.learnt(changes.generation)
        if first:
            return  # nothing was cached, and nobody had heard of anything
        self._counters.foreign_writes += 1
        tables = frozenset(Table) if changes.partitions is None else frozenset(changes.partitions)
        self.publish(
            StoreChanged(
                generation=changes.generation,
                tables=frozenset(table.value for table in tables),
                whole=changes.partitions is None,
            )
        )

    def now(self) -> int:
        """Milliseconds since 1970."""
        return self._options.now()

    def _notify(self, notice: Notice) -> None:
        for actor in self._all:
            actor.notify(notice)

    # --- commands -------------------------------------------------------------------------------------------

    async def ask_in_turn(self, command: Command[R]) -> R:
        """Have a turn run a command, and wait for the reply."""
        if self._poison is not None:
            raise own_error(self._poison)
        await trio.lowlevel.checkpoint_if_cancelled()  # switches only to raise
        envelope = Envelope(command, self._newest.generation)
        try:
            try:
                self._send.send_nowait(envelope)  # its checkpoint is the wait for the answer
            except trio.WouldBlock:
                await self._send.send(envelope)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ActorStopped from None
        return await envelope.wait()

    @enable_ki_protection
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the actors and the turns until `close` has drained them, or the task is cancelled."""
        batch: list[Envelope[Any]] = []
        try:
            async with trio.open_nursery() as nursery:
                for actor in self._all:
                    nursery.start_soon(_run_protected, actor.run, name=actor.run)
                for service in self.services:
                    nursery.start_soon(_run_protected, partial(run_service, service), name=service.run)
                for run in (self._write_behind, self._watch, self._subscriptions.run):
                    nursery.start_soon(_run_protected, run, name=run)
                task_status.started()
                async for first in self._inbox:
                    batch = [first, *self._waiting(MOST_COMMANDS - 1)]
                    while batch:
                        await self._take_turn(batch)
                        batch = self._waiting(MOST_COMMANDS) if self._state is not State.IDLE else []
                nursery.cancel_scope.cancel()
        finally:
            if self._store.lock.held:
                self._store.lock.release()
            self._move(Move.CLOSE)
            for envelope in (*batch, *self._waiting(MAILBOX_SIZE)):
                envelope.fail(ActorStopped())
            self._inbox.close()
            self._subscriptions.close()

    @enable_ki_protection
    async def close(self) -> None:
        """Take no more commands; wait until those that were sent are answered and what waited to be written is.

        Raises:
            InternalError: A bug has kept what waited from being written.
        """
        try:
            await self.ask_in_turn(Flush(closing=True))
        except InternalError:
            raise
        except OlmStateError:
            pass  # what has waited could be lost at any time; all else was told to its askers
        finally:
            self._send.close()

    def _waiting(self, most: int) -> list[Envelope[Any]]:
        batch: list[Envelope[Any]] = []
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            while len(batch) < most:
                batch.append(self._inbox.receive_nowait())
        return batch

    def _move(self, move: Move) -> None:
        if self._poison is not None and move not in TRANSITIONS[State.POISONED]:
            raise own_error(self._poison)  # found by a query beside the turn, which ends here
        self._state = next_state(self._state, move)

    def _poison_with(self, error: StorePoisoned) -> None:
        if self._poison is None:
            self._poison = error
            self._move(Move.POISON)

    # --- a turn ---------------------------------------------------------------------------------------------

    async def _take_turn(self, batch: Sequence[Envelope[Any]]) -> None:
        """Run ``batch`` under the lock; leaves the state at IDLE, or, if the lock is kept for more, at REFRESHING."""
        if self._poison is not None:
            _fail_all(batch, self._poison)
            return
        try:
            if self._state is State.IDLE:
                self._move(Move.COMMAND)
                await self._acquire()
            results, events, generation = await self._run_fenced(batch)
        except StoreError as error:
            self._give_up(batch, error)
            return
        except BaseException as error:
            if not is_bug(error):
                raise
            await self._take_apart(batch, error)
            return
        # from here to the answers there is no await: they can't be lost to a cancellation
        for envelope, result in results.items():
            envelope.resolve(result)
        if generation is not None:
            self._subscriptions.committed(generation, events)
        self._release()

    def _give_up(self, batch: Sequence[Envelope[Any]], error: StoreError) -> None:
        """End a turn of which nothing was written, or nobody knows what."""
        self._roll_back()
        if isinstance(error, StorePoisoned):
            self._poison_with(error)
        if self._poison is not None:
            if self._store.lock.held:
                self._store.lock.release()
            _fail_all(batch, self._poison)
        elif self._state is State.ACQUIRING:
            self._move(Move.BUSY)
            _fail_all(batch, error)
        else:
            self._move(Move.FAILED)
            _fail_all(batch, error)
            self._release()

    async def _take_apart(self, batch: Sequence[Envelope[Any]], bug: BaseException) -> None:
        """End a turn that met a bug, of which nobody knows whose it was: each command gets a turn of its own."""
        if self._poison is not None:
            self._give_up(batch, self._poison)
            return
        alone = len(batch) == 1 or self._state is State.ACQUIRING
        self._roll_back()
        if self._state is State.ACQUIRING and self._store.lock.held:
            self._store.lock.release()
        self._move(Move.BUSY if self._state is State.ACQUIRING else Move.FAILED)
        if alone:
            for envelope in batch:
                envelope.fail(internal_error(bug))
        if self._state is State.RELEASING:
            self._release()
        if not alone:
            for envelope in batch:
                await self._take_turn([envelope])

    async def _acquire(self) -> None:
        lock = self._store.lock
        if not lock.acquire_nowait():
            started = trio.current_time()
            try:
                await lock.acquire(self._options.lock_timeout)
            finally:
                waited = trio.current_time() - started
                self._counters.lock_waits += 1
                self._counters.lock_wait_seconds += waited
                self._counters.longest_lock_wait = max(self._counters.longest_lock_wait, waited)
        self._move(Move.LOCKED)

    def _release(self) -> None:
        """Let the lock go, unless more work waits and nobody else does."""
        lock = self._store.lock
        keep = False
        if self._inbox.statistics().current_buffer_used:
            with left_to_the_next():  # whoever can't be seen is waited for
                keep = not lock.contended()
        if keep:
            self._move(Move.KEPT)
        else:
            lock.release()
            self._move(Move.RELEASED)

    async def _run_fenced(
        self, batch: Sequence[Envelope[Any]]
    ) -> tuple[dict[Envelope[Any], Outcome[Any]], list[SharedEvent], int | None]:
        """Run the batch and commit what it changed, again from fresh state for as long as somebody else is quicker.

        The generation is that of the commit, if there was anything to commit.
        """
        for _ in range(MOST_FENCED):
            await self.refresh()
            if self._subscriptions.followed:
                with left_to_the_next():  # so that subscribers are told of our own commit as soon as it is made
                    await self._subscriptions.catch_up()
            seen = self._newest.generation
            self._move(Move.REFRESHED)
            results, events = await self._run_all(batch)
            self._move(Move.RAN)
            generation = await self._commit(seen, events)
            if generation is not None:
                self._move(Move.COMMITTED)
                self._counters.turns += 1
                self._counters.commands += len(results)
                self._counters.largest_batch = max(self._counters.largest_batch, len(results))
                return results, events, generation if generation > seen else None
            self._counters.fenced += 1
            self._roll_back()
            self._move(Move.FENCED)
        raise StorePoisoned(reason="others commit while this process holds the lock")

    async def _run_all(
        self, batch: Sequence[Envelope[Any]]
    ) -> tuple[dict[Envelope[Any], Outcome[Any]], list[SharedEvent]]:
        """Run every command once, without those that are refused half-way."""
        refused: dict[Envelope[Any], Outcome[Any]] = {}
        while True:
            turn = Turn(actors=self.actors, now=self._options.now(), events=[], additions=self.additions)
            results = dict(refused)
            try:
                for envelope in batch:
                    if envelope not in refused and not envelope.abandoned:
                        results[envelope] = await self._run_one(turn, envelope)
            except _Spoiled as spoiled:
                refused[spoiled.envelope] = Error(spoiled.error)
                self._roll_back()
                self._move(Move.SPOILED)
            else:
                return results, turn.events

    async def _run_one(self, turn: Turn, envelope: Envelope[Any]) -> Outcome[Any]:
        before = self._changes.number
        events = len(turn.events)
        try:
            reply = await self._commands[type(envelope.message)](turn, envelope.message)
        except (StoreError, ActorStopped):
            raise  # not the command's fault: the whole turn fails
        except InternalError as error:
            raise _Spoiled(envelope, error) from error
        except OlmStateError as error:
            if self._changes.number != before or len(turn.events) != events:
                raise _Spoiled(envelope, error) from error
            return Error(error)
        except BaseException as error:
            if is_bug(error):
                raise _Spoiled(envelope, internal_error(error)) from error
            raise
        return Value(reply)

    async def _commit(self, seen: int, events: Sequence[SharedEvent]) -> int | None:
        """Write what the turn, which derives from generation ``seen``, has changed, and its events.

        The generation that the store has then; None if the turn was fenced.
        """
        for actor in self._with_steps:
            for step in actor.before_commit():
                await actor.ask(step)
        if events:
            await store_events(self._store, self._stream, events)
        if self._newest.generation != seen:
            return None  # a query has seen another's commit, and the actors have dropped what it contradicts
        rows: dict[Table, list[Row]] = {}
        for actor in self._all:
            if actor.has_changes:
                rows.update(await in_slices(actor.changed_rows()))
        if not any(rows.values()):
            self._notify(Committed(generation=seen))
            return seen
        if sum(map(len, rows.values())) > MOST_ROWS:
            await trio.lowlevel.checkpoint()  # if anybody commits meanwhile, this commit is fenced
        return await self._write(rows, seen)

    async def _write(self, rows: Mapping[Table, list[Row]], seen: int) -> int | None:
        """Commit ``rows`` and tell the actors; the new generation, or None if it was fenced."""
        self._writing = {
            table: frozenset(row.partition for row in rows[table]) for table in self._viewed if table in rows
        }
        generation: int | None = None
        with trio.CancelScope(shield=True):
            try:
                generation = await self._store.commit(rows, seen)
                # a query may have seen more already
                self._newest.generation = max(self._newest.generation, generation)
                self._counters.commits += 1
                self._notify(Committed(generation=generation, written=self._writing))
                await _free(rows)
            except Fenced:
                return None
            except OlmStateError:
                raise
            except BaseException as error:
                if is_bug(error):  # nobody knows what was written, or what the actors have learned of it
                    raise StorePoisoned(reason=f"a commit met a bug, {internal_error(error).reason}") from error
                raise
        return generation

    def _roll_back(self) -> None:
        self._notify(RolledBack())

    # --- beside the turns -----------------------------------------------------------------------------------

    async def _flush(self, turn: Turn, command: Flush) -> None:
        if command.closing:
            for actor in turn.actors:
                step = actor.before_closing()
                if step is not None:
                    await actor.ask(step)

    def _write_later(self) -> None:
        self._unwritten.set()

    async def _write_behind(self) -> None:
        """Give what may wait a turn of its own, if none came by."""
        while True:
            await self._unwritten.wait()
            await trio.sleep(self._options.write_behind)
            if any(actor.before_commit() for actor in self._with_steps):
                # it still waits, and the next turn takes it along, if there is one
                with left_to_the_next():
                    await self.ask_in_turn(Flush())
            if any(actor.before_commit() for actor in self._with_steps):
                await trio.sleep(self._options.watch)  # it can't be written now, and `write_behind` may be 0
            else:
                self._unwritten = trio.Event()

    async def _watch(self) -> None:
        """Look for others' writes while anybody wants to hear of them."""
        while True:
            if self._subscriptions.followed or self._subscriptions.wanted(StoreChanged):
                with left_to_the_next():
                    await self.refresh()
                await trio.sleep(self._options.watch)
            else:
                await self._subscriptions.wait_changed()

    def statistics(self) -> SupervisorStatistics:
        lock = self._store.lock
        counters = self._counters
        return SupervisorStatistics(
            caches={name: cache for actor in self._all for name, cache in actor.statistics().items()},
            generation=self._newest.generation,
            lock_held=lock.held,
            lock_holder=lock.holder_pid(),
            **attrs.asdict(counters),
        )


async def _statistics_of(supervisor: Runner, query: Statistics) -> SupervisorStatistics:  # noqa: ARG001 - the route's
    await supervisor.refresh()
    await trio.lowlevel.checkpoint()
    return supervisor.statistics()


@enable_ki_protection
async def _run_protected(run: Callable[[], Awaitable[None]]) -> None:
    """Have Ctrl-C come to the program's own task, and never into one of ours: it may be half-way through a change."""
    await run()


async def _free(rows: Mapping[Table, list[Row]]) -> None:
    """Forget rows that were written. To free very many takes some milliseconds, so others have their turn."""
    for each in rows.values():
        while len(each) > MANY_ROWS:
            del each[-MANY_ROWS:]
            await trio.lowlevel.cancel_shielded_checkpoint()


def _fail_all(batch: Sequence[Envelope[Any]], error: StoreError) -> None:
    for envelope in batch:
        envelope.fail(own_error(error))
