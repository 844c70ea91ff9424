"""The proxy gets wrong what it was told to, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio

from olmstate.messages import JsonObject
from tests.interop.fault_proxy import FaultProxy, Kind, open_fault_proxy
from tests.interop.homeserver import Homeserver, HttpSession, NoAnswer
from tests.peer.session import API, RequestRefused


@pytest.fixture
async def proxy(homeserver: Homeserver) -> AsyncGenerator[FaultProxy]:
    async with open_fault_proxy(homeserver.synapse.url, homeserver.client) as running:
        yield running


@pytest.fixture
async def session(homeserver: Homeserver, proxy: FaultProxy) -> HttpSession:
    """Somebody whose requests go through the proxy."""
    return homeserver.through(proxy.url, await homeserver.register())


async def test_what_is_not_to_go_wrong_goes_well(session: HttpSession, proxy: FaultProxy) -> None:
    proxy.add("drop", "/somewhere/else")
    room = await session.create_room()
    assert (session.user_id,) == await session.members(room)
    assert ["/createRoom", f"/rooms/{room.replace('!', '%21').replace(':', '%3A')}/members"] == proxy.asked()


async def test_a_refused_request_is_answered_without_the_homeserver(session: HttpSession, proxy: FaultProxy) -> None:
    slow_down: JsonObject = {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 5}
    proxy.add("refuse", "/createRoom", status=429, body=slow_down)
    with pytest.raises(RequestRefused) as refused:
        await session.create_room()
    assert (429, slow_down) == (refused.value.status, refused.value.body)
    assert [None] == [passed.status for passed in proxy.passed]
    await session.create_room()


@pytest.mark.parametrize(
    ("kind", "carried_out"), [("drop", 0), ("lose_answer", 1), ("cut_answer", 1), ("garble_answer", 1)]
)
async def test_an_answer_that_never_comes_may_be_one_to_something_that_happened(
    kind: Kind, carried_out: int, session: HttpSession, proxy: FaultProxy
) -> None:
    room = await session.create_room()
    target = f"{API}/rooms/{room}/send/m.test/once"
    proxy.add(kind, "/send/")
    with pytest.raises(NoAnswer):
        await session.request("PUT", target, {"body": "hello"})
    assert carried_out == await count_of_messages(session, 0)
    sent = await session.request("PUT", target, {"body": "hello"})
    assert ["event_id"] == list(sent)
    assert 1 == await count_of_messages(session, 1)


async def count_of_messages(session: HttpSession, timeout_ms: int) -> int:
    rooms: JsonObject = (await session.sync(None, timeout_ms=timeout_ms))["rooms"]["join"]
    return sum(event["type"] == "m.test" for room in rooms.values() for event in room["timeline"]["events"])


@pytest.mark.parametrize(("kind", "asked_meanwhile"), [("hold", 0), ("hold_answer", 1)])
async def test_what_is_held_goes_on_when_it_is_released(
    kind: Kind, asked_meanwhile: int, session: HttpSession, proxy: FaultProxy
) -> None:
    held = proxy.add(kind, "/createRoom")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.create_room)
        await held.arrived.wait()
        assert asked_meanwhile == len(proxy.passed)
        held.release()
    assert [200] == [passed.status for passed in proxy.passed]


async def test_a_fault_strikes_as_often_as_it_was_told_and_when(session: HttpSession, proxy: FaultProxy) -> None:
    proxy.add("drop", "/keys/query", method="POST", after=1, times=2)
    answered: list[bool] = []
    for _ in range(4):
        try:
            await session.query_keys([session.user_id])
        except NoAnswer:
            answered.append(False)
        else:
            answered.append(True)
    assert [True, False, False, True] == answered
