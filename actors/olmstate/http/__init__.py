"""A ready transport: requests to the homeserver by httpx2, under Trio as under asyncio. The library never imports it.

It is in the extra ``olmstate[http]``. Logging in is not its business: it has a base URL and an access token.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from olmstate.messages import Request, Response

__all__ = ["open_transport"]

SECONDS = 60.0
"""To wait for an answer, unless told otherwise: longer than a homeserver waits for others."""


@asynccontextmanager
async def open_transport(
    base_url: str, access_token: str, *, seconds: float = SECONDS
) -> AsyncGenerator[Callable[[Request], Coroutine[Any, Any, Response]]]:
    """A transport for `open_supervisor`, for as long as the block runs.

    Args:
        base_url: The homeserver's, as ``https://matrix.example.org``.
        access_token: Of the device.
        seconds: To wait for each answer.
    """
    headers = {"Authorization": f"Bearer {access_token}"}
    async with httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=seconds) as client:

        async def send(request: Request) -> Response:
            content = {"content": request.body, "headers": {"Content-Type": "application/json"}} if request.body else {}
            answer = await client.request(request.method, request.path, **content)  # type: ignore[arg-type] # two of its
            return Response(
                status=answer.status_code, body=answer.content, retry_after=_seconds(answer.headers.get("Retry-After"))
            )

        yield send


def _seconds(text: str | None) -> float | None:
    """Of a ``Retry-After`` header, if it has a number."""
    return float(text) if text is not None and text.isdecimal() else None
