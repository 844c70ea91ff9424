"""All records of a kind in one partition, by name: for a kind of which there are few, or which are looked through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import attrs

from olmstate.storage import Row, RowReader

from .records import Record, dumps, loads

R = TypeVar("R", bound=Record)
N = TypeVar("N", bound=str | tuple[str, ...])


@attrs.define(kw_only=True)
class NamedRecords(Generic[N, R]):
    """All of a kind."""

    by_name: dict[N, R] = attrs.field(repr=False)
    changed: set[N] = attrs.field(factory=set[N], repr=False)
    """New, other or gone against what is stored."""

    def put(self, new: Mapping[N, R]) -> None:
        """Some are new, or other."""
        self.by_name.update(new)
        self.changed.update(new)

    def drop(self, names: Iterable[N]) -> None:
        """Some are gone; of others, nothing happens."""
        gone = [name for name in names if name in self.by_name]
        for name in gone:
            del self.by_name[name]
        self.changed.update(gone)


@attrs.frozen
class NamedRecordsCodec(Generic[N, R]):
    """Of a table whose rows are all one partition."""

    store: RowReader
    cls: type[R]
    name: Callable[[R], N]

    def decode(self, partition: bytes, rows: Sequence[Row]) -> NamedRecords[N, R]:  # noqa: ARG002 - there is one
        """The records, by name."""
        return NamedRecords(by_name={self.name(record): record for record in (loads(row, self.cls) for row in rows)})

    def add(self, entry: NamedRecords[N, R], rows: Sequence[Row]) -> None:
        """More of them."""
        entry.by_name |= self.decode(b"", rows).by_name

    def encode(self, partition: bytes, entry: NamedRecords[N, R]) -> Iterable[Row]:
        """The rows of those that have changed."""
        for name in entry.changed:
            record = entry.by_name.get(name)
            key = self.store.key(self.cls.table, *((name,) if isinstance(name, str) else name))
            yield Row(key, partition, None if record is None else dumps(record))
        entry.changed.clear()
