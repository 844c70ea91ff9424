"""Whether JSON has the shape that a program goes on to rely on, in one pass, before anything is done with it."""

from __future__ import annotations

from typing import Any, Final

import attrs

from olmstate.messages import Json

ANY: Final[type] = object
"""A shape that every value has."""


@attrs.frozen
class Each:
    """An object each of whose values has one shape, whatever their keys."""

    shape: Any


def check_shape(value: Json, shape: Any, where: str) -> None:  # noqa: ANN401 - see the arguments
    """Check one value.

    Args:
        value: Parsed JSON.
        shape: A type; a tuple of types; a list with the shape of all items; an `Each`; or an object of shapes by
            field, of which those that end in ``?`` may be missing and other fields may be there.
        where: What the value is called.

    Raises:
        ValueError: It has another shape; names the place.
    """
    if isinstance(shape, list):
        of_items: list[Any] = [*shape]
        for position, item in enumerate(_of_type(value, list, where)):
            check_shape(item, of_items[0], f"{where}[{position}]")
    elif isinstance(shape, Each):
        for key, item in _of_type(value, dict, where).items():
            check_shape(item, shape.shape, f"{where}.{key!a}")
    elif isinstance(shape, dict):
        found = _of_type(value, dict, where)
        fields: dict[str, Any] = {**shape}
        for field, expected in fields.items():
            name = field.removesuffix("?")
            if name in found:
                check_shape(found[name], expected, f"{where}.{name}")
            elif name == field:
                raise ValueError(f"{where}.{name} is missing")
    else:
        _of_type(value, shape, where)


def _of_type(value: Json, expected: type | tuple[type, ...], where: str) -> Any:  # noqa: ANN401 - what it has
    if isinstance(value, expected) and not (isinstance(value, bool) and expected is int):
        return value
    raise ValueError(f"{where} has another type than it should")
