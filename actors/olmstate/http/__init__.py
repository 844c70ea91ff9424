"""A ready transport: requests to the homeserver by httpx2, under Trio as under asyncio. The library never imports it.

It is in the extra ``olmstate[http]``. Logging in is not its business: it has a base URL and an access token.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Any, TypeAlias

import httpx2

from olmstate.messages import Request, Response

__all__ = ["open_transport"]

SECONDS = 60.0
"""To wait for an answer, unless told otherwise: longer than a homeserver waits for others."""
MOST_SECONDS = 86_400
MOST_BYTES = 64 * 2**20
"""Of an answer: the devices of 250 users, with fifty each, are 20 MB. Of one that has more, nothing is told but its
status. If that is 200, it counts as a refusal of what asks for too much (413), so that less is asked for: else one
user's server could hold up the other 249."""


Send: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


def open_transport(base_url: str, access_token: str, *, seconds: float = SECONDS) -> AbstractAsyncContextManager[Send]:
    """A transport for `open_supervisor`, for as long as the block runs.

    Args:
        base_url: The homeserver's, as ``https://matrix.example.org``.
        access_token: Of the device.
        seconds: To wait for each connection, and for each part of an answer. A supervisor waits five minutes for the
            whole, whatever its transport is.

    Raises:
        TypeError: An argument is of another type.
        ValueError: No request can ever be made with it: ``base_url`` isn't an ``http`` or ``https`` one,
            ``access_token`` can't be sent, ``seconds`` isn't above 0, or is more than a day.
    """
    _require_url(base_url)
    _require_token(access_token)
    _require_seconds(seconds)
    return _opened(base_url, access_token, seconds)


@asynccontextmanager
async def _opened(base_url: str, access_token: str, seconds: float) -> AsyncGenerator[Send]:
    headers = {"Authorization": f"Bearer {access_token}"}
    async with httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=seconds) as client:

        async def send(request: Request) -> Response:
            content = {"content": request.body, "headers": {"Content-Type": "application/json"}} if request.body else {}
            async with client.stream(request.method, request.path, **content) as answer:  # type: ignore[arg-type] # two
                body = await _read(answer)
            status, retry_after = answer.status_code, _seconds(answer.headers.get("Retry-After"))
            if body is None and status == HTTPStatus.OK:
                status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            return Response(status=status, body=body or b"", retry_after=retry_after)

        yield send


async def _read(answer: httpx2.Response) -> bytes | None:
    """None: it is too large."""
    body = bytearray()
    try:
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > MOST_BYTES:
                # ends the loop, too: to leave it leaves behind what Trio warns of
                await answer.aclose()
    except (httpx2.StreamError, httpx2.TransportError):
        if len(body) <= MOST_BYTES:
            raise
    return bytes(body) if len(body) <= MOST_BYTES else None


def _seconds(text: str | None) -> float | None:
    """Of a ``Retry-After`` header, if it has a number. One of 400 digits must not cost the answer."""
    return min(float(text), MOST_SECONDS) if text is not None and text.isdecimal() else None


# --- what can't be used is said at once, or each request would fail for ever -----------------------------------


def _require_url(url: object) -> None:
    if not isinstance(url, str):
        raise TypeError(f"base_url must be a str, not {type(url).__name__}")
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise ValueError(f"base_url must be the homeserver's, as https://matrix.example.org: {error}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError("base_url must be the homeserver's, as https://matrix.example.org")


def _require_token(token: object) -> None:
    if not isinstance(token, str):
        raise TypeError(f"access_token must be a str, not {type(token).__name__}")
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise ValueError("access_token must be ASCII without spaces, and not empty")


def _require_seconds(seconds: object) -> None:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"seconds must be a number, not {type(seconds).__name__}")
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError(f"seconds must be more than 0, and {MOST_SECONDS:,} at most")
