"""The homeserver can't be reached for long: once it answers one request, the others don't wait out their pauses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors.testing import MemoryDisk
from olmstate.messages import (
    CreateAccount,
    MarkRequestFailed,
    MarkRequestSent,
    OutgoingRequests,
    ReceiveSync,
    Request,
    RequestId,
    RequestKind,
    Response,
    Statistics,
)
from olmstate.storage import Table
from tests.actors.requests.conftest import Homeserver, Process, Put, new_request, process

PAUSES = [15, 30, 60, 120, 240, 480]
"""Seconds that a request waits after each failure."""
PAUSE = 7
"""Seconds between two successes of others: less than the shortest pause."""
OK = Response(status=200, body=b"{}")


async def put(device: Process, kind: RequestKind = RequestKind.TO_DEVICE, number: int = 1) -> list[RequestId]:
    stored = await device.supervisor.ask(Put(requests=(new_request(kind),) * number))
    return list(stored)


async def outgoing(device: Process) -> list[RequestId]:
    return [request.request_id for request in await device.supervisor.ask(OutgoingRequests())]


async def fail(device: Process, request_id: RequestId, status: int | None = None, times: int = 8) -> None:
    for _ in range(times):
        await device.supervisor.ask(MarkRequestFailed(request_id=request_id, status=status))


async def succeed(device: Process) -> None:
    (request_id,) = await put(device, RequestKind.ROOM_MESSAGE)
    await device.supervisor.ask(MarkRequestSent(request_id=request_id, response={}))


async def an_hour(clock: MockClock) -> None:
    """Passes, without all the looks that there are in it."""
    for _ in range(4):
        clock.jump(15 * 60)
        await trio.sleep(1)


async def succeed_now_and_then(device: Process, clock: MockClock) -> None:
    """For longer than six pauses take."""
    for _ in range(1200 // PAUSE):
        await put(device, RequestKind.ROOM_MESSAGE)
        await trio.sleep(0.5)
        clock.jump(PAUSE - 0.5)


def rounded(wait: float) -> int:
    """The pause that it must have been, if the clock jumps in between."""
    return max((pause for pause in PAUSES if pause <= wait <= pause + 2 * PAUSE), default=round(wait))


def no_answer(_: Request) -> Response:
    raise ConnectionRefusedError


def answering(status: int, body: bytes) -> Callable[[Request], Response]:
    return lambda _: Response(status=status, body=body)


def always(kind: RequestKind, answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """What requests of a kind get; others succeed."""
    return lambda request: answer(request) if request.kind is kind else OK


def times_of(homeserver: Homeserver, kind: RequestKind) -> list[float]:
    return [time for time, request in zip(homeserver.times, homeserver.requests, strict=True) if request.kind is kind]


@pytest.mark.parametrize(
    "out",
    [no_answer, answering(502, b"<html>"), answering(503, b"<html>"), answering(504, b"")],
    ids=["no answer", "bad gateway", "unavailable", "gateway timeout"],
)
async def test_after_an_hour_all_that_waited_leaves_with_the_first_success(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock, out: Callable[[Request], Response]
) -> None:
    homeserver.answer = out
    async with process(disk, homeserver) as device:
        waiting = await put(device, number=40)
        await an_hour(autojump_clock)
        homeserver.answer = lambda _: OK
        back = trio.current_time()
        fresh = await put(device)
        await trio.sleep(1)
        answered = [answered.request_id for answered, _ in device.heard.answers]
        assert fresh == answered[:1]
        assert {*waiting, *fresh} == {*answered}
        assert 41 == sum(time >= back for time in homeserver.times)


async def test_the_success_of_another_process_counts(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    homeserver.answer = no_answer
    async with process(disk, homeserver) as one, process(disk) as other:
        waiting = await put(one, number=3)
        await an_hour(autojump_clock)
        homeserver.answer = lambda _: OK
        await succeed(other)
        await trio.sleep(1)
        assert {*waiting} == {answered.request_id for answered, _ in one.heard.answers}


@pytest.mark.parametrize(
    "failed",
    [
        MarkRequestFailed(request_id=RequestId(""), status=429, retry_after=600),
        MarkRequestFailed(request_id=RequestId(""), status=502, retry_after=600),
        MarkRequestFailed(request_id=RequestId(""), status=502, errcode="M_UNKNOWN"),
        MarkRequestFailed(request_id=RequestId(""), status=503, retry_after=600),
        MarkRequestFailed(request_id=RequestId(""), status=503, response=b'{"errcode": "M_UNKNOWN"}'),
        MarkRequestFailed(request_id=RequestId(""), status=504, response=b'{"errcode": "M_UNKNOWN"}'),
        *(MarkRequestFailed(request_id=RequestId(""), status=status) for status in (401, 403, 408, 500)),
        MarkRequestFailed(request_id=RequestId(""), status=404, response=b"404 page not found"),
    ],
)
async def test_what_the_homeserver_or_a_proxy_has_refused_keeps_its_pause(
    disk: MemoryDisk, mock_clock: MockClock, failed: MarkRequestFailed
) -> None:
    async with process(disk) as device:
        refused, unreachable = await put(device, number=2)
        for _ in range(8):
            await device.supervisor.ask(
                MarkRequestFailed(
                    request_id=refused,
                    status=failed.status,
                    errcode=failed.errcode,
                    retry_after=failed.retry_after,
                    response=failed.response,
                )
            )
        await fail(device, unreachable)
        assert [] == await outgoing(device)
        await succeed(device)
        assert [unreachable] == await outgoing(device)
        mock_clock.jump(900)
        assert [refused, unreachable] == await outgoing(device)


async def test_the_last_failure_says_why_it_waits(disk: MemoryDisk) -> None:
    async with process(disk) as device:
        refused, unreachable = await put(device, number=2)
        await fail(device, refused)
        await fail(device, refused, status=500, times=1)
        await fail(device, unreachable, status=500)
        await fail(device, unreachable, times=1)
        await succeed(device)
        assert [unreachable] == await outgoing(device)


async def test_a_refusal_is_an_answer_and_a_failure_is_none(disk: MemoryDisk) -> None:
    async with process(disk) as device:
        waiting, refused, unknown = (await put(device, number=2)) + [RequestId("nobody's")]
        await fail(device, waiting)
        await fail(device, refused)
        await fail(device, refused, status=500, times=1)
        await device.supervisor.ask(MarkRequestSent(request_id=unknown, response={}))
        assert [] == await outgoing(device)
        refusal = MarkRequestFailed(request_id=refused, status=400, errcode="M_BAD_JSON")
        await device.supervisor.ask(refusal)
        assert [waiting] == await outgoing(device)


@pytest.mark.parametrize(
    "answer",
    [
        answering(500, b'{"errcode": "M_UNKNOWN"}'),
        answering(200, b"<html>"),
        answering(200, b'{"garbage": 1}'),
    ],
    ids=["500", "no JSON", "garbage"],
)
async def test_what_always_fails_is_not_repeated_by_the_successes_of_others(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock, answer: Callable[[Request], Response]
) -> None:
    homeserver.answer = always(RequestKind.TO_DEVICE, answer)
    async with process(disk, homeserver) as device:
        await put(device)
        await succeed_now_and_then(device, autojump_clock)
    waits = [int(later - earlier) for earlier, later in pairwise(times_of(homeserver, RequestKind.TO_DEVICE))]
    assert PAUSES == [rounded(wait) for wait in waits]


async def test_what_never_gets_through_is_repeated_once_a_pause_by_the_successes_of_others(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    """A proxy that gives up on a slow answer, say: it says what it says of a homeserver that can't be reached."""
    homeserver.answer = always(RequestKind.TO_DEVICE, answering(504, b""))
    async with process(disk, homeserver) as device:
        await put(device)
        await succeed_now_and_then(device, autojump_clock)
    waits = [int(later - earlier) for earlier, later in pairwise(times_of(homeserver, RequestKind.TO_DEVICE))]
    assert PAUSES == [rounded(wait) for wait in waits if wait > 2 * PAUSE]
    assert all(min(pair) <= 2 * PAUSE < max(pair) for pair in pairwise(waits))


async def test_a_homeserver_that_comes_and_goes_is_asked_now_and_then(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    async with process(disk, homeserver) as device:
        waiting = await put(device, number=3)
        for _ in range(1200 // (2 * PAUSE)):
            homeserver.answer = always(RequestKind.TO_DEVICE, no_answer)
            await put(device, RequestKind.ROOM_MESSAGE)
            await trio.sleep(0.5)
            autojump_clock.jump(PAUSE - 0.5)
            homeserver.answer = no_answer
            await trio.sleep(0.5)
            autojump_clock.jump(PAUSE - 0.5)
    sent = [request.request_id for request in homeserver.requests]
    assert all(sent.count(request_id) in range(6, 16) for request_id in waiting)


async def test_a_second_outage_is_like_the_first(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    """The first success may have been a homeserver that was about to go away again."""
    homeserver.answer = always(RequestKind.TO_DEVICE, no_answer)
    async with process(disk, homeserver) as device:
        waiting = await put(device)
        for _ in range(2):
            await an_hour(autojump_clock)
            await put(device, RequestKind.ROOM_MESSAGE)
        await an_hour(autojump_clock)
        homeserver.answer = lambda _: OK
        await put(device, RequestKind.ROOM_MESSAGE)
        await trio.sleep(1)
        assert waiting == [each.request_id for each, _ in device.heard.answers if each.kind is RequestKind.TO_DEVICE]


async def test_a_homeserver_that_still_struggles_is_asked_again_soon(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    homeserver.answer = no_answer
    async with process(disk, homeserver) as device:
        await put(device)
        await an_hour(autojump_clock)
        homeserver.answer = always(RequestKind.TO_DEVICE, no_answer)
        await put(device, RequestKind.ROOM_MESSAGE)
        await trio.sleep(1)
        homeserver.answer = lambda _: OK
        await trio.sleep(15)
        assert 2 == len(device.heard.answers)


async def test_a_sync_says_that_the_homeserver_answers(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    homeserver.answer = no_answer
    async with process(disk, homeserver) as device:
        await device.supervisor.ask(CreateAccount())
        waiting = await put(device)
        await an_hour(autojump_clock)
        homeserver.answer = always(RequestKind.KEYS_UPLOAD, no_answer)
        await device.supervisor.ask(ReceiveSync(sync={"next_batch": "s1"}))
        await trio.sleep(1)
        assert waiting == [answered.request_id for answered, _ in device.heard.answers]


@pytest.mark.parametrize("outages", [0, 1, 2])
async def test_a_sync_asks_nothing_of_requests_while_none_waits(disk: MemoryDisk, outages: int) -> None:
    async with process(disk) as device:
        await device.supervisor.ask(CreateAccount())
        for _ in range(outages):
            (waiting,) = await put(device)
            await fail(device, waiting)
            await succeed(device)
        (request_id,) = await put(device)
        assert request_id in await outgoing(device)
        caches = [(await device.supervisor.ask(Statistics())).caches[Table.REQUESTS]]
        await device.supervisor.ask(ReceiveSync(sync={"next_batch": "s1"}))
        caches.append((await device.supervisor.ask(Statistics())).caches[Table.REQUESTS])
        assert caches[0].hits + caches[0].misses == caches[1].hits + caches[1].misses
