"""Calls between two ends: answers, refusals, and an end that goes away."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_one_way_pair

from olmstate.cli.demo._calls import Calls, HungUp, Lines, Refused, Serve
from olmstate.messages import Json, JsonObject, StoreFull


@attrs.frozen
class Ends:
    """Both ends of a line, and the second one's streams."""

    here: Calls
    there: Calls
    written_there: MemorySendStream
    read_there: MemoryReceiveStream


async def nothing(method: str, arguments: JsonObject) -> Json:
    raise AssertionError(f"{method} was called with {arguments}")


@asynccontextmanager
async def connected(here: Serve, there: Serve) -> AsyncGenerator[Ends]:
    to_there, read_there = memory_stream_one_way_pair()
    written_there, from_there = memory_stream_one_way_pair()
    ends = Ends(
        Calls(to_there, Lines(from_there), here),
        Calls(written_there, Lines(read_there), there),
        written_there,
        read_there,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.here.run)
        nursery.start_soon(ends.there.run)
        yield ends
        nursery.cancel_scope.cancel()


async def test_a_call_gets_its_own_answer_though_a_later_one_is_answered_first() -> None:
    slow_may_end = trio.Event()

    async def serve(method: str, arguments: JsonObject) -> Json:
        if method == "slow":
            await slow_may_end.wait()
        return [method, arguments]

    answers: list[Json] = []

    async with connected(nothing, serve) as ends, trio.open_nursery() as nursery:

        async def call(method: str) -> None:
            answers.append(await ends.here.call(method, of=method))

        nursery.start_soon(call, "slow")
        await trio.testing.wait_all_tasks_blocked()
        await call("quick")
        assert ends.here.under_way == 1
        slow_may_end.set()

    assert [["quick", {"of": "quick"}], ["slow", {"of": "slow"}]] == answers


async def test_an_end_that_serves_a_call_may_call_back() -> None:
    async def here(method: str, arguments: JsonObject) -> Json:
        await trio.lowlevel.checkpoint()
        return f"{method} of {arguments['who']}"

    async def there(method: str, arguments: JsonObject) -> Json:
        return await ends.there.call("name", who="Bob")

    async with connected(here, there) as ends:
        assert await ends.here.call("ask") == "name of Bob"


async def test_what_the_library_refuses_is_refused_by_name() -> None:
    async def serve(method: str, arguments: JsonObject) -> Json:
        await trio.lowlevel.checkpoint()
        raise StoreFull

    async with connected(nothing, serve) as ends:
        with pytest.raises(Refused) as refused:
            await ends.here.call("write")
        assert refused.value.name == "StoreFull"
        assert "no room" in refused.value.text


async def test_text_survives_whatever_is_in_it() -> None:
    async def serve(method: str, arguments: JsonObject) -> Json:
        await trio.lowlevel.checkpoint()
        return arguments["text"]

    text = "a line\nand another\u2028\ud800 \0 漢"
    async with connected(nothing, serve) as ends:
        assert text == await ends.here.call("echo", text=text)


async def test_who_waits_learns_that_the_other_end_is_gone_and_so_does_who_asks_later() -> None:
    async def serve(method: str, arguments: JsonObject) -> Json:
        await trio.sleep(math.inf)

    async with connected(nothing, serve) as ends:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(HungUp):
                    await ends.here.call("anything")

            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            await ends.written_there.aclose()
        await call()


async def test_an_answer_that_was_written_before_the_end_still_counts_and_half_a_one_does_not() -> None:
    to_there, read_there = memory_stream_one_way_pair()
    written_there, from_there = memory_stream_one_way_pair()
    here = Calls(to_there, Lines(from_there), nothing)
    results: list[Json] = []

    async def call() -> None:
        try:
            results.append(await here.call("anything"))
        except HungUp:
            results.append("hung up")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        await written_there.send_all(b'{"answer": 0, "value": "whole"}\n{"answer": 1, "value": "ha')
        await written_there.aclose()
        await read_there.aclose()
        await here.run()

    assert ["whole", "hung up"] == results


async def test_a_call_to_an_end_that_does_not_read_any_more_hangs_up() -> None:
    to_there, read_there = memory_stream_one_way_pair()
    written_there, from_there = memory_stream_one_way_pair()
    here = Calls(to_there, Lines(from_there), nothing)
    await read_there.aclose()
    await written_there.aclose()

    async with trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(HungUp):
                await here.call("anything")

        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        await here.run()


async def test_lines_come_whole_however_they_are_cut() -> None:
    send, receive = memory_stream_one_way_pair()
    lines = Lines(receive)
    read: list[bytes | None] = []

    async def collect() -> None:
        while not read or read[-1] is not None:
            read.append(await lines.read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        for byte in b"one\n\nthree\nfou":
            await send.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        await send.send_all(b"r\nfive\nsix\nse")
        await send.aclose()

    assert [b"one", b"", b"three", b"four", b"five", b"six", None] == read
