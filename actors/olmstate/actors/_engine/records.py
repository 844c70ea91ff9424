"""How a stored value is written: JSON of a struct or an attrs class, by field, so that a later version can add one.

A room's id is whatever a user says that it is, and a lone surrogate can be in it. UTF-8 can't hold that, an escape can,
and msgspec doesn't write or read such an escape.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from olmstate.storage import Row

T = TypeVar("T")


_encoder = msgspec.json.Encoder()
_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def dumps(record: object) -> bytes:
    """The value to store."""
    try:
        return _encoder.encode(record)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(record)).encode()


def loads(row: Row, cls: type[T]) -> T:
    """The record in ``row``. Raises whatever a damaged value makes a decoder raise; `Cache.fill` names it."""
    assert row.value is not None  # noqa: S101 - reading gives no deleted rows
    try:
        decoder = _decoders.get(cls) or _decoders.setdefault(cls, msgspec.json.Decoder(cls))
        record: T = decoder.decode(row.value)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        record = msgspec.convert(json.loads(row.value), cls)
    return record
