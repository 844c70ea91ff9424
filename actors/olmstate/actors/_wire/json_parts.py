"""Parsing JSON that is too large for one call: a part at a time, into the same values.

Owns: where a text may be cut, and what was begun and isn't complete.
Rule: in a text of any size, a call of C parses some `PART`s of it at most, but for a single string that is longer.
What `untrusted_json.loads` refuses is refused, and nothing else.
Why: parsing a large text is one call that nobody can interrupt, not even from another thread.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import AnyStr, Final

from olmstate.messages import Json, JsonObject, MalformedMessage

from .steps import Steps
from .untrusted_json import as_object, is_array, is_object, loads, nesting, raw_decode

PART: Final = 32 * 1024
"""Bytes, or characters, fed at a time: half a millisecond, or a whole one."""
AT_ONCE: Final = 6 * PART
"""What is no longer is parsed by one call, two milliseconds at most: more steps would only cost those who have much to
do beside it."""
FREED_AT_ONCE: Final = 128
"""Events, or rooms: below a millisecond."""

_NUMBER: Final = re.compile(r"[-+.0-9eE]*\Z")
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_FIRST: Final = frozenset('{["-0123456789tfn')
"""What a value can begin with."""

MAX_ANSWER_DEPTH: Final = 512
"""More than a single object in an answer may have: one that is nested too deep must not cost the others."""


def answer(response: JsonObject | str | bytes, what: str) -> Steps[JsonObject]:
    """A homeserver's answer, parsed or as it came. What is taken from it must be checked for its depth.

    Raises:
        MalformedMessage: It is no JSON object; the reason calls it ``what``.
    """
    if isinstance(response, str | bytes):
        return as_object((yield from loads_in_parts(response, max_depth=MAX_ANSWER_DEPTH)), what)
    return as_object(response, what)


def loads_in_parts(data: bytes | str, *, max_depth: int) -> Steps[Json]:
    """As `loads`, in steps.

    Raises:
        MalformedMessage: See `loads`.
    """
    if len(data) <= AT_ONCE:
        return loads(data, max_depth=max_depth)
    parser = PartsParser(max_depth=max_depth)
    for text in _cut(data) if isinstance(data, str) else decoded(_cut(data)):
        parser.feed(text)
        yield
    return parser.end()


def free(value: Json) -> Steps[None]:
    """Take apart what was parsed and nobody needs any more: to free very much at once takes some milliseconds."""
    left: list[Json] = [value]
    while left:
        part = left.pop()
        inside: Collection[Json]
        take: Callable[[], object]
        if is_object(part):
            inside, take = part.values(), part.popitem
        elif isinstance(part, list):
            array: list[Json] = part  # pyright: ignore[reportUnknownVariableType] - of anything
            inside, take = array, array.pop
        else:
            continue
        if len(inside) <= FREED_AT_ONCE:
            left += inside
        while len(inside) > FREED_AT_ONCE:
            for _ in range(FREED_AT_ONCE):
                take()
            yield


def _cut(data: AnyStr) -> Iterator[AnyStr]:
    return (data[start : start + PART] for start in range(0, len(data), PART))


def decoded(parts: Iterable[bytes]) -> Iterable[str]:
    """The text of UTF-8 that was cut anywhere.

    Raises:
        MalformedMessage: It is none.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for part in parts:
            yield decoder.decode(part)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise MalformedMessage(reason="not UTF-8") from None


class PartsParser:
    """Takes a text in parts that were cut anywhere.

    An object or array that isn't complete within `PART` is *entered*: its elements are parsed one by one.
    """

    def __init__(self, *, max_depth: int, most_entered: int | None = None) -> None:
        """Nothing has been fed yet. At most so many containers in each other are entered."""
        self._max_depth = max_depth
        self._most_entered = max_depth if most_entered is None else most_entered
        self._text = ""
        """What was fed and isn't parsed: it begins outside all strings, and outside all that wasn't entered."""
        self._enough = 0
        """Characters that must be there before what comes next is tried again: linear in all."""
        self._entered: list[dict[str, Json] | list[Json]] = []
        self._keys: list[str] = []
        """Of the objects that were entered, the one whose value comes."""
        self._first = False
        """The container that was entered last is empty by now: it may close where an element would be."""
        self._expected = "value"
        """That, or a ``key``, ``:``, ``,`` or what closes, or the ``end``."""
        self._root: Json = None

    def feed(self, text: str) -> None:
        """Parse what is complete of what is there by now.

        Raises:
            MalformedMessage: Not JSON, or nested too deep.
        """
        self._text += text
        if len(self._text) >= self._enough:
            self._parse(last=False)

    def end(self) -> Json:
        """The value; nothing comes any more.

        Raises:
            MalformedMessage: As `feed`.
        """
        self._parse(last=True)
        if self._expected != "end" or self._text:
            raise _not_json()
        return self._root

    @property
    def unparsed(self) -> int:
        """Characters that wait for what completes them."""
        return len(self._text)

    def take(self) -> list[Json]:
        """The elements of the array that the text is, as far as they are parsed; the array is without them then.

        For who has no other container entered.

        Raises:
            MalformedMessage: The text is no array.
        """
        if self._expected == "value" and not self._entered:
            return []
        if not is_array(self._root):
            raise MalformedMessage(reason="not a JSON array")
        found = list(self._root)
        if self._entered:
            self._entered[0].clear()
        else:
            self._root = []
        return found

    def _parse(self, *, last: bool) -> None:
        if nesting(self._text) + len(self._entered) > self._max_depth:
            raise MalformedMessage(reason=f"nested deeper than {self._max_depth}")
        position = _after_space(self._text, 0)
        while position < len(self._text):
            after = self._take(position, last=last)
            if after is None:
                break
            position = _after_space(self._text, after)
        self._text = self._text[position:]
        self._enough = 2 * len(self._text)

    def _take(self, position: int, *, last: bool) -> int | None:
        """Take what begins at ``position``; where it ends, or None if more must be there to tell."""
        mark = self._text[position]
        match self._expected:
            case "value" | "key" if self._first and mark == _closing(self._entered[-1]):
                return self._close(position)
            case "value" if mark in _FIRST:
                return self._take_value(position, last=last)
            case "key" if mark == '"':
                return self._take_value(position, last=last, is_key=True)
            case ":" if mark == ":":
                self._expected = "value"
                return position + 1
            case "," if mark == ",":
                self._expected = "key" if isinstance(self._entered[-1], dict) else "value"
                return position + 1
            case "," if mark == _closing(self._entered[-1]):
                return self._close(position)
            case _:
                raise _not_json()

    def _take_value(self, start: int, *, last: bool, is_key: bool = False) -> int | None:
        mark = self._text[start]
        try:
            value, end = raw_decode(self._text, start)
        except ValueError:
            if last:
                raise _not_json() from None
            if mark in "{[" and len(self._text) - start >= PART and len(self._entered) < self._most_entered:
                self._enter({} if mark == "{" else [])
                return start + 1
            return None
        if not last and mark not in '{["' and _NUMBER.match(self._text, end):
            return None  # the rest of a number may come
        if is_key:
            self._keys[-1] = str(value)
            self._expected, self._first = ":", False
        else:
            self._add(value)
            self._close_or_go_on()
        return end

    def _enter(self, container: dict[str, Json] | list[Json]) -> None:
        self._add(container)
        self._entered.append(container)
        self._keys.append("")
        self._first = True
        self._expected = "key" if isinstance(container, dict) else "value"

    def _add(self, value: Json) -> None:
        if not self._entered:
            self._root = value
            return
        container = self._entered[-1]
        if isinstance(container, dict):
            container[self._keys[-1]] = value
        else:
            container.append(value)

    def _close(self, position: int) -> int:
        self._entered.pop()
        self._keys.pop()
        self._close_or_go_on()
        return position + 1

    def _close_or_go_on(self) -> None:
        self._first = False
        self._expected = "," if self._entered else "end"


def _not_json() -> MalformedMessage:
    return MalformedMessage(reason="not JSON")


def _closing(container: dict[str, Json] | list[Json]) -> str:
    return "}" if isinstance(container, dict) else "]"


def _after_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position
