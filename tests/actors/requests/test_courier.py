"""Requests that a transport sends."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from olmstate.actors._requests.courier import Courier
from olmstate.actors._wire.json_parts import AT_ONCE, PART
from olmstate.actors.testing import MemoryDisk
from olmstate.messages import (
    NoTransport,
    Request,
    RequestDelayed,
    RequestId,
    RequestKind,
    RequestRefused,
    Response,
    Statistics,
    StoreBusy,
)
from tests.actors.requests.conftest import Homeserver, Process, Put, new_request, process
from tests.actors.supervised import runner_of
from tests.cost.longest_step import longest_step


async def put(device: Process, number: int = 1) -> tuple[RequestId, ...]:
    return await device.supervisor.ask(Put(requests=(new_request(),) * number))


async def deliver(device: Process, request_ids: tuple[RequestId, ...], patience: float = 60) -> None:
    await runner_of(device.supervisor).services[Courier].deliver(RequestKind.TO_DEVICE, request_ids, patience=patience)


async def test_a_request_is_sent_as_soon_as_it_is_stored(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    async with process(disk, homeserver) as device:
        request_ids = await put(device, 3)
        await deliver(device, request_ids)
        assert set(request_ids) == {request.request_id for request in homeserver.requests}
        assert set(request_ids) == {answered.request_id for answered, _ in device.heard.answers}
        assert 3 == len(homeserver.requests) == len(device.heard.answers)


async def test_requests_about_one_subject_go_out_one_after_another_in_their_order(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    """A verification's messages, say."""
    homeserver.open = trio.Event()
    async with process(disk, homeserver) as device:
        request_ids = await device.supervisor.ask(Put(requests=(new_request(subjects=("flow",)),) * 5))
        await trio.sleep(1)
        assert 1 == len(homeserver.requests)
        homeserver.open.set()
        await deliver(device, request_ids)
        assert list(request_ids) == [request.request_id for request in homeserver.requests]


async def test_whoever_waits_late_does_not_wait(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    async with process(disk, homeserver) as device:
        request_ids = await put(device)
        await trio.sleep(1)
        before = trio.current_time()
        await deliver(device, request_ids)
        await deliver(device, ())
        assert before == trio.current_time()


async def test_without_a_transport_nobody_waits(disk: MemoryDisk) -> None:
    async with process(disk) as device:
        with pytest.raises(NoTransport):
            await deliver(device, await put(device))


async def test_no_answer_is_tried_again_and_the_bytes_are_the_same(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    answers = [None, Response(status=502, body=b"<html>"), Response(status=200, body=b"cut"), None]

    def answer(_: Request) -> Response:
        response = answers.pop(0) if answers else Response(status=200, body=b"{}")
        if response is None:
            raise ConnectionResetError
        return response

    homeserver.answer = answer
    async with process(disk, homeserver) as device:
        await deliver(device, await put(device), patience=1000)
        assert 1 == len(set(homeserver.requests))
        waits = [later - earlier for earlier, later in pairwise(homeserver.times)]
        assert [15, 30, 60, 120] == [int(wait) for wait in waits]
        assert 1 == len(device.heard.answers)


@pytest.mark.parametrize(
    "response",
    [
        Response(status=429, body=b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2000}'),
        Response(status=429, body=b"[]", retry_after=2),
        Response(status=503, body=b"[" * 100_000, retry_after=2),
    ],
)
async def test_a_busy_homeserver_is_asked_again_when_it_says(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock, response: Response
) -> None:
    answers = [response, Response(status=200, body=b"{}")]
    homeserver.answer = lambda _: answers.pop(0)
    async with process(disk, homeserver) as device:
        await deliver(device, await put(device))
        first, second = homeserver.times
        assert 2 == int(second - first)


@pytest.mark.parametrize(
    "response",
    [
        Response(status=429, body=b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 0}'),
        Response(status=429, body=b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": -5000}'),
        Response(status=503, body=b"", retry_after=0),
    ],
)
async def test_a_busy_homeserver_that_asks_for_no_pause_is_given_one(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock, response: Response
) -> None:
    """It was asked again as quickly as it answered."""
    homeserver.answer = lambda _: response
    async with process(disk, homeserver) as device:
        await put(device)
        await trio.sleep(5)
    assert len(homeserver.requests) in range(3, 7)


async def test_a_homeserver_that_wants_to_be_asked_at_once_again_and_again_is_asked_now_and_then(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    # it was asked as fast as we could, with a commit each time
    answers = [Response(status=429, body=b"{}", retry_after=0)] * 20 + [Response(status=200, body=b"{}")]
    homeserver.answer = lambda _: answers.pop(0)
    async with process(disk, homeserver) as device:
        await deliver(device, await put(device), patience=1000)
        waits = [int(later - earlier) for earlier, later in pairwise(homeserver.times)]
        assert [*range(1, 15), *(15,) * 6] == waits


async def test_a_large_refusal_is_parsed_a_little_at_a_time(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    body = json.dumps({"errcode": "M_BAD_JSON", "padding": ["x" * 20 * AT_ONCE]}).encode()
    homeserver.answer = lambda _: Response(status=400, body=body)
    async with process(disk, homeserver) as device, longest_step() as counted:
        with pytest.raises(RequestRefused) as refused:
            await deliver(device, await put(device))
    assert "M_BAD_JSON" == refused.value.errcode
    assert counted.steps > len(body) // PART


async def test_a_refusal_is_told_to_whoever_waits_and_the_request_is_gone(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    homeserver.answer = lambda _: Response(status=400, body=b'{"errcode": "M_BAD_JSON"}')
    async with process(disk, homeserver) as device:
        with pytest.raises(RequestRefused) as refused:
            await deliver(device, await put(device))
        assert (400, "M_BAD_JSON") == (refused.value.status, refused.value.errcode)
        late = await put(device)
        await trio.sleep(1)
        with pytest.raises(RequestRefused):
            await deliver(device, late)
        await trio.sleep(3600)
        assert 2 == len(homeserver.requests)


@pytest.mark.parametrize(("status", "body"), [(401, b"{}"), (403, b"{}"), (302, b""), (404, b"404 page not found")])
async def test_a_wrong_access_token_or_address_is_told_to_whoever_waits_and_the_request_stays(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock, status: int, body: bytes
) -> None:
    homeserver.answer = lambda _: Response(status=status, body=body)
    async with process(disk, homeserver) as device:
        request_ids = await put(device)
        with pytest.raises(RequestRefused):
            await deliver(device, request_ids)
        homeserver.answer = lambda _: Response(status=200, body=b"{}")
        await deliver(device, request_ids)
        assert 1 == len(device.heard.answers)


async def test_patience_ends_and_the_request_goes_out_later(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    homeserver.open = trio.Event()
    async with process(disk, homeserver) as device:
        request_ids = await put(device)
        with pytest.raises(RequestDelayed):
            await deliver(device, request_ids, patience=5)
        homeserver.open.set()
        await deliver(device, request_ids)
        assert 1 == len(device.heard.answers)


async def test_whoever_waits_can_be_cancelled_and_the_request_goes_out(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    homeserver.open = trio.Event()
    async with process(disk, homeserver) as device:
        request_ids = await put(device)
        with trio.move_on_after(1):
            await deliver(device, request_ids)
        homeserver.open.set()
        await trio.sleep(1)
        assert 1 == len(device.heard.answers)


async def test_an_answer_waits_for_a_store_that_is_busy(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    """Keys may have been claimed with it, which nobody gets again."""
    async with process(disk, homeserver) as device, process(disk) as other:
        homeserver.open = trio.Event()
        request_ids = await put(device)
        await trio.sleep(1)
        assert other.store.lock.acquire_nowait()
        homeserver.open.set()
        await trio.sleep(20)
        with pytest.raises(StoreBusy):
            await put(device)
        assert [] == device.heard.answers
        other.store.lock.release()
        await deliver(device, request_ids)
        assert (1, 1) == (len(homeserver.requests), len(device.heard.answers))


async def test_what_a_dead_process_has_left_goes_out(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    async with process(disk) as one, process(disk, homeserver) as other:
        await put(one)
        await trio.sleep(60)
        assert [] == homeserver.requests
        one.store.presence.close()
        await trio.sleep(1)
        assert (1, 1) == (len(homeserver.requests), len(other.heard.answers))


async def test_what_is_due_is_made_and_sent_in_the_background(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    async with process(disk, homeserver) as device:
        await trio.sleep(1)
        device.heard.due = True
        await trio.sleep(1)
        assert [RequestKind.ROOM_MESSAGE] == [request.kind for request in homeserver.requests]


async def test_an_idle_minute_takes_no_turn(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    async with process(disk, homeserver) as device:
        await trio.sleep(60)
        statistics = await device.supervisor.ask(Statistics())
        assert (0, 0) == (statistics.turns, disk.generation)
        assert device.heard.asked_whether_due > 60


async def test_one_waits_until_nobody_asks_about_a_subject(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    homeserver.open = trio.Event()
    async with process(disk, homeserver) as one, process(disk) as other:
        about = new_request(subjects=("@a:example.org",))
        await one.supervisor.ask(Put(requests=(about,)))
        courier = runner_of(other.supervisor).services[Courier]
        assert not await courier.wait_until_free(RequestKind.TO_DEVICE, "@a:example.org".__eq__, patience=5)
        assert await courier.wait_until_free(RequestKind.TO_DEVICE, "@b:example.org".__eq__, patience=1)
        assert await courier.wait_until_free(RequestKind.KEYS_QUERY, "@a:example.org".__eq__, patience=1)
        homeserver.open.set()
        assert await courier.wait_until_free(RequestKind.TO_DEVICE, "@a:example.org".__eq__, patience=5)


async def test_few_requests_are_under_way_at_a_time(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    homeserver.open = trio.Event()
    async with process(disk, homeserver) as device:
        request_ids = await put(device, 40)
        await trio.sleep(1)
        assert 16 == len(homeserver.requests)
        homeserver.open.set()
        await deliver(device, request_ids)
        assert 40 == len(homeserver.requests) == len(device.heard.answers)
