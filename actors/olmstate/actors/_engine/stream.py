"""The stream: what every process's subscribers hear, stored in the commits that it tells of.

Owns: the table of events, a row a commit that has any, and how it is read again.
Rule: an event is made once, by the command that caused it, and is stored in that command's commit. The writer's own
subscribers get what it has made; others, and those who come later, get what they read here. Nothing else makes one.
Why a row, and not the rows that changed: those say neither what changed in them nor, once deleted, whose they were, for
their keys are hashes (decision 0055).

A row's key is the generation of its commit, so rows are in the order of the commits. The fence makes sure that it is:
a turn writes as the generation after the one that it derives from, or not at all. One row more says how many there are,
and up to which generation they were trimmed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, assert_never

import msgspec

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Message, Reply, SharedEvent, StoreCorrupt
from olmstate.storage import Position, Row, RowReader, Table

from .actor import Actor, Environment, Wanted
from .cache import Cache
from .records import OneRecordCodec, Record, loads

KEPT = 4096
"""Commits whose events are kept at least."""
TRIMMED_AT_ONCE = 64
"""Of those that are more than that."""
COMMITS_A_PAGE = 64
"""Read without giving other tasks a chance: a millisecond's worth, if each has an event or two."""


class EventRecord(msgspec.Struct, kw_only=True, frozen=True):
    """One event."""

    event: str
    """Its class."""
    fields: dict[str, Any] = {}

    def __repr__(self) -> str:
        """The class alone."""
        return f"EventRecord({self.event})"


class EventsRecord(Record, kw_only=True, frozen=True):
    """The events of one commit; or, in the row of generation 0, what there is of rows."""

    table: ClassVar[Table] = Table.EVENTS

    events: tuple[EventRecord, ...] = ()
    commits: int = 0
    """Rows that are kept."""
    trimmed: int = 0
    """The generation up to which they are not."""


def row_key(generation: int) -> bytes:
    """The key of the row of a commit's events. It says no more than the row's generation does."""
    return generation.to_bytes(8, "big")


def generation_of(row: Row) -> int:
    """Of which commit a row has the events."""
    return int.from_bytes(row.key, "big")


SUMMARY = row_key(0)
"""No commit has this generation."""


def to_record(event: SharedEvent) -> EventRecord:
    """The stored form: the event's fields, by name."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    del fields["position"]  # the row's
    return EventRecord(event=type(event).__name__, fields=fields)


# --- writing ------------------------------------------------------------------------------------------------


class StoreEvents(QuietStruct, Message[bool], kw_only=True, frozen=True):
    """Have the events of this turn go along with its commit; whether there are now more rows than need be kept."""

    events: tuple[SharedEvent, ...]


class Trim(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Drop the events of these commits, the oldest ones."""

    generations: tuple[int, ...]


Asked: TypeAlias = StoreEvents | Trim


class StreamActor(Actor[Asked]):
    """See the module."""

    name: ClassVar[str] = "stream"

    def __init__(self, environment: Environment, shared: Iterable[type[SharedEvent]]) -> None:
        """It has loaded nothing. ``shared`` are the events that there are."""
        # the summary alone, which is put last: nobody reads events here
        capacity = min(1, environment.capacity(Table.EVENTS))
        self._events = Cache[EventsRecord | None](Table.EVENTS, OneRecordCodec(EventsRecord), capacity)
        self._shared = frozenset(shared)
        super().__init__(environment, [self._events])

    def wanted(self, message: Asked) -> Wanted:
        """The summary; rows are written unseen."""
        match message:
            case StoreEvents():
                return ((self._events, [SUMMARY]),)
            case Trim(generations=generations):
                return ((self._events, [SUMMARY, *map(row_key, generations)]),)
            case _:
                assert_never(message)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        summary = self._events.current(SUMMARY) or EventsRecord()
        match message:
            case StoreEvents(events=events):
                for event in events:
                    if type(event) not in self._shared:
                        raise TypeError(f"no capability names {type(event).__name__} among its events")
                key = row_key(self._newest.generation + 1)
                self._events.put(key, EventsRecord(events=tuple(map(to_record, events))))
                self._put_summary(summary.commits + 1, summary.trimmed)
                return message.reply(summary.commits >= KEPT + TRIMMED_AT_ONCE)
            case Trim(generations=generations):
                for generation in generations:
                    self._events.put(row_key(generation), None)
                self._put_summary(summary.commits - len(generations), max(generations))
                return message.reply(None)
            case _:
                assert_never(message)

    def _put_summary(self, commits: int, trimmed: int) -> None:
        self._events.put(SUMMARY, EventsRecord(commits=commits, trimmed=trimmed))


async def store_events(store: RowReader, stream: StreamActor, events: Sequence[SharedEvent]) -> None:
    """Have a turn's events go along with its commit, and the oldest ones be dropped, if there are too many."""
    too_many = await stream.ask(StoreEvents(events=tuple(events)))
    if too_many:
        oldest = await store.page(Table.EVENTS, _behind(0), TRIMMED_AT_ONCE)
        await stream.ask(Trim(generations=tuple(map(generation_of, oldest))))


# --- reading ------------------------------------------------------------------------------------------------


class Told(QuietStruct, kw_only=True, frozen=True):
    """What is stored of the commits after some generation."""

    commits: tuple[tuple[int, tuple[SharedEvent, ...]], ...]
    """Generations, and their events."""
    whole: bool
    """Whether there are no others."""
    trimmed: int
    """The generation up to which events aren't stored any more."""


class StreamReader:
    """Reads what was committed. No actor does: nothing of it is cached, and no turn changes what it has written."""

    def __init__(self, store: RowReader, shared: Iterable[type[SharedEvent]]) -> None:
        """``shared`` are the events that there are."""
        self._store = store
        self._shared: Mapping[str, type[SharedEvent]] = {each.__name__: each for each in shared}

    async def read(self, after: int) -> Told:
        """The events of the first commits after a generation.

        Raises:
            StoreError: They can't be read.
        """
        rows = await self._store.page(Table.EVENTS, _behind(after), COMMITS_A_PAGE)
        # afterwards, so that nothing can be trimmed unseen
        found = await self._store.read(Table.EVENTS, [SUMMARY])
        summary = loads(found[SUMMARY][0], EventsRecord) if found[SUMMARY] else EventsRecord()
        return Told(
            commits=tuple((generation_of(row), tuple(self._decoded(row))) for row in rows),
            whole=len(rows) < COMMITS_A_PAGE,
            # a backup leaves all of them out
            trimmed=max(summary.trimmed, self._store.restored_generation),
        )

    def _decoded(self, row: Row) -> Iterable[SharedEvent]:
        for record in loads(row, EventsRecord).events:
            cls = self._shared.get(record.event)
            if cls is None:
                continue  # a later version's
            try:
                yield msgspec.convert(record.fields, cls)
            except msgspec.ValidationError as error:
                raise StoreCorrupt(reason=f"a value in {Table.EVENTS} can't be read") from error


def _behind(generation: int) -> Position:
    key = row_key(generation)
    return key, key
