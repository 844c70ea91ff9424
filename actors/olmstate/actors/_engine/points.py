"""Points: where one capability lets others add something, so that it need not know them.

The one that owns a point defines it, ``ANSWERS = Point[Answer]("answers")``, and asks for what was added:
``turn.additions[ANSWERS]``. Another adds in its `Capability`: ``additions=(ANSWERS.add(Answer(…)),)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar, cast

import attrs

T = TypeVar("T")


@attrs.frozen(eq=False)
class Point(Generic[T]):
    """Where values of one type are added; a point is itself, whatever its name."""

    name: str

    def add(self, value: T) -> Addition:
        """What a capability lists in order to add ``value``; one of another type is a type error."""
        return Addition(self, value)


@attrs.frozen
class Addition:
    """A value, and where it is added."""

    point: Point[Any]
    value: Any


class Additions:
    """Everything that was added, by point."""

    def __init__(self, additions: Iterable[Addition]) -> None:
        """Of all capabilities, in their order."""
        by_point: dict[Point[Any], list[Any]] = {}
        for addition in additions:
            by_point.setdefault(addition.point, []).append(addition.value)
        self._by_point = {point: tuple(values) for point, values in by_point.items()}

    def __getitem__(self, point: Point[T]) -> tuple[T, ...]:
        """What was added there, in the order of the capabilities."""
        return cast("tuple[T, ...]", self._by_point.get(point, ()))
