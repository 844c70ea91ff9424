"""What a user may choose of a supervisor, and the numbers that make sense there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

import attrs

from olmstate.storage import Table

DEFAULT_CAPACITY = 10_000
"""Entries of a type that are cached, if nothing else was said."""

LAST_MILLISECOND = 2**53 - 1
"""Beyond the year 285,000; what JSON holds exactly."""

_Field: TypeAlias = "attrs.Attribute[Any]"


def _seconds(_: object, field: _Field, value: object) -> None:
    """A finite number, not below 0."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"Options.{field.name} must be a number of seconds, not {type(value).__name__}")
    if not 0 <= value < math.inf or _too_large(value):
        raise ValueError(f"Options.{field.name} must be a finite number of seconds, not below 0")


def _too_large(value: float) -> bool:
    try:
        float(value)
    except OverflowError:
        return True
    return False


def _more_than_none(_: object, field: _Field, value: float) -> None:
    if not value:
        raise ValueError(f"Options.{field.name} must be more than 0")


def _capacities(_: object, field: _Field, value: object) -> None:
    """Whole numbers, not below 0, by data type."""
    if not isinstance(value, Mapping):
        raise TypeError(f"Options.{field.name} must be a mapping, not {type(value).__name__}")
    for table, capacity in cast("Mapping[object, object]", value).items():
        if not isinstance(table, str) or table not in set(Table):
            raise ValueError(f"Options.{field.name} must name data types, as olmstate.storage.Table has them")
        if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 0:
            raise ValueError(f"Options.{field.name} of {table} must be a whole number, not below 0")


def _function(_: object, field: _Field, value: object) -> None:
    if not callable(value):
        raise TypeError(f"Options.{field.name} must be a function, not {type(value).__name__}")


def system_clock() -> int:
    """Milliseconds since 1970, as the system has them."""
    return time.time_ns() // 1_000_000


@attrs.frozen(kw_only=True)
class Options:
    """What a user may choose.

    A number that makes no sense is a `ValueError` at once: a negative one, one that is not finite, part of an entry.
    """

    capacities: Mapping[Table, int] = attrs.field(factory=dict[Table, int], validator=_capacities)
    """Cached entries by data type; 0 caches nothing of it. 10,000 where none is given."""
    lock_timeout: float = attrs.field(default=5.0, validator=_seconds)
    """Seconds for which another may keep the lock while a turn waits for it, before its commands fail with `StoreBusy`;
    5 if nothing is said. They begin anew whenever the lock goes on to somebody else, so that many may wait in turn."""
    write_behind: float = attrs.field(default=0.5, validator=_seconds)
    """Seconds after which what may wait for the next turn gets one of its own; 0.5 if nothing is said."""
    watch: float = attrs.field(default=0.1, validator=[_seconds, _more_than_none])
    """Seconds between looks for others' writes, while anybody subscribes to `StoreChanged`; 0.1 if nothing is said."""
    drain: float = attrs.field(default=5.0, validator=_seconds)
    """Seconds that closing waits for what was asked before; 5 if nothing is said."""
    wall_clock: Callable[[], int] = attrs.field(default=system_clock, validator=_function)
    """Milliseconds since 1970, the system's if nothing is said. A fraction is cut off."""

    def capacity(self, table: Table) -> int:
        """Of one data type."""
        return self.capacities.get(table, DEFAULT_CAPACITY)

    def now(self) -> int:
        """What the wall clock says: the one place that reads it, so that nothing else of its is ever stored.

        Raises:
            ValueError: It says what can't be a time.
        """
        time = cast("object", self.wall_clock())
        if isinstance(time, int | float) and 0 <= time <= LAST_MILLISECOND:  # NaN is neither
            return int(time)
        raise ValueError("Options.wall_clock must give milliseconds since 1970")
