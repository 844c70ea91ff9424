"""How a stored value is written: JSON of a record, by field, so that a later version can add one.

Rule: a record is a stored form and nothing else. What a message carries or an actor computes with is another class,
so that neither can change the other; a codec turns one into the other. A record's old bytes are read for ever: a new
field has a default, and no field changes its name, its type or its meaning. Unknown fields are passed over.

Only what was *read* can show that a store is damaged. So it is these two, `loads` and `restore`, that say so; whatever
else a codec raises is its own bug.

A room's id is whatever a user says that it is, and a lone surrogate can be in it. UTF-8 can't hold that, an escape can,
and msgspec doesn't write or read such an escape.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

import msgspec

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import StoreCorrupt
from olmstate.storage import Row, Table

P = ParamSpec("P")
T = TypeVar("T")


class Record(QuietStruct, kw_only=True, frozen=True):
    """Base of what a row's value says: one class a table."""

    table: ClassVar[Table]


RecordT = TypeVar("RecordT", bound=Record)

_encoder = msgspec.json.Encoder()
_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def dumps(record: Record) -> bytes:
    """The value to store."""
    try:
        return _encoder.encode(record)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(record, str_keys=True)).encode()


def loads(row: Row, cls: type[RecordT]) -> RecordT:
    """The record in ``row``.

    Raises:
        StoreCorrupt: There is none.
    """
    assert row.value is not None  # noqa: S101 - reading gives no deleted rows
    try:
        return _decoded(row.value, cls)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _unreadable(cls.table) from error


def _decoded(value: bytes, cls: type[RecordT]) -> RecordT:
    decoder = _decoders.get(cls) or _decoders.setdefault(cls, msgspec.json.Decoder(cls))
    try:
        record: RecordT = decoder.decode(value)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        record = msgspec.convert(json.loads(value), cls, str_keys=True)
    return record


def restore(table: Table, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``make`` makes of a part of a record, a pickle say.

    Raises:
        StoreCorrupt: It is of no use.
    """
    try:
        return make(*args, **kwargs)
    except ValueError as error:  # as all of vodozemac's are
        raise _unreadable(table) from error


def _unreadable(table: Table) -> StoreCorrupt:
    return StoreCorrupt(reason=f"a value in {table} can't be read")


class OneRecordCodec(Generic[RecordT]):
    """Of a table in which each row is its own partition, for a cache of records as they are stored: one, or none."""

    def __init__(self, cls: type[RecordT]) -> None:
        """Of the table's records."""
        self._cls = cls

    def decode(self, partition: bytes, rows: Sequence[Row]) -> RecordT | None:  # noqa: ARG002 - one row at most
        """The record, if there is one."""
        return loads(rows[0], self._cls) if rows else None

    def encode(self, partition: bytes, entry: RecordT | None) -> Iterable[Row]:
        """Its row, or that it is gone."""
        yield Row(partition, partition, None if entry is None else dumps(entry))
