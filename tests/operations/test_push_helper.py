"""A process that looks without syncing, as a push starts it, takes nothing away from the one that syncs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import attrs
import pytest

from olmstate.messages import (
    DecryptedToDevice,
    DeviceAddress,
    Inbox,
    InboxReceived,
    ReplayedToDevice,
    RoomId,
    RoomKeysReceived,
    RotationPeriod,
    SendToDevice,
    SyncToken,
)
from tests.interop.device import Heard
from tests.interop.olmstate_device import LETTER, OlmstateDevice, open_olmstate_device
from tests.interop.people import all_say, meet, sync_all
from tests.peer.homeserver import Homeserver

EVENTS = 40


@attrs.frozen
class Scene:
    """Bob writes to Alice, whose device has two processes."""

    homeserver: Homeserver
    main: OlmstateDevice
    helper: OlmstateDevice
    bob: OlmstateDevice
    room_id: RoomId


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncGenerator[Scene]:
    homeserver = Homeserver()
    alices, bobs = homeserver.log_in("@alice:example.org", "ALICE"), homeserver.log_in("@bob:example.org", "BOB")
    async with AsyncExitStack() as stack:
        main = await stack.enter_async_context(open_olmstate_device(alices, tmp_path / "alice"))
        helper = await stack.enter_async_context(open_olmstate_device(alices, tmp_path / "alice", helper=True))
        bob = await stack.enter_async_context(open_olmstate_device(bobs, tmp_path / "bob"))
        bob.rotation = RotationPeriod(messages=3)
        room_id = await meet([bob, main])
        yield Scene(homeserver, main, helper, bob, room_id)


@pytest.mark.parametrize("first", ["helper", "main", "by turns"])
async def test_each_of_two_readers_reads_every_event_whoever_is_first(scene: Scene, first: str) -> None:
    looked: list[str] = []
    said: list[str] = []
    for number in range(EVENTS):
        ((event_id, body),) = (await all_say([scene.bob], scene.room_id, f"event {number}")).items()
        said.append(body)
        steps: list[Callable[[], Awaitable[Heard | None]]] = [
            partial(scene.helper.look, scene.room_id, event_id),
            scene.main.sync,
        ]
        if first == "main" or (first == "by turns" and number % 2):
            steps.reverse()
        for step in steps:
            read = await step()
            if read is not None:
                looked.append(read.content["body"])
    assert said == looked
    assert said == list(scene.main.ears.bodies.values())
    assert {} == scene.main.ears.unread
    assert [] == scene.main.trouble + scene.helper.trouble


async def test_a_look_moves_no_token_and_leaves_the_to_device_events_with_the_homeserver(scene: Scene) -> None:
    before = await scene.main.device.ask(SyncToken())
    queued = scene.homeserver.queued_for(scene.main.session)
    (event_id,) = await all_say([scene.bob], scene.room_id)
    came = scene.homeserver.queued_for(scene.main.session)
    assert len(came) > len(queued)
    with scene.main.device.subscribe(RoomKeysReceived) as heard:
        await scene.helper.look(scene.room_id, event_id)
        assert 1 == len((await heard.receive()).room_keys)
    assert before == await scene.main.device.ask(SyncToken())
    assert came == scene.homeserver.queued_for(scene.main.session)
    await scene.main.sync()
    assert ReplayedToDevice in {type(each) for each in scene.main.taken}
    assert [event_id] == list(scene.main.ears.bodies)


async def test_what_is_the_apps_is_in_its_inbox_though_the_helper_has_decrypted_it(scene: Scene) -> None:
    alice = DeviceAddress(user_id=scene.main.session.user_id, device_id=scene.main.session.device_id)
    with scene.main.device.subscribe(InboxReceived) as heard:
        for number in (1, 2):
            letter = SendToDevice(devices=(alice,), type=LETTER, content={"number": number})
            assert (await scene.bob.device.ask(letter)).delivered
        (event_id,) = await all_say([scene.bob], scene.room_id)
        await scene.helper.look(scene.room_id, event_id)
        assert [LETTER, LETTER] == [event_type for _, event_type in (await heard.receive()).events]
    assert [1, 2] == list(await scene.main.letters())
    await scene.main.sync()
    assert [1, 2] == list(await scene.main.letters())


async def test_a_key_behind_more_events_than_a_sync_brings_is_found_and_none_of_them_is_lost(scene: Scene) -> None:
    alice = DeviceAddress(user_id=scene.main.session.user_id, device_id=scene.main.session.device_id)
    number = 2 * Homeserver.TO_DEVICE_LIMIT + 1
    for letter in range(number):
        await scene.bob.device.ask(SendToDevice(devices=(alice,), type=LETTER, content={"number": letter}))
    (event_id,) = await all_say([scene.bob], scene.room_id)
    await scene.helper.look(scene.room_id, event_id)
    await sync_all([scene.main])
    found: list[int] = []
    after = 0
    while (page := await scene.main.device.ask(Inbox(types=(LETTER,), after=after))).events:
        found += [each.event.content["number"] for each in page.events if isinstance(each.event, DecryptedToDevice)]
        after = page.events[-1].number
    assert list(range(number)) == found
    assert [event_id] == list(scene.main.ears.bodies)
