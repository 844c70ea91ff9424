"""Messages about requests to the homeserver: the library makes no HTTP, it hands them out as values.

A request is stored in the commit that made it, with what must be the same when it is repeated: its body, and the
transaction id in its path. It belongs to the process that made it while that process lives, and then to whoever asks
next. Its answer counts once.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs

from ._devices import DeviceAddress
from ._errors import OlmStateError
from ._events import SharedEvent
from ._field_types import checked
from ._ids import JsonObject, RequestId, UserId
from ._message import Command, Procedure


class RequestKind(enum.StrEnum):
    """What a request is for; each is one end point of the client-server API."""

    KEYS_UPLOAD = "keys_upload"
    """``POST /keys/upload``."""
    KEYS_QUERY = "keys_query"
    """``POST /keys/query``."""
    KEYS_CHANGES = "keys_changes"
    """``GET /keys/changes``."""
    KEYS_CLAIM = "keys_claim"
    """``POST /keys/claim``."""
    TO_DEVICE = "to_device"
    """``PUT /sendToDevice/{type}/{transaction id}``."""
    ROOM_MESSAGE = "room_message"
    """``PUT /rooms/{room}/send/{type}/{transaction id}``."""
    SIGNING_KEYS_UPLOAD = "signing_keys_upload"
    """``POST /keys/device_signing/upload``."""
    SIGNATURES_UPLOAD = "signatures_upload"
    """``POST /keys/signatures/upload``."""
    ACCOUNT_DATA = "account_data"
    """``PUT /user/{user}/account_data/{type}``."""
    ACCOUNT_DATA_GET = "account_data_get"
    """``GET /user/{user}/account_data/{type}``; a 404 says that there is none."""


@attrs.frozen(kw_only=True)
class Request:
    """A request to the homeserver, ready to be sent: it lacks nothing but the server's address and the access token."""

    request_id: RequestId
    kind: RequestKind
    method: str
    """``GET``, ``POST`` or ``PUT``."""
    path: str
    """From ``/_matrix`` on, with its query, percent-encoded."""
    body: bytes = attrs.field(repr=False)
    """JSON; empty for a ``GET``. The same bytes each time."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class Response:
    """What the homeserver answered, whatever its status."""

    status: int
    """The HTTP status."""
    body: bytes = attrs.field(repr=False)
    retry_after: float | None = None
    """Seconds, of a ``Retry-After`` header; what the body of a 429 says is looked at anyway."""


Transport: TypeAlias = Callable[[Request], Awaitable[Response]]
"""Sends a request and gives the answer. Raises any `Exception` if there was none: it is tried again, and the logger
``olmstate`` is warned. One that takes more than five minutes is cancelled, and has none either."""


@attrs.frozen(kw_only=True)
class OutgoingRequests(Procedure[tuple[Request, ...]]):
    """What this process has to send, oldest first.

    Makes the requests that are due first (key uploads, device queries), and takes over those of processes that have
    died. Nothing is written if there is nothing to do. Requests that wait for a server to recover are left out until
    then. Send each, and answer it by `MarkRequestSent` or `MarkRequestFailed`.

    Returns:
        tuple[Request, ...]

    Raises:
        NoAccount: The store is empty.
    """


@attrs.frozen(kw_only=True, field_transformer=checked)
class MarkRequestSent(Command[None]):
    """The homeserver has answered a request with 200. What follows from the answer is stored in the same commit.

    An answer that is late, repeated, or of an unknown request does nothing.

    Returns:
        None: It was done, and is on the disk.

    Raises:
        MalformedMessage: The answer isn't one. The request stays, and is sent again later.
    """

    request_id: RequestId
    response: JsonObject | str | bytes = attrs.field(repr=False)
    """As it came, or parsed."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class MarkRequestFailed(Command[None]):
    """A request was not answered with 200.

    Without a status, with 429, or with a status of 500 and above, it is due again later: after 15 s, then twice as long
    each time up to 15 minutes, or after what the server asks for. So is one that was refused with 401 or 403: the
    access token may be a new one by then; and one whose ``response`` has no ``errcode``: it isn't the homeserver's, but
    a proxy's. Any other refusal is for good, and the request is given up. A query, a claim, or a request to devices
    that is about several is made anew in two halves: the homeserver may not like one of them, or it was too large.

    One that waits only since the homeserver could not be reached (no status, or a proxy's 502, 503 or 504 that asks for
    no pause) is due at once when the homeserver answers another request, or a sync is taken in. What then fails again
    waits its pause.

    Returns:
        None: It was done, and is on the disk.
    """

    request_id: RequestId
    status: int | None = None
    """None: no answer came."""
    errcode: str | None = None
    """``errcode`` of the answer, as ``M_UNKNOWN``."""
    error: str | None = None
    """``error`` of the answer: a text for people."""
    retry_after: float | None = None
    """Seconds that the server asks for."""
    response: JsonObject | str | bytes | None = attrs.field(default=None, repr=False)
    """The answer, as it came or parsed. A 401 with ``flows`` asks the user to authenticate (spec: User-Interactive
    Authentication API): the request is given up, and whoever wanted it makes it anew."""


@attrs.frozen(kw_only=True)
class RequestGivenUp(SharedEvent):
    """The homeserver has refused a request for good: nobody sends it again.

    A query, a claim or a request to devices that was about several is first made anew in halves, and theirs: so this
    tells of those that are refused themselves, unless the homeserver knows no such request at all (``M_UNRECOGNIZED``).
    Queries and claims are due again later. A procedure that waits for one of another kind raises `RequestRefused`, too.
    """

    kind: RequestKind
    status: int
    errcode: str | None
    error: str | None
    """The server's text; never more than its word."""
    event_type: str | None = None
    """Of what would have gone to devices, before it was encrypted, as ``m.key.verification.start``."""
    users: tuple[UserId, ...] = ()
    """Whose devices were asked for by a query."""
    devices: tuple[DeviceAddress, ...] = ()
    """Whose keys were to be claimed, or who would have been sent the event."""


@attrs.define(kw_only=True, eq=False)
class RequestError(OlmStateError):
    """A procedure's request to the homeserver came to nothing."""


@attrs.define(kw_only=True, eq=False)
class NoTransport(RequestError):
    """The supervisor was opened without a ``transport``: send `OutgoingRequests` by hand, then ask again."""

    text = "there is no transport to send {kind} with"
    kind: RequestKind


@attrs.define(kw_only=True, eq=False)
class RequestRefused(RequestError):
    """The homeserver refused."""

    text = "the homeserver refused {kind} with {status} {errcode}"
    kind: RequestKind
    status: int
    errcode: str | None


@attrs.define(kw_only=True, eq=False)
class AuthenticationRequired(RequestError):
    """The homeserver wants the user to authenticate (spec: User-Interactive Authentication API).

    Ask again with ``auth``: a dict with the ``type`` of a stage of one of the ``flows``, what that stage wants, and the
    ``session`` of ``challenge``.
    """

    text = "the homeserver wants the user to authenticate for {kind}"
    kind: RequestKind
    challenge: JsonObject = attrs.field(repr=False)
    """The answer: ``session``, ``flows``, ``params`` and ``completed``."""


@attrs.define(kw_only=True, eq=False)
class RequestDelayed(RequestError):
    """The request could not be delivered in time. It is stored, and goes out when the server can be reached."""

    text = "{kind} could not be delivered yet"
    kind: RequestKind
