"""What several processes on one store ask a real homeserver for, counted by a proxy in front of it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import pytest
import trio

from olmstate.messages import RoomId, UserId
from tests.interop.fault_proxy import FaultProxy, open_fault_proxy
from tests.interop.olmstate_process import OlmstateProcess, open_olmstate_process
from tests.interop.people import People, meet
from tests.interop.rust_device import RustDevice

PROCESSES = 3
DEAD = UserId("@somebody:far.example")
"""Of a homeserver that ours can't reach."""


@attrs.frozen(kw_only=True)
class Scene:
    """Several processes of one device, in a room with somebody."""

    people: People
    proxy: FaultProxy
    processes: Sequence[OlmstateProcess]
    friend: RustDevice
    room: RoomId

    def asked(self) -> list[str]:
        """By the library, or as what it made is sent; the members are asked for by the test's programs."""
        return [path for path in self.proxy.asked() if not path.endswith("/members")]

    async def all_send(self, also: Sequence[UserId] = ()) -> set[str]:
        """At once; what was said."""
        said = {f"message {number} after {len(self.proxy.passed)}" for number in range(len(self.processes))}
        async with trio.open_nursery() as nursery:
            for process, body in zip(self.processes, said, strict=True):
                nursery.start_soon(process.send, self.room, body, also)
        return said


@pytest.fixture
async def scene(people: People, tmp_path: Path) -> AsyncGenerator[Scene]:
    """Everybody has the room's key, and nobody has more to upload."""
    friend = await people.rust()
    session = await people.homeserver.register("counted")
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(open_fault_proxy(session.url, people.homeserver.client))
        through = people.homeserver.through(proxy.url, session)
        processes = [
            await stack.enter_async_context(open_olmstate_process(through, tmp_path / "store", helper=helper))
            for helper in (False, *[True] * (PROCESSES - 1))
        ]
        room = await meet([processes[0], friend])
        scene = Scene(people=people, proxy=proxy, processes=processes, friend=friend, room=room)
        await processes[0].send(room, "the first")
        await friend.sync()
        await processes[0].sync()
        proxy.passed.clear()
        yield scene


SEND = "/rooms/ROOM/send/m.room.encrypted"


def without_rooms(paths: Sequence[str], room: RoomId) -> list[str]:
    quoted = room.replace("!", "%21").replace(":", "%3A")
    return [path.replace(quoted, "ROOM").replace(room, "ROOM") for path in paths]


async def test_a_send_where_nothing_has_changed_asks_for_nothing_but_the_send(scene: Scene) -> None:
    said = await scene.all_send() | await scene.all_send()
    assert [SEND] * (2 * PROCESSES) == without_rooms(scene.asked(), scene.room)
    await scene.friend.sync()
    assert said <= set(scene.friend.ears.bodies.values())


async def test_a_change_of_one_device_costs_one_query_over_all_processes(scene: Scene) -> None:
    second = await scene.people.rust(await scene.people.homeserver.log_in(scene.friend.session.user_id))
    await scene.processes[0].sync()
    said = await scene.all_send() | await scene.all_send()
    asked = without_rooms(scene.asked(), scene.room)
    once = ["/keys/query", "/keys/claim", "/sendToDevice/m.room.encrypted"]
    assert sorted([*once, *[SEND] * (2 * PROCESSES)]) == sorted(path for path in asked if path != "/sync")
    await second.sync()
    assert said <= set(second.ears.bodies.values())


async def test_a_dead_server_among_the_members_is_asked_for_as_seldom_as_its_back_off_says(scene: Scene) -> None:
    began = trio.current_time()
    said: set[str] = set()
    for _ in range(3):
        said |= await scene.all_send(also=[DEAD])
    allowed, again, wait = 1, 15.0, 15.0
    while again < trio.current_time() - began:  # on a slow machine it is due again
        allowed, wait = allowed + 1, 2 * wait
        again += wait
    queries = [json.loads(each.request.body) for each in scene.proxy.passed if each.path == "/keys/query"]
    assert 1 <= len(queries) <= allowed
    assert [[DEAD]] * len(queries) == [list(query["device_keys"]) for query in queries]
    assert [SEND] * (3 * PROCESSES) == [
        path for path in without_rooms(scene.asked(), scene.room) if path != "/keys/query"
    ]
    await scene.friend.sync()
    assert said <= set(scene.friend.ears.bodies.values())
