"""The actor: one task that owns some caches and handles messages one after another.

Its rules:

1. A message is handled by `Actor.handle`, a plain function: no await inside, so neither a cancellation nor another
   message can split a transition. What it needs is loaded before, and loaded again if it is invalidated meanwhile.
2. A handler that raises has changed nothing.
3. Notices (`Invalidate`, `Committed`, `RolledBack`) take effect at once: they overtake messages, and reach into a load
   that is under way. So an idle actor keeps no list of them, and what a failed turn has changed is gone before the
   next turn collects its changes.
4. An envelope carries the generation that its asker had seen. An actor that is behind it has missed a notice, and drops
   everything rather than answer from a stale copy.
5. An actor asks nobody. So asks can't form a cycle, and can't deadlock. What it must know of another's data it reads
   from the store, through a view of its own.
6. An actor with nothing to do and nothing to load answers in the asker's own slice of time, without the task switches
   that a mailbox costs. Nothing else differs: one message after another, and none overtakes one that waits. Each ask
   can be cancelled; other tasks get their turn after some.

Failures have three tiers. A typed error is the answer, and state is unchanged. A store error is the answer too, and
clean copies are dropped, since what they equal is in doubt; what a turn has changed is the turn's to roll back.
Anything else is a bug, and `InternalError` is its asker's answer: clean copies are dropped as well, for a handler that
fails half-way may have spoiled them, and the turn that it was part of is rolled back. The others go on.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

import attrs
import trio

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.steps import Steps
from olmstate.messages import (
    ActorStopped,
    CacheStatistics,
    DeviceId,
    InternalError,
    Message,
    OlmStateError,
    Query,
    Reply,
    StoreError,
    UserId,
)
from olmstate.storage import START, Position, Presence, Row, RowReader, Table, position_of

from .bugs import internal_error, is_bug
from .cache import Cache, ChangeCounter
from .envelope import Envelope
from .slices import in_slices

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
M_co = TypeVar("M_co", covariant=True)
M_contra = TypeVar("M_contra", contravariant=True)

MAILBOX_SIZE = 256
"""Messages that may wait for an actor; more askers wait outside."""
BATCH = 64
"""Messages handled without giving other tasks a chance."""
SLICE = 24
"""Messages and entries used in the askers' time without giving other tasks a chance: 8 decrypted events, below 1 ms."""

Wanted: TypeAlias = Iterable[tuple[Cache[Any], list[bytes]]]
"""Which partitions of which caches a message needs: a tuple, or, if that depends on what is found, a generator."""


@attrs.frozen(kw_only=True)
class Invalidate:
    """Another handle has committed: drop what it wrote."""

    generation: int
    """Up to which this tells everything."""
    partitions: Mapping[Table, frozenset[bytes]] | None
    """None: anything may have been written."""


@attrs.frozen(kw_only=True)
class Committed:
    """The turn's changes are durable as this generation."""

    generation: int
    written: Mapping[Table, frozenset[bytes]] = attrs.field(factory=dict[Table, frozenset[bytes]])
    """The partitions that it has changed of tables that actors have a view of."""


@attrs.frozen
class RolledBack:
    """The turn failed: an invalidate, of what the turn itself has changed."""


Notice: TypeAlias = Invalidate | Committed | RolledBack


@attrs.define
class Newest:
    """The newest generation that a supervisor knows of; its actors stamp with it what they are asked."""

    generation: int = 0


@attrs.frozen(kw_only=True)
class Environment:
    """What a supervisor gives to each of its actors."""

    store: RowReader
    newest: Newest
    capacity: Callable[[Table], int]
    """Entries of a data type that may be cached."""
    write_later: Callable[[], None]
    """Have a turn come, some time from now, if none comes by before: `Actor.before_commit` has something."""
    presence: Presence
    """Which handles on the store are alive."""
    changes: ChangeCounter = attrs.field(factory=ChangeCounter)
    """Of all actors' caches."""
    user_id: UserId
    device_id: DeviceId
    """Whose store it is."""


class MessageOf(Protocol[M_co, R_co]):
    """A message that is one of the classes ``M_co`` and has a reply of type ``R_co``; see `Message`."""

    def _of_class_and_reply(self) -> tuple[M_co, R_co]: ...


class PageQuery(QuietStruct, Query[R], Generic[R], kw_only=True, frozen=True):
    """Walks a whole table, past the cache: `Actor.page` holds the rows when the handler runs."""

    table: Table
    after: Position = START
    """Where the page before ended."""
    limit: int = 64
    """Below a millisecond's worth."""
    group: tuple[str, ...] | None = None
    """Of which group's rows, by the parts of its name, or, with none, of those without a group. None: of all."""


class Actor(abc.ABC, Generic[M_contra]):
    """Base of the actors; see the rules above. ``M_contra`` is the union of the messages that an actor handles."""

    name: ClassVar[str]

    def __init__(self, environment: Environment, caches: Iterable[Cache[Any]]) -> None:
        """An actor over ``caches``; nothing is loaded, and it answers only once `run` is running."""
        self._store = environment.store
        self._newest = environment.newest
        self._caches = tuple(caches)
        self._views = tuple(cache for cache in self._caches if cache.view)
        for cache in self._caches:
            cache.changes = environment.changes
        self._generation = 0
        self._idle = False
        self._slice = 0
        self.version = 0
        """How often what is stored of this actor's has changed, as far as this process knows: equal numbers mean that
        nothing has. After `Supervisor.refresh`, nobody else has changed it either."""
        self.page: list[Row] = []
        self._send, self._inbox = trio.open_memory_channel[Envelope[Any]](MAILBOX_SIZE)

    # --- what an actor defines ------------------------------------------------------------------------------

    @abc.abstractmethod
    def wanted(self, message: M_contra) -> Wanted:
        """What ``message`` needs loaded. Asked again after each load, unless it was a tuple."""

    @abc.abstractmethod
    def handle(self, message: M_contra) -> Reply:
        """Answer ``message``, everything wanted being loaded. Raises `OlmStateError` with nothing changed."""

    def before_commit(self) -> Sequence[Message[None]]:
        """What the actor must be asked before a turn commits, so that what waits to be written goes along."""
        return ()

    def before_closing(self) -> Message[None] | None:
        """What the actor must be asked in the last turn of all."""
        return None

    def noticed(self, notice: Notice) -> None:
        """A notice has come that concerns the actor: of what the running turn has changed of its, or others have."""

    # --- asking ---------------------------------------------------------------------------------------------

    async def ask(self, message: MessageOf[M_contra, R]) -> R:
        """Send one of the actor's own messages and wait for the reply.

        Raises:
            OlmStateError: What was answered instead.
            ActorStopped: The actor isn't running any more.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # switches only to raise
        asked: Any = message
        if self._can_answer_now(asked):
            try:
                reply: R = self._handle_now(asked)
                return reply
            finally:
                if self._slice >= SLICE:
                    self._slice = 0
                    await trio.lowlevel.cancel_shielded_checkpoint()  # begun, so finished; but others get their turn
        self._idle = False  # from now on, though its task has yet to run
        envelope = Envelope[R](asked, self._newest.generation)
        try:
            try:
                self._send.send_nowait(envelope)  # its checkpoint is the wait for the answer
            except trio.WouldBlock:
                await self._send.send(envelope)
        except trio.BrokenResourceError:
            raise ActorStopped from None
        return await envelope.wait()

    def ask_nowait(self, message: MessageOf[M_contra, R]) -> R:
        """The reply, if it can be had now; others don't get their turn.

        Raises:
            OlmStateError: What was answered instead.
            trio.WouldBlock: Something else waits for the actor, or something must be loaded; or it isn't running.
        """
        asked: Any = message
        if self._can_answer_now(asked):
            reply: R = self._handle_now(asked)
            return reply
        raise trio.WouldBlock

    # --- for the supervisor ---------------------------------------------------------------------------------

    def notify(self, notice: Notice) -> None:
        """Tell the actor something, which holds from now on, also for what it is loading."""
        touched = [cache for cache in self._caches if cache.touched]
        written = self._take_in(notice, touched)
        if not isinstance(notice, Invalidate):
            for cache in touched:
                cache.touched = False
        if touched or written:
            self.noticed(notice)

    def _take_in(self, notice: Notice, touched: Iterable[Cache[Any]]) -> bool:
        """Have the caches follow; whether others have written to their tables."""
        written_by_others = False
        match notice:
            case Invalidate(generation=generation, partitions=partitions):
                self._generation = max(self._generation, generation)
                for cache in self._caches:
                    keys = None if partitions is None else partitions.get(cache.table)
                    if partitions is None or keys:
                        cache.invalidate(keys)
                        self.version += 1
                        written_by_others = True
            case Committed(generation=generation, written=written):
                self._generation = max(self._generation, generation)
                for cache in touched:  # of many actors' many, few
                    self.version += cache.dirty
                    cache.commit()
                    cache.trim()
                if written:
                    for view in self._views:
                        view.commit(written)
            case RolledBack():
                for cache in touched:
                    cache.roll_back()
        return written_by_others

    @property
    def has_changes(self) -> bool:
        """Whether the present turn has changed anything by now."""
        return bool([cache for cache in self._caches if cache.touched and cache.dirty])

    def statistics(self) -> dict[str, CacheStatistics]:
        """Counters by data type; a view's aren't told, since its table's are the owner's."""
        return {cache.table.value: cache.statistics() for cache in self._caches if not cache.view}

    @property
    def viewed(self) -> frozenset[Table]:
        """The tables of other actors that this one has a view of."""
        return frozenset(cache.table for cache in self._views)

    async def run(self) -> None:
        """Handle messages until the nursery is cancelled."""
        current: Envelope[Any] | None = None
        try:
            while True:
                self._idle = not self._inbox.statistics().current_buffer_used
                current = await self._inbox.receive()
                self._idle = False
                await self._answer(current)
                for _ in range(BATCH):
                    try:
                        current = self._inbox.receive_nowait()
                    except trio.WouldBlock:
                        break
                    await self._answer(current)
        finally:
            self._idle = False
            if current is not None:
                current.fail(ActorStopped())
            with contextlib.suppress(trio.WouldBlock):
                while True:
                    self._inbox.receive_nowait().fail(ActorStopped())
            self._inbox.close()

    # --- one message ----------------------------------------------------------------------------------------

    async def _answer(self, envelope: Envelope[Any]) -> None:
        if envelope.abandoned:
            return
        message: Any = envelope.message
        try:
            self._catch_up(envelope.generation)
            await self._load(message)
            reply = self.handle(message)
        except OlmStateError as error:
            self._after_error(error)
            envelope.fail(error)
        except BaseException as error:  # noqa: BLE001 - what is no bug is raised again
            envelope.fail(self._after_bug(error))
        else:
            envelope.answer(reply.value)
        for cache in self._caches:
            cache.trim()

    def _can_answer_now(self, message: M_contra) -> bool:
        """Whether nothing waits, and ``message`` can be handled without waiting for the store."""
        if not self._idle or isinstance(message, PageQuery):
            return False
        self._catch_up(self._newest.generation)
        committed = isinstance(message, Query)
        held: list[tuple[Cache[Any], int]] = []
        try:
            for cache, keys in self.wanted(message):
                if not cache.holds(keys, committed=committed):
                    return False
                held.append((cache, len(keys)))
        except OlmStateError:
            raise
        except BaseException as error:
            raise self._after_bug(error) from error
        self._slice += 1
        for cache, number in held:
            self._slice += number
            cache.count(wanted=number, missed=0)
        return True

    def _handle_now(self, message: M_contra) -> Any:  # noqa: ANN401 - the message's own reply
        try:
            return self.handle(message).value
        except OlmStateError as error:
            self._after_error(error)
            raise
        except BaseException as error:
            raise self._after_bug(error) from error

    def _after_error(self, error: OlmStateError) -> None:
        if isinstance(error, StoreError):
            self._doubt()

    def _after_bug(self, error: BaseException) -> InternalError:
        """What the asker is told. What is no bug, as a cancellation, is raised again."""
        if not is_bug(error):
            raise error
        self._doubt()
        return internal_error(error)

    def _doubt(self) -> None:
        for cache in self._caches:
            cache.drop_clean()

    def _catch_up(self, generation: int) -> None:
        if self._generation < generation:
            self.notify(Invalidate(generation=generation, partitions=None))

    async def _load(self, message: M_contra) -> None:
        page: object = message
        if isinstance(page, PageQuery):
            self.page = await self._store.page(
                page.table, page.after, page.limit, self._group_key(page.table, page.group)
            )
        first = True
        complete = False
        committed = isinstance(message, Query)
        wanted = self.wanted(message)
        while not complete:
            complete = True
            for cache, keys in wanted:
                missing = cache.missing(keys, committed=committed)
                if first:
                    cache.count(wanted=len(keys), missed=len(missing))
                if missing:
                    complete = False
                    rows = await self._store.read(cache.table, missing)
                    await in_slices(cache.fill(rows))
            first = False
            if not isinstance(wanted, tuple):
                wanted = self.wanted(message)

    def _group_key(self, table: Table, group: tuple[str, ...] | None) -> bytes | None:
        if not group:
            return None if group is None else b""
        return self._store.key(table, *group)

    def decoded_page(self, table: Table, decode: Callable[[Row], T]) -> tuple[Position, tuple[T, ...]]:
        """Where the page that was read ends, and what its rows stand for.

        Raises:
            StoreCorrupt: A row can't be read.
        """
        last = position_of(table, self.page[-1]) if self.page else START
        return last, tuple(decode(row) for row in self.page)

    def changed_rows(self) -> Steps[dict[Table, list[Row]]]:
        """What the present turn must write; asked once a turn.

        It isn't asked as a message: only a turn changes anything, and the turn that asks is the only one.
        """
        changed: dict[Table, list[Row]] = {}
        for cache in self._caches:
            if cache.dirty:
                changed[cache.table] = yield from cache.changed_rows()
        return changed
