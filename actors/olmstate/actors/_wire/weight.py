"""How much work a JSON value is, so that many of them can be dealt with in slices.

Owns: what is large, for whoever checks, encrypts or writes values one after another.
Rule: a value weighs 1, and as much again for each `CHARACTERS_AS_ONE` that it would be written as. To weigh one takes
no longer than to read an event as large as the spec allows.
Why: a stranger's device keys may be a thousand times as long as everybody else's, and a slice of sixteen such takes
ten milliseconds.
"""

from __future__ import annotations

from typing import Final

from olmstate.messages import Json

CHARACTERS_AS_ONE: Final = 4096
"""To check, sign, encrypt or decrypt so many more takes as long as another small value does."""
ALONE: Final = 1000
"""What is larger than `LARGE` weighs so much: more than any slice."""
LARGE: Final = 65_536
"""Characters (spec: Size limits)."""
_PART: Final = 8
"""Characters, about, that a part takes beside its text."""
_CONTAINERS: Final = frozenset({dict, list, tuple})


def weight(value: Json) -> int:
    """How much it weighs."""
    characters = 0
    parts: list[Json] = [value]
    for part in parts:
        kind = part.__class__  # of each event and each device, so that it must be quick; others' classes weigh little
        if kind is str:
            characters += len(part)
        elif kind in _CONTAINERS:
            characters += _PART * len(part)
            if characters > LARGE:
                return ALONE
            parts += part
            if kind is dict:
                parts += part.values()
    return ALONE if characters > LARGE else 1 + characters // CHARACTERS_AS_ONE
