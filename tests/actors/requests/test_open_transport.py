"""The ready transport refuses what no request can be made with; it would be tried again and again, for ever."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors._requests.courier import ANSWER_WITHIN, MOST_AT_ONCE
from olmstate.actors.testing import MemoryDisk
from olmstate.http import MOST_BYTES, open_transport
from olmstate.messages import PrepareAccount, Request, RequestId, RequestKind, Response, UpdateDevices, UserId
from tests.actors.requests.conftest import Put, new_request, process

URL, TOKEN = "https://matrix.example.org", "a_token"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "matrix.example.org",
        "ftp://example.org",
        "https://",
        "http://[::1",
        "http://a\nb",
        "http://\udcff",
        "x" * 70_000,
    ],
)
def test_what_is_no_url_of_a_homeserver_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url must be the homeserver's, as https://matrix.example.org"):
        open_transport(url, TOKEN)


@pytest.mark.parametrize("token", ["", "two words", "a\nb", "a\0b", "\N{SNOWMAN}", "\ud800"])
def test_a_token_that_no_header_can_have_is_a_value_error_that_does_not_show_it(token: str) -> None:
    with pytest.raises(ValueError, match=r"^access_token must be ASCII without spaces, and not empty$"):
        open_transport(URL, token)


@pytest.mark.parametrize(
    "seconds",
    [0, -1, math.nan, math.inf, 10**4301, 86_401],
    ids=["zero", "negative", "nan", "infinite", "huge", "long"],
)
def test_seconds_are_some(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"^seconds must be more than 0, and 86,400 at most$"):
        open_transport(URL, TOKEN, seconds=seconds)


@pytest.mark.parametrize("value", [None, True, b"bytes", ["list"], {}, ()])
def test_another_type_is_a_type_error_that_names_the_argument(value: Any) -> None:  # noqa: ANN401 - the wrong types
    with pytest.raises(TypeError, match=r"^base_url must be a str"):
        open_transport(value, TOKEN)
    with pytest.raises(TypeError, match=r"^access_token must be a str"):
        open_transport(URL, value)
    with pytest.raises(TypeError, match=r"^seconds must be a number"):
        open_transport(URL, TOKEN, seconds=value)


@pytest.mark.parametrize("url", [URL, "http://127.0.0.1:8008", "http://[::1]:8008/", "https://exämple.org/under/it"])
async def test_what_can_be_one_is_one(url: str) -> None:
    async with open_transport(url, "syt_Ym90_AbC.-~+/=", seconds=0.5):
        pass


@asynccontextmanager
async def served(handle: Callable[[trio.SocketStream, bytes], Awaitable[None]]) -> AsyncGenerator[str]:
    """The URL of a server that does this with each connection and its first request's body, and then closes it."""

    async def answer(stream: trio.SocketStream) -> None:
        asked = b""
        async with stream:
            while not (head := re.match(rb"(?s).*?\r\n\r\n", asked)):
                asked += await stream.receive_some()
            length = re.search(rb"(?i)content-length: (\d+)", head[0])
            while len(asked) < head.end() + (int(length[1]) if length else 0):
                asked += await stream.receive_some()
            with suppress(trio.BrokenResourceError):  # the client has had enough
                await handle(stream, asked[head.end() :])

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


REQUEST = Request(
    request_id=RequestId("1"), kind=RequestKind.KEYS_CHANGES, method="GET", path="/_matrix/client/versions", body=b""
)


@pytest.mark.parametrize("header", ["12", "9" * 400, "-5", "soon", ""])
async def test_whatever_retry_after_says_the_answer_comes(header: str) -> None:
    # 400 digits are more than any number: each answer with them was none, and the request went out again for ever
    async def answer(stream: trio.SocketStream, _: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\nRetry-After: {header}\r\n\r\n"
        await stream.send_all(head.encode() + b"{}")

    async with served(answer) as url, open_transport(url, TOKEN) as send:
        response = await send(REQUEST)
    assert (200, b"{}") == (response.status, response.body)


@pytest.mark.parametrize(("status", "told"), [(200, 413), (502, 502)])
@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_without_end_is_none_or_a_refusal(*, packed: bool, status: int, told: int) -> None:
    # it was read until no memory was left
    sent, part = 0, b" " * 2**20
    packer = zlib.compressobj(wbits=31)

    async def answer(stream: trio.SocketStream, _: bytes) -> None:
        nonlocal sent
        encoding = "Content-Encoding: gzip\r\n" if packed else ""
        await stream.send_all(f"HTTP/1.1 {status} \r\nConnection: close\r\n{encoding}\r\n".encode())
        while sent < 2 * MOST_BYTES:
            await stream.send_all(packer.compress(part) if packed else part)
            sent += len(part)

    async with served(answer) as url, open_transport(url, TOKEN) as send:
        assert Response(status=told, body=b"") == await send(REQUEST)
    assert sent >= MOST_BYTES


async def test_an_answer_that_drips_keeps_no_other_from_being_asked_for(
    disk: MemoryDisk, autojump_clock: MockClock
) -> None:
    """Each byte came in time, and one of 16 places was gone for ever."""
    answered = 0

    async def answer(stream: trio.SocketStream, _: bytes) -> None:
        nonlocal answered
        answered += 1
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n"
        if answered > MOST_AT_ONCE:
            await stream.send_all(head + b"\r\n{}")
            return
        await stream.send_all(head + b"X-Slow: ")
        while True:
            await trio.sleep(59)
            await stream.send_all(b"x")

    async with served(answer) as url, open_transport(url, TOKEN) as send, process(disk, send) as device:
        await device.supervisor.ask(Put(requests=(new_request(),) * (MOST_AT_ONCE + 1)))
        await trio.sleep(ANSWER_WITHIN)
        await trio.sleep(60)
        assert MOST_AT_ONCE + 1 == len(device.heard.answers)


async def test_a_user_of_whom_there_is_too_much_to_say_holds_up_nobody_else(
    disk: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their server may name as many devices as it likes: the query for all 250 was made again for ever."""
    monkeypatch.setattr("olmstate.http.MOST_BYTES", 2**16)
    bob, carol, dave = (UserId(f"@{name}:example.org") for name in ("bob", "carol", "dave"))

    async def answer(stream: trio.SocketStream, asked: bytes) -> None:
        body = b" " * 2**20 if carol.encode() in asked else b"{}"
        await stream.send_all(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )

    async with served(answer) as url, open_transport(url, TOKEN) as send, process(disk, send) as device:
        await device.supervisor.ask(PrepareAccount())
        assert (carol,) == await device.supervisor.ask(UpdateDevices(users=(bob, carol, dave)))
