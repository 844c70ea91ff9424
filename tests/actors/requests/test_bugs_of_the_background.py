"""What goes wrong in the background: it is told or logged, tried again, and ends nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock
from vodozemac import Ed25519PublicKey

import olmstate.asyncio
from olmstate.actors import open_supervisor
from olmstate.actors._engine.turn import Turn
from olmstate.actors._requests.actor import AnsweredRequest
from olmstate.actors._requests.points import ANSWERS, UPKEEP, Answer, Upkeep
from olmstate.actors.testing import DEVICE, USER, MemoryDisk
from olmstate.messages import (
    InternalError,
    JsonObject,
    NoAccount,
    Request,
    RequestId,
    RequestKind,
    Response,
    Statistics,
    SyncToken,
    Transport,
)
from tests.actors.requests.conftest import Homeserver, Process, Put, new_request, process
from tests.actors.requests.test_courier import deliver

S3CRET = "s3cret"


async def waits_and_hears(device: Process) -> tuple[RequestId, ...]:
    """Make a request; whoever waits for it hears of the bug at once."""
    request_ids = await device.supervisor.ask(Put(requests=(new_request(),)))
    with pytest.raises(InternalError):
        await deliver(device, request_ids)
    return request_ids


class CancelledElsewhere(BaseException):
    """As asyncio's own."""


def panic() -> None:
    Ed25519PublicKey.from_base64("A" * 44)


def raise_(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "fail",
    [
        partial(raise_, ConnectionResetError(S3CRET)),
        partial(raise_, TypeError(S3CRET)),
        partial(raise_, CancelledElsewhere(S3CRET)),
        partial(raise_, ExceptionGroup(S3CRET, [OSError(S3CRET)])),
        partial(raise_, BaseExceptionGroup(S3CRET, [CancelledElsewhere(S3CRET)])),
        partial(raise_, StopAsyncIteration()),
        partial(raise_, NoAccount()),
        panic,
    ],
)
async def test_whatever_a_transport_raises_is_no_answer(
    fail: Callable[[], None],
    disk: MemoryDisk,
    homeserver: Homeserver,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def transport(request: Request) -> Response:
        if len(homeserver.requests) < 2:
            homeserver.requests.append(request)
            fail()
        return await homeserver(request)

    async with process(disk, transport) as device:
        await deliver(device, await device.supervisor.ask(Put(requests=(new_request(),))), patience=1000)
        assert 3 == len(homeserver.requests)
        assert 1 == len(device.heard.answers)
    assert [logging.WARNING] * 2 == [record.levelno for record in caplog.records]
    assert "no answer to to_device" in caplog.text
    assert S3CRET not in caplog.text


def gives(value: object) -> Callable[[Request], Any]:
    async def transport(_: Request) -> object:
        await trio.lowlevel.checkpoint()
        return value

    return transport


def gives_at_once(value: object) -> Callable[[Request], Any]:
    """Not asynchronous."""

    def transport(_: Request) -> object:
        return value

    return transport


@pytest.mark.parametrize(
    "wrong",
    [
        gives(None),
        gives({}),
        gives(b"{}"),
        gives((200, S3CRET)),
        gives_at_once(Response(status=200, body=b"{}")),
        gives_at_once(None),
    ],
)
async def test_a_transport_that_gives_no_response_is_told_to_whoever_waits_and_the_request_stays(
    wrong: Callable[[Request], Any],
    disk: MemoryDisk,
    homeserver: Homeserver,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    transports: list[Callable[[Request], Any]] = [wrong, homeserver]

    def transport(request: Request) -> Any:  # noqa: ANN401 - whatever it is
        return transports.pop(0)(request)

    async with process(disk, cast("Transport", transport)) as device:
        request_ids = await waits_and_hears(device)
        await deliver(device, request_ids)
        assert [*request_ids] == [answered.request_id for answered, _ in device.heard.answers]
        assert 15 <= homeserver.times[0] <= 20
    assert "it must be an asynchronous function that gives a Response" in caplog.text
    assert S3CRET not in caplog.text


@pytest.mark.parametrize("open_it", [open_supervisor, olmstate.asyncio.open_supervisor])
def test_what_cannot_be_called_is_refused_at_once(open_it: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="transport must be an asynchronous function, not a str"):
        open_it(tmp_path, user_id=USER, device_id=DEVICE, key=None, transport="https://example.org")


def failing(times: int, error: Callable[[], BaseException]) -> Callable[..., Any]:
    """Fails so often."""
    left = [error] * times

    async def fail(*_: object) -> bool:
        await trio.lowlevel.checkpoint()
        if left:
            make = left.pop()
            raise make()
        return False

    return fail


async def test_a_bug_in_taking_an_answer_in_is_told_and_the_request_is_sent_again(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    fail = failing(1, KeyError)

    async def take(_turn: Turn, _answered: AnsweredRequest, _response: JsonObject) -> None:
        await fail()

    taker = ANSWERS.add(Answer(kind=RequestKind.TO_DEVICE, take=take))
    async with process(disk, homeserver, taker) as device:
        await deliver(device, await waits_and_hears(device))
        await trio.sleep(3600)
        assert 2 == len(homeserver.requests)


async def test_what_a_taker_refuses_is_garbage(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    fail = failing(2, NoAccount)

    async def take(_turn: Turn, _answered: AnsweredRequest, _response: JsonObject) -> None:
        await fail()

    taker = ANSWERS.add(Answer(kind=RequestKind.TO_DEVICE, take=take))
    async with process(disk, homeserver, taker) as device:
        await deliver(device, await device.supervisor.ask(Put(requests=(new_request(),))))
        assert 3 == len(homeserver.requests)


async def test_a_bug_in_what_somebody_is_told_of_an_answer_is_told_and_the_answer_counts(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    def complain(response: JsonObject) -> None:
        response["not there"]

    async def take(_turn: Turn, _answered: AnsweredRequest, _response: JsonObject) -> None:
        await trio.lowlevel.checkpoint()

    taker = ANSWERS.add(Answer(kind=RequestKind.TO_DEVICE, take=take, complaint=complain))
    async with process(disk, homeserver, taker) as device:
        await waits_and_hears(device)
        await trio.sleep(3600)
        assert 1 == len(homeserver.requests) == len(device.heard.answers)


@pytest.mark.parametrize("error", [KeyError, NoAccount])
async def test_a_bug_in_what_is_due_keeps_no_request_from_being_sent(
    error: Callable[[], BaseException],
    disk: MemoryDisk,
    homeserver: Homeserver,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def nothing(_: Turn) -> None:
        await trio.lowlevel.checkpoint()

    upkeep = UPKEEP.add(Upkeep(due=failing(10_000, error), make=nothing))
    async with process(disk, homeserver, upkeep) as device:
        await deliver(device, await device.supervisor.ask(Put(requests=(new_request(),))))
        await trio.sleep(60)
        assert 1 == len(device.heard.answers)
    assert 1 == len([record for record in caplog.records if "requests that are due" in record.message]) or (
        error is NoAccount and not caplog.records
    )


async def test_a_server_that_asks_for_more_patience_than_there_is_gets_the_longest(
    disk: MemoryDisk, homeserver: Homeserver, autojump_clock: MockClock
) -> None:
    # 1e306 seconds are more milliseconds than a float can hold
    answers = [Response(status=429, body=b"{}", retry_after=1e306), Response(status=200, body=b"{}")]
    homeserver.answer = lambda _: answers.pop(0)
    async with process(disk, homeserver) as device:
        await deliver(device, await device.supervisor.ask(Put(requests=(new_request(),))), patience=10_000)
        first, second = homeserver.times
        assert 900 == int(second - first)


async def test_a_service_that_meets_a_bug_is_run_again(
    disk: MemoryDisk,
    homeserver: Homeserver,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("olmstate.actors._requests.courier.trio.CapacityLimiter", failing_once(trio.CapacityLimiter))
        async with process(disk, homeserver) as device:
            request_ids = await device.supervisor.ask(Put(requests=(new_request(),)))
            await trio.sleep(1)
            assert [] == homeserver.requests
            await device.supervisor.ask(SyncToken())
            await deliver(device, request_ids)
            assert 0 < (await device.supervisor.ask(Statistics())).turns
    assert "Courier begins anew: olmstate has a bug: KeyError" in caplog.text
    assert S3CRET not in caplog.text


def failing_once(function: Callable[..., Any]) -> Callable[..., Any]:
    left = [KeyError(S3CRET)]

    def call(*arguments: object) -> object:
        if left:
            raise left.pop()
        return function(*arguments)

    return call
