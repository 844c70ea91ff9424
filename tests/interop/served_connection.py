"""The server's side of HTTP/1.1 on a stream, and how to break off in the middle of an answer."""

from __future__ import annotations

import attrs
import h11
import trio

HOP_BY_HOP = {b"host", b"connection", b"accept-encoding", b"content-length", b"transfer-encoding"}
"""Headers that are about the connection, not about the request."""


@attrs.frozen(kw_only=True)
class Request:
    """As it came."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


class Connection:
    """The server's side of HTTP/1.1 on a stream."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._protocol = h11.Connection(h11.SERVER)

    async def next_request(self) -> Request | None:
        """None when the client has gone."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            try:
                event = self._protocol.next_event()
            except h11.RemoteProtocolError:  # it went in the midst of a request
                return None
            if event is h11.NEED_DATA:
                try:
                    self._protocol.receive_data(await self._stream.receive_some())
                except trio.BrokenResourceError:
                    return None
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = [(name, value) for name, value in head.headers if name not in HOP_BY_HOP]
                return Request(
                    method=head.method.decode(), target=head.target.decode(), headers=headers, body=bytes(body)
                )
            else:
                return None

    async def answer(self, status: int, body: bytes) -> None:
        """All of it."""
        await self._send(self._head(status, body) + (self._protocol.send(h11.Data(body)) or b""))
        await self._send(self._protocol.send(h11.EndOfMessage()) or b"")

    async def begin_answer(self, status: int, body: bytes) -> None:
        """The first half of it."""
        await self._send(self._head(status, body) + body[: len(body) // 2])

    def start_next_cycle(self) -> bool:
        """Whether another request may come."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        return True

    def _head(self, status: int, body: bytes) -> bytes:
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        return self._protocol.send(h11.Response(status_code=status, headers=headers)) or b""

    async def _send(self, sent: bytes) -> None:
        try:
            await self._stream.send_all(sent)
        except trio.BrokenResourceError:
            return  # the client has given up on us
