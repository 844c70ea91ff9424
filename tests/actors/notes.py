"""A small actor of the tests' own: it owns notes, each of which has a name and a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeAlias, assert_never

import attrs

from olmstate.actors._engine.actor import Actor, Environment, Newest, Notice, PageQuery, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import restore
from olmstate.actors.testing import DEVICE, USER, MemoryDisk, MemoryStore
from olmstate.messages import MalformedMessage, Message, Query, Reply
from olmstate.storage import Row, RowReader, Rows, Table


@attrs.define
class Note:
    """An entry that changes in place, as ratchets do."""

    text: str = ""


class NoteCodec:
    """One row a note; an empty one has none."""

    def decode(self, partition: bytes, rows: Sequence[Row]) -> Note:  # noqa: ARG002 - the row knows it
        if not rows:
            return Note()
        assert rows[0].value is not None
        return Note(restore(Table.DEVICES, rows[0].value.decode))

    def encode(self, partition: bytes, entry: Note) -> Iterable[Row]:
        yield Row(partition, partition, entry.text.encode() or None)


def row(name: str, text: str) -> Row:
    """A note as it is stored."""
    return Row(name.encode(), name.encode(), text.encode() or None)


def rows(**notes: str) -> Rows:
    """What a commit from elsewhere writes."""
    return {Table.DEVICES: [row(name, text) for name, text in notes.items()]}


@attrs.frozen
class Look(Query[tuple[str, ...]]):
    """The committed texts of these notes."""

    names: tuple[str, ...]


@attrs.frozen
class LookInTurn(Message[tuple[str, ...]]):
    """The texts of these notes as the turn sees them."""

    names: tuple[str, ...]


@attrs.frozen
class Write(Message[None]):
    """Change a note in this turn."""

    name: str
    text: str


@attrs.frozen
class Refuse(Message[None]):
    """Be refused for a reason of one's own."""

    name: str


@attrs.frozen
class RefuseBefore(Message[None]):
    """Be refused before anything is loaded."""


@attrs.frozen
class Break(Message[None]):
    """Meet a bug in the handler."""

    name: str


@attrs.frozen
class BreakBefore(Message[None]):
    """Meet a bug before anything is loaded."""


class Page(PageQuery[tuple[str, ...]], kw_only=True, frozen=True):
    """The names of some notes, in their order."""

    table: Table = Table.DEVICES


Asked: TypeAlias = Look | LookInTurn | Write | Refuse | RefuseBefore | Break | BreakBefore | Page


class Bug(BaseException):
    """Nothing that anybody expects: like a panic of vodozemac's, not even an Exception."""


class Notes(Actor[Asked]):
    """See the module."""

    name: ClassVar[str] = "notes"

    def __init__(self, store: RowReader, newest: Newest | None = None, *, capacity: int = 100) -> None:
        self.notes = Cache[Note](Table.DEVICES, NoteCodec(), capacity)
        self.newest = newest or Newest()
        self.handled: list[Message[Any]] = []
        self.on_notice: Callable[[Notice], object] = lambda _: None
        self.on_handle: Callable[[], None] = lambda: None
        environment = Environment(
            store=store,
            newest=self.newest,
            capacity=lambda _: capacity,
            write_later=lambda: None,
            presence=MemoryStore(MemoryDisk()).presence,
            user_id=USER,
            device_id=DEVICE,
        )
        super().__init__(environment, [self.notes])

    def wanted(self, message: Asked) -> Wanted:
        match message:
            case Look(names=names) | LookInTurn(names=names):
                return ((self.notes, [name.encode() for name in names]),)
            case Write(name=name) | Refuse(name=name) | Break(name=name):
                return ((self.notes, [name.encode()]),)
            case RefuseBefore():
                raise MalformedMessage(reason="refused")
            case BreakBefore():
                raise Bug
            case Page():
                return ()
            case _:
                assert_never(message)

    def handle(self, message: Asked) -> Reply:
        self.handled.append(message)
        self.on_handle()
        match message:
            case Look(names=names):
                return message.reply(tuple(self.notes.committed(name.encode()).text for name in names))
            case LookInTurn(names=names):
                return message.reply(tuple(self.notes.current(name.encode()).text for name in names))
            case Write(name=name, text=text):
                self.notes.change(name.encode()).text = text
                return message.reply(None)
            case Refuse():
                raise MalformedMessage(reason="refused")
            case Break():
                raise Bug
            case Page():
                return message.reply(tuple(row.key.decode() for row in self.page))
            case RefuseBefore() | BreakBefore():
                raise AssertionError("it was to end before")
            case _:
                assert_never(message)

    def noticed(self, notice: Notice) -> None:
        self.on_notice(notice)

    @property
    def loaded(self) -> int:
        """Entries read from the store so far."""
        return self.notes.statistics().loaded
