"""The ready transport refuses what no request can be made with; it would be tried again and again, for ever."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

from olmstate.http import open_transport
from olmstate.messages import Request, RequestId, RequestKind

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


@pytest.mark.parametrize("header", ["12", "9" * 400, "-5", "soon", ""])
async def test_whatever_retry_after_says_the_answer_comes(header: str) -> None:
    # 400 digits are more than any number: each answer with them was none, and the request went out again for ever
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\nRetry-After: {header}\r\n\r\n"
        await stream.send_all(head.encode() + b"{}")
        await stream.aclose()

    request = Request(
        request_id=RequestId("1"),
        kind=RequestKind.KEYS_CHANGES,
        method="GET",
        path="/_matrix/client/versions",
        body=b"",
    )
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        async with open_transport(f"http://127.0.0.1:{listener.socket.getsockname()[1]}", TOKEN) as send:
            response = await send(request)
        nursery.cancel_scope.cancel()
    assert (200, b"{}") == (response.status, response.body)
