"""Untrusted bytes in, JSON values of a known shape out.

Owns: decoding, the limit on nesting, and the checked getters that turn wire JSON into typed values.
Rule: whatever comes in, a value or `MalformedMessage` comes out. The error names the field, never its value,
and no parser's exception hangs on it, because those carry the whole text.
Why: nesting is counted before anything recurses. How deep `json.loads` gets before it raises RecursionError
depends on the Python version and on the caller's stack, and where the stack is small it never gets that far:
in a thread with 1 MiB, 100,000 brackets end a CPython 3.13 process.
"""

from __future__ import annotations

import json
import math
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NoReturn, TypeGuard, TypeVar

import msgspec

from olmstate.messages import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from olmstate.messages import Json, JsonObject

T = TypeVar("T")

MAX_DEPTH: Final = 128
"""Objects and arrays within each other. serde_json, and with it the Rust clients, allows one less."""

MOST_BITS: Final = 1024
"""Of an integer, as of what a double can hold. Python itself doesn't write one of more than 4,300 digits."""

_TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH}"
_CONTAINERS: Final = (dict, list, tuple)
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_MARKS: Final = bytes(byte for byte in range(256) if byte not in b'[{]}"')
_NAME_LENGTH: Final = 80  # a field's name can be untrusted too: a device id is one


def loads(data: bytes | str, *, max_depth: int = MAX_DEPTH) -> Json:
    """Parse JSON that somebody else wrote.

    Of a key that comes twice the last value counts. Lone surrogates, which JSON can escape, are kept:
    `json.dumps` writes them back as they came, but UTF-8 can't hold them.

    Args:
        data: UTF-8, or text.
        max_depth: Objects and arrays within each other that are allowed.

    Raises:
        MalformedMessage: Not UTF-8; not JSON; NaN, an infinity, or a number that no double can hold; nested
            deeper than ``max_depth``.
    """
    try:
        # The sum can only be too large; nearly every message is spared the exact count.
        if _brackets(data) > max_depth and nesting(_text(data)) > max_depth:
            reason = f"nested deeper than {max_depth}"
        else:
            try:
                return _quick.decode(data)
            except (msgspec.MsgspecError, UnicodeError):  # the thorough one knows what it is, and takes surrogates
                return _thorough.decode(_text(data))
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except ValueError:
        reason = "not JSON"
    raise MalformedMessage(reason=reason)


def dumps(value: Json) -> str:
    """Write what somebody has handed in, who may not have parsed it, as JSON that `loads` reads.

    Raises:
        MalformedMessage: It is no JSON, or nested too deep.
    """
    check_text_keys(value)
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MalformedMessage(reason=f"not JSON ({type(error).__name__})") from None  # its text may quote the value


def raw_decode(text: str, start: int) -> tuple[Json, int]:
    """The value that begins at ``start``, and where it ends. Its `nesting` must have been looked at.

    Raises:
        ValueError: Nothing that `loads` takes begins there, or its end is missing.
    """
    value: Json
    value, end = _thorough.raw_decode(text, start)
    return value, end


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode()


def check_depth(value: Json) -> None:
    """Check that a parsed value can be walked, copied, hashed or encoded without running out of stack, or of memory.

    Raises:
        MalformedMessage: Nested deeper than `MAX_DEPTH`, or without end; or small only because its parts are shared.
    """
    if not _is_small(value):
        _Measure().check(value)


def check_text_keys(value: Json) -> None:
    """`check_depth`, and that all keys are text: `json.dumps` writes numbers, booleans and None as if they were.

    Raises:
        MalformedMessage: See `check_depth`; or a key is no text.
    """
    _Measure(text_keys=True).check(value)


def _is_small(value: Json) -> bool:
    """Whether ``value`` has at most `_FEW` containers, a shared one counted each time, and isn't nested too deep."""
    level = _containers_in([value])
    found = 0
    for _ in range(MAX_DEPTH):
        if not level:
            return True
        found += len(level)
        if found > _FEW:
            return False
        level = [child for container in level for child in _containers_in(container)]
    return False


_FEW: Final = 1000
_MOST_WRITTEN: Final = 2**24
"""Characters, about, that a value with shared parts may be long when it is written."""


class _Measure:
    """Measures nesting and size in time that grows with the parts: each is walked once, however often it is shared."""

    def __init__(self, *, text_keys: bool = False) -> None:
        self._text_keys = text_keys
        self._known: dict[int, tuple[int, int]] = {}
        """Levels and size of each container, by its identity."""
        self._in_memory = 0

    def check(self, value: Json) -> None:
        if isinstance(value, _CONTAINERS):
            _, written = self._measure(value, 0)
            if written > max(_MOST_WRITTEN, self._in_memory):
                raise MalformedMessage(reason="very large if its shared parts are written each time")

    def _measure(self, container: Json, above: int) -> tuple[int, int]:
        """Levels and size of a container that is in ``above`` others."""
        if above == MAX_DEPTH:
            raise MalformedMessage(reason=_TOO_DEEP)
        levels = 0
        children: Iterable[Json] = container
        size = 1
        if is_object(container):
            if self._text_keys and not all(map(_is_text, container)):
                raise MalformedMessage(reason="a key is no text")
            children = container.values()
            size += len(container)
        inner = 0
        for child in children:
            if _is_container(child):
                depth, length = self._known.get(id(child)) or self._measure(child, above + 1)
                levels = max(levels, depth)
                inner += length
            else:
                size += len(child) if isinstance(child, str) else 1
        if above + 1 + levels > MAX_DEPTH:
            raise MalformedMessage(reason=_TOO_DEEP)
        self._in_memory += size
        self._known[id(container)] = levels + 1, size + inner
        return levels + 1, size + inner


def _is_container(value: Json) -> bool:
    return isinstance(value, _CONTAINERS)


def is_plain(value: Json, *, canonical: bool = False) -> bool:
    """Whether ``value`` is small, made of the very types that JSON is parsed to, with no NaN, and not nested too deep.

    Most values are. All encoders write those alike, so that the quickest will do.

    Args:
        value: Anything.
        canonical: Its numbers have to be what canonical JSON has: integers up to `MAX_INTEGER`.
    """
    scalars, number, fits = (_NO_NUMBERS, int, _is_safe) if canonical else (_SCALARS, float, math.isfinite)
    level = [value]
    found = 0
    for _ in range(MAX_DEPTH):
        below: list[Json] = []
        for part in level:
            kind = part.__class__
            children: Iterable[Json]
            if kind is dict:
                if not _TEXT.issuperset(map(type, part)):
                    return False
                children = part.values()
            elif kind is list or kind is tuple:
                children = part
            elif kind is number and fits(part):
                continue
            else:
                return False
            below += [child for child in children if type(child) not in scalars]
        if not below:
            return True
        found += len(below)  # a shared part counts each time, as it is written each time
        if found > _FEW:
            return False
        level = below
    return False


def _is_safe(number: int) -> bool:
    return -MAX_INTEGER <= number <= MAX_INTEGER


MAX_INTEGER: Final = 2**53 - 1
"""Of canonical JSON."""
_TEXT: Final = frozenset({str})
_NO_NUMBERS: Final = frozenset({str, bool, type(None)})
_SCALARS: Final = _NO_NUMBERS | {int}
"""Those of which every value can be written."""


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def is_object(value: Json) -> TypeGuard[JsonObject]:
    """Whether ``value`` is a JSON object."""
    return isinstance(value, dict)


def is_array(value: Json) -> TypeGuard[Sequence[Json]]:
    """Whether ``value`` is a JSON array. A tuple is one, as it is for `json.dumps`."""
    return isinstance(value, (list, tuple))


def as_object(value: Json, what: str) -> JsonObject:
    """Take ``value`` as an object.

    Raises:
        MalformedMessage: It is none; the reason calls it ``what``.
    """
    if is_object(value):
        return value
    raise MalformedMessage(reason=f"{what} is not an object")


def entries(value: Json, what: str) -> Iterable[tuple[str, Json]]:
    """Keys and values of an object that stands for a map, whose keys are ids.

    Raises:
        MalformedMessage: ``value``, which the reason calls ``what``, is no object; or a key is no text, as it can be in
            an object that no parser has made.
    """
    obj = as_object(value, what)
    if _TEXT.issuperset(map(type, obj)):
        return obj.items()
    if not all(map(_is_text, obj)):
        raise MalformedMessage(reason=f"a key of {what} is no text")
    return [(str.__str__(key), part) for key, part in obj.items()]


def json_object(obj: JsonObject, field: str) -> JsonObject:
    """``obj[field]``, an object.

    Raises:
        MalformedMessage: It is missing or something else.
    """
    value: JsonObject | None = obj.get(field)  # if it is one, and not anything else
    if isinstance(value, dict):
        return value
    raise _refusal(obj, field, "an object")


def array_of(obj: JsonObject, field: str) -> Sequence[Json]:
    """``obj[field]``, an array of anything.

    Raises:
        MalformedMessage: It is missing or something else.
    """
    value = obj.get(field)
    if is_array(value):
        return value
    raise _refusal(obj, field, "an array")


def strings(obj: JsonObject, field: str) -> tuple[str, ...]:
    """``obj[field]``, an array of strings that UTF-8 can hold.

    Raises:
        MalformedMessage: It is missing or something else.
    """
    values = array_of(obj, field)
    if _TEXT.issuperset(map(type, values)) and _is_unicode("".join(values)):
        return tuple(values)
    if all(isinstance(value, str) and _is_unicode(value) for value in values):
        return tuple(map(str.__str__, values))
    raise _refusal(obj, field, "an array of strings")


def string(obj: JsonObject, field: str) -> str:
    """``obj[field]``, a string that UTF-8 can hold, as ids, keys and types must.

    Raises:
        MalformedMessage: It is missing, something else, or has a lone surrogate.
    """
    value = obj.get(field)
    if type(value) is str and value.isascii():  # nearly always
        return value
    if isinstance(value, str) and (value.isascii() or _is_unicode(value)):
        return str.__str__(value)  # plain, if it was of a class of somebody's own
    raise _refusal(obj, field, "a string")


def integer(obj: JsonObject, field: str) -> int:
    """``obj[field]``, an integer. JSON's ``true`` is none, nor is ``1.0``, nor what no double can hold.

    Raises:
        MalformedMessage: It is missing or something else.
    """
    value = obj.get(field)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= MOST_BITS:
        return int.__int__(value)
    raise _refusal(obj, field, "an integer")


def boolean(obj: JsonObject, field: str) -> bool:
    """``obj[field]``, ``true`` or ``false``.

    Raises:
        MalformedMessage: It is missing or something else.
    """
    value = obj.get(field)
    if isinstance(value, bool):
        return value
    raise _refusal(obj, field, "a boolean")


def optional(get: Callable[[JsonObject, str], T], obj: JsonObject, field: str) -> T | None:
    """``get(obj, field)``, or None where the field is missing or ``null``.

    Raises:
        MalformedMessage: It is there and of the wrong type.
    """
    return None if obj.get(field) is None else get(obj, field)


def if_sound(get: Callable[[JsonObject, str], T], obj: JsonObject, field: str) -> T | None:
    """``get(obj, field)``, or None where the field is missing, ``null``, or of the wrong type."""
    try:
        return optional(get, obj, field)
    except MalformedMessage:
        return None


def _refusal(obj: JsonObject, field: str, wanted: str) -> MalformedMessage:
    fault = f"is not {wanted}" if field in obj else "is missing"
    return MalformedMessage(reason=f"{field!a:.{_NAME_LENGTH}} {fault}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _containers_in(container: Json) -> list[Json]:
    children: Iterable[Json] = container.values() if is_object(container) else container
    return [child for child in children if isinstance(child, _CONTAINERS)]


def _brackets(data: bytes | str) -> int:
    return data.count("[") + data.count("{") if isinstance(data, str) else data.count(b"[") + data.count(b"{")


def nesting(text: str) -> int:
    """How many objects and arrays are within each other at most, in text that need not be complete."""
    # Exact up to the first character that isn't JSON, and there the parser stops. Each step is one pass in C; together
    # they take about as long as parsing does.
    octets = text.encode("utf-8", "surrogatepass").replace(b"\\\\", b"").replace(b'\\"', b"")
    # Quotes without a bracket between them go in pairs, whether they open and close or close and open.
    marks = octets.translate(None, _NO_MARKS).replace(b'""', b"")
    outside = b"".join(marks.split(b'"')[::2])
    return max(accumulate(array("b", outside.translate(_STEPS))), default=0)


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isfinite(number):
        return number
    raise ValueError


def _no_constant(_: str) -> NoReturn:
    raise ValueError


_quick: Final = msgspec.json.Decoder()
"""What it reads, it reads as the thorough one does, at a fifth of the price."""
_thorough: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)


def object_or_empty(value: Json) -> JsonObject:
    """An object as it is; an empty one in the place of whatever else it is."""
    return value if is_object(value) else {}
