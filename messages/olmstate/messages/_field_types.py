"""What the fields of a message must be, checked where the message is made.

Owns: the converters of messages, one a field, derived from the fields' annotations.
Rule: a value of another type than the annotation names is a TypeError, and one of the right type that the field can't
take is a ValueError. Both come from the constructor, so from the line that is wrong. They name the class and the field,
never the value: it may be a secret. A value of a class that is derived from ``str``, ``int`` or ``bytes``, as a member
of an enumeration is, becomes a plain one: what is stored and sent is made of those. A `JsonObject` may be any JSON
value: it is often others' word, and is refused where it is read, as `MalformedMessage`.
Why: most programs run no type checker. A wrong value that travels on fails where nobody knows who sent it.

The common case is one comparison: the value's class is the very class that is wanted. A tuple's items are compared all
at once.
"""

from __future__ import annotations

import contextlib
import math
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NewType, Protocol, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

import attrs


class _Kind(Protocol):
    """What a value may be."""

    def fits(self, values: Collection[object]) -> bool:
        """Whether each of ``values`` is one as it stands."""
        ...

    def convert(self, what: str, value: object) -> object:
        """``value`` as one.

        Raises:
            TypeError, ValueError: It is none; the error calls it ``what``.
        """
        ...


@attrs.define(eq=False)
class _Class:
    """An instance of a class. True is no number."""

    cls: type[object]
    alone: frozenset[type[object]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.alone = frozenset({self.cls})

    def __str__(self) -> str:
        return "None" if self.cls is types.NoneType else self.cls.__name__

    def fits(self, values: Collection[object]) -> bool:
        return self.alone.issuperset(map(type, values))

    def convert(self, what: str, value: object) -> object:
        if not isinstance(value, self.cls) or (isinstance(value, bool) and self.cls is int):
            raise _wrong_type(what, self, value)
        return _PLAIN[self.cls](value) if self.cls in _PLAIN and type(value) is not self.cls else value


_PLAIN: Mapping[type[object], Callable[[Any], object]] = {str: str.__str__, int: int.__int__, bytes: bytes}


@attrs.define(eq=False)
class _Number:
    """A finite number; an integer will do, as it does for a type checker."""

    def __str__(self) -> str:
        return "float"

    def fits(self, values: Collection[object]) -> bool:
        return all(type(value) is float and math.isfinite(value) for value in values)

    def convert(self, what: str, value: object) -> object:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _wrong_type(what, self, value)
        with contextlib.suppress(OverflowError):
            number = float(value)
            if math.isfinite(number):
                return number
        raise ValueError(f"{what} must be a finite number")


@attrs.define(eq=False)
class _Json:
    """A JSON object, or what others have sent in its place: a homeserver's ``null`` is no fault of the program."""

    def __str__(self) -> str:
        return "dict"

    def fits(self, values: Collection[object]) -> bool:
        return _JSON.issuperset(map(type, values))

    def convert(self, what: str, value: object) -> object:
        if not isinstance(value, tuple(_JSON)):
            raise _wrong_type(what, self, value)
        return str.__str__(value) if isinstance(value, str) else value


_JSON: frozenset[type[object]] = frozenset({dict, list, tuple, str, int, bool, float, types.NoneType})


@attrs.define(eq=False)
class _OneOfOthers(_Json):
    """One of several of them, each of which is checked where it is read: none must cost those beside it."""

    def fits(self, values: Collection[object]) -> bool:  # noqa: ARG002 - as all kinds have it
        return True

    def convert(self, what: str, value: object) -> object:  # noqa: ARG002 - as all kinds have it
        return value


@attrs.define(eq=False)
class _Choice:
    """One of some texts."""

    choices: tuple[str, ...]

    def __str__(self) -> str:
        return " or ".join(map(repr, self.choices))

    def fits(self, values: Collection[object]) -> bool:
        return {str}.issuperset(map(type, values)) and set(self.choices).issuperset(values)

    def convert(self, what: str, value: object) -> object:
        if not isinstance(value, str):
            raise _wrong_type(what, self, value)
        if value not in self.choices:
            raise ValueError(f"{what} must be {self}")
        return str.__str__(value)


@attrs.define(eq=False)
class _OneOf:
    """Any of several kinds."""

    kinds: tuple[_Kind, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.kinds))

    def fits(self, values: Collection[object]) -> bool:
        return all(any(kind.fits((value,)) for kind in self.kinds) for value in values)

    def convert(self, what: str, value: object) -> object:
        for kind in self.kinds:
            try:
                return kind.convert(what, value)
            except TypeError:
                continue
        raise _wrong_type(what, self, value)


@attrs.define(eq=False)
class _TupleOf:
    """A tuple of any length."""

    item: _Kind

    def __str__(self) -> str:
        return f"tuple[{self.item}, ...]"

    def fits(self, values: Collection[object]) -> bool:
        return _are_tuples(values) and all(map(self.item.fits, cast("Collection[tuple[object, ...]]", values)))

    def convert(self, what: str, value: object) -> object:
        if not isinstance(value, tuple):
            raise _wrong_type(what, self, value)
        items = cast("tuple[object, ...]", value)
        return tuple([self.item.convert(f"{what}[{number}]", item) for number, item in enumerate(items)])


@attrs.define(eq=False)
class _Tuple:
    """A tuple of so many items, each of its own kind."""

    items: tuple[_Kind, ...]
    checks: list[tuple[int, Callable[[Collection[object]], bool]]] = attrs.field(init=False)
    """By position, of those that may be wrong."""

    def __attrs_post_init__(self) -> None:
        self.checks = [(at, kind.fits) for at, kind in enumerate(self.items) if not isinstance(kind, _OneOfOthers)]

    def __str__(self) -> str:
        return f"tuple[{', '.join(map(str, self.items))}]"

    def fits(self, values: Collection[object]) -> bool:
        if not _are_tuples(values):
            return False
        tuples = cast("Collection[tuple[object, ...]]", values)
        if not {len(self.items)}.issuperset(map(len, tuples)):
            return False
        for number, fit in self.checks:  # noqa: SIM110 - a generator costs more than it
            if not fit([value[number] for value in tuples]):
                return False
        return True

    def convert(self, what: str, value: object) -> object:
        if not isinstance(value, tuple):
            raise _wrong_type(what, self, value)
        items = cast("tuple[object, ...]", value)
        if len(items) != len(self.items):
            raise TypeError(f"{what} must be {self}, not a tuple of {len(items)}")
        pairs = enumerate(zip(self.items, items, strict=True))
        return tuple([kind.convert(f"{what}[{number}]", item) for number, (kind, item) in pairs])


def _are_tuples(values: Collection[object]) -> bool:
    return {tuple}.issuperset(map(type, values))


def _wrong_type(what: str, wanted: _Kind, value: object) -> TypeError:
    return TypeError(f"{what} must be {wanted}, not {type(value).__name__}")


# --- from annotations to converters -------------------------------------------------------------------------

Converter: TypeAlias = Callable[[Any], Any]
Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], object]


def _kind(annotation: Any) -> _Kind:  # noqa: ANN401 - whatever stands in an annotation
    """What an annotation names.

    Raises:
        TypeError: It is of a form that no message has had so far: add a case.
    """
    if isinstance(annotation, NewType):
        return _kind(annotation.__supertype__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is float:
        return _Number()
    if origin is None and isinstance(annotation, type):
        return _Class(annotation)
    if origin is dict:
        return _Json()
    if origin is Literal:
        return _Choice(arguments)
    if origin in (Union, types.UnionType):
        return _OneOf(tuple(map(_kind, arguments)))
    if origin is tuple and arguments[1:] == (...,):
        return _TupleOf(_item(arguments[0]))
    if origin is tuple:
        return _Tuple(tuple(map(_item, arguments)))
    raise TypeError(f"no message had a field of type {annotation} before")


def _item(annotation: Any) -> _Kind:  # noqa: ANN401 - whatever stands in an annotation
    """What an annotation in a tuple's names."""
    kind = _kind(annotation)
    return _OneOfOthers() if isinstance(kind, _Json) else kind


def _converter(what: str, kind: _Kind) -> Converter:
    if isinstance(kind, _Class | _Json):
        cls: type[object] = kind.cls if isinstance(kind, _Class) else dict

        def convert(value: object) -> object:
            return value if value.__class__ is cls else kind.convert(what, value)

    elif isinstance(kind, _TupleOf):
        fit = kind.item.fits

        def convert(value: object) -> object:
            exact = value.__class__ is tuple and fit(cast("tuple[object, ...]", value))
            return value if exact else kind.convert(what, value)

    else:

        def convert(value: object) -> object:
            return value if kind.fits((value,)) else kind.convert(what, value)

    return convert


def checked(cls: type[object], fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Have each field checked: ``@attrs.frozen(kw_only=True, field_transformer=checked)``.

    A field's validators come after, so they get what the annotation names.
    """
    annotations = get_type_hints(cls)
    return [
        field.evolve(converter=_converter(f"{cls.__name__}.{field.name}", _kind(annotations[field.name])))
        for field in fields
    ]


def not_empty(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """A validator for a text that must say something."""
    if not value:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} must not be empty")


def not_negative(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    """A validator for seconds to wait."""
    if value < 0:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} must not be below 0")


def encodable(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """A validator for a text that has to become bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{type(instance).__name__}.{attribute.name} must not have a lone surrogate") from None


MOST_BYTES_OF_A_TYPE = 255
"""Spec, "Size limits"."""


def event_type(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """A validator for the type of an event, or of account data."""
    not_empty(instance, attribute, value)
    encodable(instance, attribute, value)
    if len(value.encode()) > MOST_BYTES_OF_A_TYPE:
        what = f"{type(instance).__name__}.{attribute.name}"
        raise ValueError(f"{what} must have {MOST_BYTES_OF_A_TYPE} bytes at most")


def between(least: int, most: int) -> Validator:
    """A validator for a whole number, both ends included."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
        if not least <= value <= most:  # not shown: it may have more digits than Python writes
            raise ValueError(f"{type(instance).__name__}.{attribute.name} must be from {least:,} to {most:,}")

    return check
