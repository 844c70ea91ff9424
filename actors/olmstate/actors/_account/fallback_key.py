"""The fallback key: when another one is due, and what to do with one of which nobody knows whether the server has it.

Rule: unlike a one-time key, it is handed out again, the same bytes, until it is known to be on the server. A server
holds one fallback key, and gives it to as many as come: that somebody may have it already is no harm. Making another
one would be: an account keeps the last two, so the one before would go, and that may be the one which the server still
gives out.

It may have been used while nobody knew, and a server that is given it again may say that it is unused. So one that was
handed out twice is replaced as soon as that is safe, as one that was used is.

It is not safe within an hour: messages to the one before, which would go, may be on their way.

Pure: nothing here makes keys or signs them.
"""

from __future__ import annotations

from typing import Final

import attrs

from olmstate.messages import JsonObject, KeyId

WEEK: Final = 7 * 24 * 3600 * 1000
"""Milliseconds after which it is replaced though nobody was seen to use it."""
HOUR: Final = 3600 * 1000
"""Milliseconds for which the one before is kept at least."""


@attrs.define(kw_only=True)
class FallbackKey:
    """The present one."""

    waiting: dict[KeyId, JsonObject] = attrs.field(factory=dict[KeyId, JsonObject])
    """Itself, signed, if it isn't known to be on the server."""
    made: int | None = None
    """Milliseconds since 1970; None: there is none yet."""
    published: int | None = None
    """The same; None: it wasn't, or an earlier version didn't say."""
    number: int = 0
    """How many were made. An earlier version didn't say, and of another library's account it isn't known: both count as
    one more."""
    was_unused: bool | None = None
    """What the server had last said of the one before when this one was made."""
    in_doubt: bool = False
    """It was handed out more than once."""

    @property
    def is_published(self) -> bool:
        """Whether it is known to be on the server; the device's keys, which go along with it, are there then, too."""
        return self.made is not None and not self.waiting

    def is_due(self, *, unused: bool | None, now: int) -> bool:
        """Whether another one must be made; ``unused``: what the server says of the present one."""
        if self.waiting:
            return False
        if self.made is None:
            return True
        on_the_server = now - (self.made if self.published is None else self.published)
        if self.number > 1 and 0 <= on_the_server < HOUR:
            return False  # the one before would go
        return unused is False or self.in_doubt or not 0 <= now - self.made < WEEK

    def has_landed(self, *, unused: bool | None) -> bool:
        """Whether the server says that it has it: an unused key, where there was a used one."""
        return bool(self.waiting) and unused is True and self.was_unused is False

    def publish(self, now: int) -> None:
        """It is on the server."""
        self.waiting = {}
        self.published = now
