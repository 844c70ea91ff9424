"""A large JSON array that somebody else wrote, parsed a part at a time.

Owns: how long an element may be.
Rule: what `untrusted_json.loads` refuses is refused, and an element that is longer than `LONGEST_ELEMENT` too. Elements
come as they are complete, so the array is never held as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from olmstate.messages import Json, MalformedMessage

from .json_parts import PartsParser, decoded
from .untrusted_json import MAX_DEPTH

LONGEST_ELEMENT: Final = 256 * 1024
"""Characters. A room key has a thousand."""


def elements(chunks: Iterable[bytes]) -> Iterator[list[Json]]:
    """The elements of an array, some for each of ``chunks``, which are the text cut anywhere.

    Raises:
        MalformedMessage: Not UTF-8; not JSON; no array; an element that is too long; nested deeper than `MAX_DEPTH`.
    """
    parser = PartsParser(max_depth=MAX_DEPTH, most_entered=1)
    for text in decoded(chunks):
        parser.feed(text)
        if parser.unparsed > LONGEST_ELEMENT:
            raise MalformedMessage(reason=f"not JSON, or with an element of more than {LONGEST_ELEMENT} characters")
        yield parser.take()
    parser.end()
    yield parser.take()
