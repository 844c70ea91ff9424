"""A large JSON array that somebody else wrote, parsed a part at a time.

Owns: where an element ends and the next one begins.
Rule: what `untrusted_json.loads` refuses is refused, and an element that is longer than `LONGEST_ELEMENT` too. Elements
come as they are complete, so the array is never held as text.
Why: parsing a large text is one call that nobody can interrupt, not even from another thread.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Final

from olmstate.messages import Json, MalformedMessage

from .untrusted_json import MAX_DEPTH, nesting, raw_decode

LONGEST_ELEMENT: Final = 256 * 1024
"""Characters. A room key has a thousand."""

_AFTER_MARK: Final = {("[", "["): "first", ("first", "]"): "", (",", ","): "element", (",", "]"): ""}
"""What is expected behind a mark that was."""
_AFTER_NUMBER: Final = frozenset(" \t\n\r,]")
_SPACE: Final = re.compile(r"[ \t\n\r]*")


def elements(chunks: Iterable[bytes]) -> Iterator[list[Json]]:
    """The elements of an array, some for each of ``chunks``, which are the text cut anywhere.

    Raises:
        MalformedMessage: Not UTF-8; not JSON; no array; an element that is too long; nested deeper than `MAX_DEPTH`.
    """
    parser = _Parser()
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in chunks:
            yield parser.feed(decoder.decode(chunk))
        yield parser.feed(decoder.decode(b"", final=True), last=True)
    except UnicodeDecodeError:
        raise MalformedMessage(reason="not UTF-8") from None


class _Parser:
    def __init__(self) -> None:
        self._text = ""
        self._enough = 0
        """Characters that must be there before the element at their beginning is tried again: linear in all."""
        self._expected = "["
        """The array, ``[``; its ``first`` element or ``]``; an ``element``; ``,`` or ``]``; or, if empty, nothing."""

    def feed(self, text: str, *, last: bool = False) -> list[Json]:
        self._text += text
        if len(self._text) < self._enough and not last:
            return []
        # this text begins outside all strings and elements, or this would not be its nesting
        if nesting(self._text) >= MAX_DEPTH + (self._expected == "["):
            raise MalformedMessage(reason=f"nested deeper than {MAX_DEPTH}")
        found: list[Json] = []
        position = self._parse(found, last=last)
        self._text = self._text[position:]
        self._enough = 2 * len(self._text)
        if last and (self._text or self._expected):
            raise MalformedMessage(reason="not JSON")
        if len(self._text) > LONGEST_ELEMENT:
            raise MalformedMessage(reason=f"not JSON, or with an element of more than {LONGEST_ELEMENT} characters")
        return found

    def _parse(self, found: list[Json], *, last: bool) -> int:
        """Take what is complete; how far that is."""
        position = 0
        while True:
            start = _after_space(self._text, position)
            if start == len(self._text):
                return start
            expected = _AFTER_MARK.get((self._expected, self._text[start]))
            if expected is not None:
                self._expected, position = expected, start + 1
            elif self._expected in ("first", "element"):
                end = self._take_element(found, start, last=last)
                if end is None:
                    return start
                self._expected, position = ",", end
            else:
                raise MalformedMessage(reason="not a JSON array" if self._expected == "[" else "not JSON")

    def _take_element(self, found: list[Json], start: int, *, last: bool) -> int | None:
        """Where the element ends that begins at ``start``; None if more must be there to tell."""
        try:
            value, end = raw_decode(self._text, start)
        except ValueError:
            if last:
                raise MalformedMessage(reason="not JSON") from None
            return None
        if not last and self._text[start] not in '{["' and self._text[end : end + 1] not in _AFTER_NUMBER:
            return None  # the rest of a number may come
        found.append(value)
        return end


def _after_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position
