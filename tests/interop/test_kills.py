"""An olmstate process is killed while an answer of Synapse is on its way; another goes on with its store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
import trio

from tests.interop.claims import keys_left
from tests.interop.device import Device
from tests.interop.fault_proxy import Fault, FaultProxy, Kind, open_fault_proxy
from tests.interop.homeserver import Homeserver, HttpSession
from tests.interop.olmstate_process import OlmstateProcess, open_olmstate_process
from tests.interop.people import People, all_say, meet, sync_all, what_they_read
from tests.interop.program import ProgramError


@pytest.fixture
async def proxy(homeserver: Homeserver) -> AsyncGenerator[FaultProxy]:
    async with open_fault_proxy(homeserver.synapse.url, homeserver.client) as running:
        yield running


@pytest.fixture
async def session(homeserver: Homeserver, proxy: FaultProxy) -> HttpSession:
    return homeserver.through(proxy.url, await homeserver.register("killed"))


async def killed_while(device: OlmstateProcess, doing: Callable[[], Awaitable[object]], fault: Fault) -> None:
    """Have the device do something, and kill it when the proxy has the request, or the answer."""

    async def do() -> None:
        with suppress(ProgramError):
            await doing()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(do)
        await fault.arrived.wait()
        device.kill()
    fault.release()


@pytest.mark.parametrize("held", ["hold", "hold_answer"])
@pytest.mark.parametrize("path", ["/keys/query", "/keys/claim", "/sendToDevice/", "/send/m.room.encrypted/"])
async def test_after_a_kill_in_a_send_the_next_process_sends_and_reads(
    path: str, held: Kind, people: People, session: HttpSession, proxy: FaultProxy
) -> None:
    bob, carol = await people.rust(), await people.nio()
    async with open_olmstate_process(session, people.folder / "store") as alice:
        room = await meet([alice, bob, carol])
        await killed_while(alice, partial(alice.send, room, "perhaps"), proxy.add(held, path))
    async with open_olmstate_process(session, people.folder / "store") as alice:
        everybody: list[Device] = [alice, bob, carol]
        said = await all_say(everybody, room)
        await sync_all(everybody)
        assert [said] * 3 == what_they_read(everybody, said)
        assert [] == [list(device.ears.unread) for device in everybody if device.ears.unread]


@pytest.mark.parametrize("held", ["hold", "hold_answer"])
@pytest.mark.parametrize("path", ["/sync", "/keys/upload"])
async def test_after_a_kill_in_a_sync_the_next_process_has_all_that_came(
    path: str, held: Kind, people: People, session: HttpSession, proxy: FaultProxy
) -> None:
    bob, carol = await people.rust(), await people.nio()
    async with open_olmstate_process(session, people.folder / "store") as alice:
        room = await meet([alice, bob, carol])
        before = await all_say([bob, carol], room)
        await killed_while(alice, alice.sync, proxy.add(held, path))
    async with open_olmstate_process(session, people.folder / "store") as alice:
        said = before | await all_say([alice, bob, carol], room)
        await sync_all([alice, bob, carol])
        # the upload comes after the commit: the room keys that the killed process took in are there, but its events
        # were in its memory only
        to_read = said if path == "/sync" else {event_id: said[event_id] for event_id in said.keys() - before.keys()}
        assert [to_read, said, said] == what_they_read([alice, bob, carol], said)
        assert {} == alice.ears.unread
    assert 50 == await keys_left(session)
    assert {200} == {passed.status for passed in proxy.passed if passed.path == "/keys/upload"}


@pytest.mark.parametrize("held", ["hold", "hold_answer"])
@pytest.mark.parametrize("path", ["/keys/query", "/keys/claim", "/sendToDevice/"])
async def test_after_a_kill_an_event_for_a_device_that_was_stored_arrives_once_and_no_other(
    path: str, held: Kind, people: People, session: HttpSession, proxy: FaultProxy
) -> None:
    dave = await people.olmstate()
    async with open_olmstate_process(session, people.folder / "store") as alice:
        await killed_while(alice, partial(alice.post, dave.session, 1), proxy.add(held, path))
    async with open_olmstate_process(session, people.folder / "store") as alice:
        assert await alice.post(dave.session, 2)
        await sync_all([alice, dave])
        # before it was stored, nothing was: whoever asked knows that it has no answer
        assert [*([1] if path == "/sendToDevice/" else []), 2] == list(await dave.letters())
        assert [] == dave.trouble
    sent = [passed.request for passed in proxy.passed if passed.path == "/sendToDevice/m.room.encrypted"]
    assert (1 if path == "/sendToDevice/" else 0) == len(sent) - len({request.target for request in sent})
    assert len({request.target for request in sent}) == len({request.body for request in sent})
