"""How a stored value is written: JSON of a small attrs class, fields by name, so that a later version can add one."""

from __future__ import annotations

from typing import TypeVar

import cattrs.preconf.json

from olmstate.storage import Row

T = TypeVar("T")

# not detailed: a value that can't be read is a damaged store, whatever in it is wrong
_converter = cattrs.preconf.json.make_converter(detailed_validation=False)


def dumps(record: object) -> bytes:
    """The value to store for an attrs instance."""
    return _converter.dumps(record).encode()


def loads(row: Row, cls: type[T]) -> T:
    """The record in ``row``. Raises whatever a damaged value makes a decoder raise; `Cache.fill` names it."""
    assert row.value is not None  # noqa: S101 - reading gives no deleted rows
    return _converter.loads(row.value, cls)
