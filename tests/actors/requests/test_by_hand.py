"""Requests that are handed out, and sent by hand."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from olmstate.actors.testing import MemoryDisk
from olmstate.messages import (
    JsonObject,
    MalformedMessage,
    MarkRequestFailed,
    MarkRequestSent,
    OutgoingRequests,
    Request,
    RequestGivenUp,
    RequestId,
    RequestKind,
    Statistics,
)
from tests.actors.requests.conftest import Process, Put, new_request, process

YEAR = 365 * 24 * 3600
"""Seconds."""


async def put(device: Process, number: int = 1) -> tuple[RequestId, ...]:
    return await device.supervisor.ask(Put(requests=(new_request(),) * number))


async def outgoing(device: Process) -> list[RequestId]:
    return [request.request_id for request in await device.supervisor.ask(OutgoingRequests())]


async def test_a_request_is_handed_out_until_it_is_answered_with_the_same_bytes_each_time(disk: MemoryDisk) -> None:
    async with process(disk) as device:
        (request_id,) = await put(device)
        (request,) = await device.supervisor.ask(OutgoingRequests())
        assert (request,) == await device.supervisor.ask(OutgoingRequests())
        expected = Request(
            request_id=request_id,
            kind=RequestKind.TO_DEVICE,
            method="PUT",
            path=f"/_matrix/client/v3/sendToDevice/m.dummy/{request_id}",
            body=b'{"messages":{}}',
        )
        assert expected == request
        await device.supervisor.ask(MarkRequestSent(request_id=request_id, response={}))
        assert () == await device.supervisor.ask(OutgoingRequests())


@pytest.mark.parametrize("response", [{"a": 1}, '{"a": 1}', b'{"a": 1}'])
async def test_an_answer_reaches_whoever_made_the_request_parsed_or_as_it_came(
    disk: MemoryDisk, response: JsonObject | str | bytes
) -> None:
    async with process(disk) as device:
        (request_id,) = await put(device)
        await device.supervisor.ask(MarkRequestSent(request_id=request_id, response=response))
        ((answered, told),) = device.heard.answers
        assert (request_id, b"why", {"a": 1}) == (answered.request_id, answered.context, told)


async def test_an_answer_counts_once_and_that_of_an_unknown_request_not_at_all(disk: MemoryDisk) -> None:
    async with process(disk) as device:
        (request_id,) = await put(device)
        for each in (request_id, request_id, RequestId("nobody's")):
            await device.supervisor.ask(MarkRequestSent(request_id=each, response={}))
        assert 1 == len(device.heard.answers)


@pytest.mark.parametrize("response", [b"<html>", b"[]", {"garbage": 1}, b"", "\ud800"])
async def test_garbage_is_no_answer_and_the_request_stays(disk: MemoryDisk, response: JsonObject | str | bytes) -> None:
    async with process(disk) as device:
        (request_id,) = await put(device)
        with pytest.raises(MalformedMessage):
            await device.supervisor.ask(MarkRequestSent(request_id=request_id, response=response))
        assert [request_id] == await outgoing(device)


async def test_requests_go_out_in_the_order_in_which_they_were_made(disk: MemoryDisk) -> None:
    async with process(disk) as device:
        first = await put(device, 3)
        assert [*first, *await put(device, 2)] == await outgoing(device)


async def test_nobody_sends_the_request_of_a_process_that_lives(disk: MemoryDisk) -> None:
    async with process(disk) as one, process(disk) as other:
        (request_id,) = await put(one)
        assert [] == await outgoing(other)
        assert [request_id] == await outgoing(one)


async def test_the_request_of_a_process_that_has_died_is_taken_over_by_one_other(disk: MemoryDisk) -> None:
    async with process(disk) as one, process(disk) as other, process(disk) as third:
        (request_id,) = await put(one)
        one.store.presence.close()  # as the kernel does for it
        assert [request_id] == await outgoing(other)
        assert [] == await outgoing(third)
        assert [request_id] == await outgoing(other)


async def test_a_restarted_process_takes_up_what_it_has_left(disk: MemoryDisk) -> None:
    async with process(disk) as device:
        (request_id,) = await put(device)
        (request,) = await device.supervisor.ask(OutgoingRequests())
    async with process(disk) as device:
        assert (request,) == await device.supervisor.ask(OutgoingRequests())
        assert request.request_id == request_id


async def test_a_failed_request_waits_twice_as_long_each_time_up_to_a_quarter_of_an_hour(
    disk: MemoryDisk, mock_clock: MockClock
) -> None:
    async with process(disk) as device:
        (request_id,) = await put(device)
        for seconds in (15, 30, 60, 120, 240, 480, 900, 900):
            await device.supervisor.ask(MarkRequestFailed(request_id=request_id))
            mock_clock.jump(seconds - 0.5)
            assert [] == await outgoing(device)
            mock_clock.jump(0.5)
            assert [request_id] == await outgoing(device)


async def test_a_server_that_is_busy_says_for_how_long(disk: MemoryDisk, mock_clock: MockClock) -> None:
    async with process(disk) as device:
        (request_id,) = await put(device)
        await device.supervisor.ask(MarkRequestFailed(request_id=request_id, status=429, retry_after=2))
        assert [] == await outgoing(device)
        mock_clock.jump(2)
        assert [request_id] == await outgoing(device)


async def test_a_clock_that_was_set_back_holds_up_no_request(disk: MemoryDisk, mock_clock: MockClock) -> None:
    # it went out once the clock was as far again
    mock_clock.jump(YEAR)
    async with process(disk) as device:
        (request_id,) = await put(device)
        await device.supervisor.ask(MarkRequestFailed(request_id=request_id))
        assert [] == await outgoing(device)
    async with process(disk, set_back=1000 * YEAR) as device:
        assert [request_id] == await outgoing(device)


@pytest.mark.parametrize("status", [None, 401, 403, 408, 429, 500, 502, 504, 599])
async def test_what_may_pass_is_tried_again(disk: MemoryDisk, mock_clock: MockClock, status: int | None) -> None:
    async with process(disk) as device:
        (request_id,) = await put(device)
        await device.supervisor.ask(MarkRequestFailed(request_id=request_id, status=status))
        mock_clock.jump(900)
        assert [request_id] == await outgoing(device)
        assert [] == device.heard.refusals


@pytest.mark.parametrize("status", [301, 400, 404, 405, 413, 499])
async def test_what_is_refused_for_good_is_given_up_and_told(disk: MemoryDisk, status: int) -> None:
    async with process(disk) as device:
        with device.supervisor.subscribe(RequestGivenUp) as events:
            (request_id,) = await put(device)
            await device.supervisor.ask(
                MarkRequestFailed(request_id=request_id, status=status, errcode="M_UNKNOWN", error="no")
            )
            assert [] == await outgoing(device)
            ((answered, refused),) = device.heard.refusals
            assert (request_id, status, "M_UNKNOWN") == (answered.request_id, refused.status, refused.errcode)
            expected = RequestGivenUp(kind=RequestKind.TO_DEVICE, status=status, errcode="M_UNKNOWN", error="no")
            assert expected == events.receive_nowait()


@pytest.mark.parametrize("status", [302, 400, 404, 405])
@pytest.mark.parametrize("response", [b"", b"404 page not found", b"<html>", b"[]", "{}", {"errcode": None}])
async def test_what_a_proxy_refuses_is_tried_again(
    disk: MemoryDisk, mock_clock: MockClock, status: int, response: JsonObject | str | bytes
) -> None:
    """One that has lost its homeserver for a moment says 404, and a room key was given up for that."""
    async with process(disk) as device:
        (request_id,) = await put(device)
        await device.supervisor.ask(MarkRequestFailed(request_id=request_id, status=status, response=response))
        assert [] == await outgoing(device)
        mock_clock.jump(15)
        assert [request_id] == await outgoing(device)
        body = b'{"errcode": "M_UNRECOGNIZED"}'
        await device.supervisor.ask(MarkRequestFailed(request_id=request_id, status=status, response=body))
        mock_clock.jump(900)
        assert [] == await outgoing(device)


async def test_what_is_too_large_for_a_proxy_stays_so(disk: MemoryDisk, mock_clock: MockClock) -> None:
    async with process(disk) as device:
        (request_id,) = await put(device)
        await device.supervisor.ask(MarkRequestFailed(request_id=request_id, status=413, response=b"<html>"))
        mock_clock.jump(900)
        assert [] == await outgoing(device)


async def test_what_is_due_is_made_once_whoever_asks(disk: MemoryDisk) -> None:
    async with process(disk) as one, process(disk) as other:
        one.heard.due = other.heard.due = True
        (request_id,) = await outgoing(one)
        assert [] == await outgoing(other)
        assert [request_id] == await outgoing(one)


async def test_with_nothing_to_do_there_is_no_turn(disk: MemoryDisk) -> None:
    async with process(disk) as device:
        for _ in range(3):
            assert [] == await outgoing(device)
        assert 0 == (await device.supervisor.ask(Statistics())).turns


def test_a_request_shows_no_body() -> None:
    request = Request(request_id=RequestId("1"), kind=RequestKind.TO_DEVICE, method="PUT", path="/", body=b"secret")
    assert "secret" not in repr(request)
