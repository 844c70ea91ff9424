"""All records of a kind in one partition, by name: for a kind of which there are few, or which are looked through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import attrs

from olmstate.storage import Row, RowReader

from .records import Record, dumps, loads

R = TypeVar("R", bound=Record)
N = TypeVar("N", bound=str | int | tuple[str, ...])


@attrs.define(kw_only=True)
class NamedRecords(Generic[N, R]):
    """All of a kind."""

    by_name: dict[N, R] = attrs.field(repr=False)
    """In order, if the codec knows of one."""
    changed: set[N] = attrs.field(factory=set[N], repr=False)
    """New, other or gone against what is stored."""

    def put(self, new: Mapping[N, R]) -> None:
        """Some are new, or other."""
        self.by_name.update(new)
        self.changed.update(new)

    def drop(self, names: Iterable[N]) -> list[N]:
        """Some are gone; of others, nothing happens. Which were there."""
        gone = [name for name in dict.fromkeys(names) if name in self.by_name]
        for name in gone:
            del self.by_name[name]
        self.changed.update(gone)
        return gone


@attrs.frozen
class NamedRecordsCodec(Generic[N, R]):
    """Of a table in which a record's name is its row's key."""

    store: RowReader
    cls: type[R]
    name: Callable[[R], N]
    order: Callable[[R], int] | None = None
    """Where a record stands among those that were there before; those that come later are behind it."""

    def decode(self, partition: bytes, rows: Sequence[Row]) -> NamedRecords[N, R]:  # noqa: ARG002 - rows know it
        """The records, by name."""
        entry = NamedRecords[N, R](by_name={})
        self.add(entry, rows)
        return entry

    def add(self, entry: NamedRecords[N, R], rows: Sequence[Row]) -> None:
        """More of them."""
        entry.by_name.update((self.name(record), record) for record in (loads(row, self.cls) for row in rows))
        order = self.order
        if order is not None:
            entry.by_name = dict(sorted(entry.by_name.items(), key=lambda item: order(item[1])))

    def encode(self, partition: bytes, entry: NamedRecords[N, R]) -> Iterable[Row]:
        """The rows of those that have changed."""
        for name in entry.changed:
            record = entry.by_name.get(name)
            key = self.store.key(self.cls.table, *(name if isinstance(name, tuple) else (str(name),)))
            yield Row(key, partition, None if record is None else dumps(record))
        entry.changed.clear()
