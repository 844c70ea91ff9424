"""How requests to the homeserver are stored, and how long they wait after a failure."""

from __future__ import annotations

from typing import ClassVar

from olmstate.actors._engine.records import Record
from olmstate.storage import Table


class RequestRecord(Record, kw_only=True, frozen=True):
    """What is known of every request that waits; its content is a row of its own, since it may be large."""

    table: ClassVar[Table] = Table.REQUESTS

    request_id: str
    kind: str
    owner: str
    """Token of the store handle whose process has made it."""
    subjects: tuple[str, ...] = ()
    """What at most one request of its kind may be about at a time: users, or devices."""
    made: int
    """Milliseconds since 1970."""
    number: int
    """Of the request in its store: they go out in this order. A part of a refused one has that one's."""
    failures: int = 0
    not_before: int = 0
    """Milliseconds since 1970; until then it waits."""
    repeatable: bool = True
    """Whether it may be sent again when nobody knows what became of it."""
    unreachable: bool = False
    """It waits only since the homeserver could not be reached: once that has answered another, it is due at once."""
    released: int = 0
    """How often it was due at once for that; as many failures are left to it, so that it waits longer each time."""
    instead_of: tuple[str, ...] = ()
    """The refused requests that it is a part of, the whole first."""


class RequestContentRecord(Record, kw_only=True, frozen=True):
    """What is sent, and what whoever made the request needs when its answer comes."""

    table: ClassVar[Table] = Table.REQUEST_CONTENTS

    method: str
    path: str
    body: bytes
    context: bytes = b""
    event_type: str | None = None
    """Of a to-device event, before it is encrypted."""


class BackOffRecord(Record, kw_only=True, frozen=True):
    """A server, or a device, that has failed."""

    table: ClassVar[Table] = Table.BACK_OFFS

    failures: int
    until: int
    """Milliseconds since 1970."""
    unreachable: bool = False
    """It is over once the homeserver has answered another request."""
    released: int = 0
    """How often it was over for that: see `RequestRecord`."""
