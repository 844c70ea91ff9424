"""A session with a homeserver as the transport of a supervisor."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from olmstate.messages import Request, Response
from tests.peer.session import RequestRefused, Session


def transport_of(session: Session) -> Callable[[Request], Awaitable[Response]]:
    """Sends a supervisor's requests on ``session``."""

    async def send(request: Request) -> Response:
        body = json.loads(request.body) if request.body else None
        try:
            answer = await session.request(request.method, request.path, body)
        except RequestRefused as refused:
            return Response(status=refused.status, body=json.dumps(refused.body).encode())
        return Response(status=200, body=json.dumps(answer).encode())

    return send
