"""How requests to the homeserver are stored, and how long they wait after a failure."""

from __future__ import annotations

from olmstate.actors._wire.quiet_struct import QuietStruct


class StoredRequest(QuietStruct, kw_only=True, frozen=True):
    """What is known of every request that waits; its content is a row of its own, since it may be large."""

    request_id: str
    kind: str
    owner: str
    """Token of the store handle whose process has made it."""
    subjects: tuple[str, ...] = ()
    """What at most one request of its kind may be about at a time: users, or devices."""
    made: int
    """Milliseconds since 1970."""
    number: int
    """Of the request in its store: they go out in this order."""
    failures: int = 0
    not_before: int = 0
    """Milliseconds since 1970; until then it waits."""


class StoredContent(QuietStruct, kw_only=True, frozen=True):
    """What is sent, and what whoever made the request needs when its answer comes."""

    method: str
    path: str
    body: bytes
    context: bytes = b""


class StoredBackOff(QuietStruct, kw_only=True, frozen=True):
    """A server, or a device, that has failed."""

    failures: int
    until: int
    """Milliseconds since 1970."""
