"""A homeserver in memory that programs reach over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import trio

from tests.interop.served_connection import Connection, Request
from tests.peer.session import RequestRefused, Session


@asynccontextmanager
async def serving(sessions: Mapping[str, Session]) -> AsyncGenerator[str]:
    """Answer requests, each for whoever has its access token; the server's URL."""

    async def answer(request: Request) -> tuple[int, bytes]:
        token = dict(request.headers).get(b"authorization", b"").decode().removeprefix("Bearer ")
        body = json.loads(request.body) if request.body else None
        if token not in sessions:
            return 401, json.dumps({"errcode": "M_UNKNOWN_TOKEN", "error": "who is that?"}).encode()
        try:
            return 200, json.dumps(await sessions[token].request(request.method, request.target, body)).encode()
        except RequestRefused as refused:
            return refused.status, json.dumps(refused.body).encode()

    async def serve(stream: trio.SocketStream) -> None:
        connection = Connection(stream)
        while (request := await connection.next_request()) is not None:
            await trio.sleep(0.01)  # a long poll that ends at once would be asked again at once
            await connection.answer(*await answer(request))
            if not connection.start_next_cycle():
                return

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        host, port = listener.socket.getsockname()
        yield f"http://{host}:{port}"
        nursery.cancel_scope.cancel()
