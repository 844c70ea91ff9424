"""Odd answers of a homeserver, or of a proxy before it: no bug, nobody waits for ever, and what matters is asked again.

Each kind of request is answered once with something odd at one place of the true answer, and truly from then on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any, Final, cast

import attrs
import pytest
import trio
import trio.testing

from olmstate.actors import Supervisor
from olmstate.messages import (
    BootstrapCrossSigning,
    CreateSecretStorage,
    DescribeSecretStorage,
    DeviceAddress,
    DeviceId,
    EncryptForRoom,
    InternalError,
    Message,
    OlmStateError,
    OutgoingRequests,
    PublishAccount,
    RecoverFromSecretStorage,
    Request,
    RequestKind,
    RequestVerification,
    Response,
    RoomId,
    SendToDevice,
    UpdateDevices,
    UserId,
    WriteSecret,
)
from tests.actors.world import World
from tests.operations.transport import transport_of
from tests.operations.wrong_values import spoiled

BOB = UserId("@bob:example.org")
ROOM = RoomId("!room:example.org")
PATIENCE = 40.0
"""Virtual seconds: longer than until a request goes out again for the first time."""
MISSING: Final = object()
VALUES: Final = {
    "null": None,
    "true": True,
    "negative": -1,
    "huge": 10**400,
    "float": 1.5,
    "text": "text",
    "empty text": "",
    "surrogate": "\ud800",
    "list": [],
    "list of null": [None],
    "object": {},
    "object of null": {"@bob:example.org": None},
    "missing": MISSING,
}


def odd_answers(answer: object, value: object) -> Iterator[object]:
    """``answer`` with ``value`` in the place of each of its parts, one at a time, or without the part."""
    return without_each(answer) if value is MISSING else spoiled(answer, value)


def without_each(answer: object) -> Iterator[object]:
    yield {}
    if isinstance(answer, dict):
        by_key = cast("dict[str, object]", answer)
        for key, part in by_key.items():
            yield {each: other for each, other in by_key.items() if each != key}
            for inside in without_each(part):
                yield {**by_key, key: inside}


@attrs.define
class Spoiling:
    """A transport that gives one odd answer to each kind of request."""

    world: World
    place: int
    value: object
    done: set[RequestKind] = attrs.field(factory=set[RequestKind])

    async def send(self, request: Request) -> Response:
        response = await transport_of(self.world.session)(request)
        odd = dict(enumerate(odd_answers(json.loads(response.body), self.value)))
        if request.kind in self.done or self.place not in odd:
            return response
        self.done.add(request.kind)
        return Response(status=response.status, body=json.dumps(odd[self.place]).encode())


async def ask(supervisor: Supervisor, message: Message[Any]) -> Any:  # noqa: ANN401 - its reply
    """An odd answer may be an error that somebody meant."""
    with trio.fail_after(10 * PATIENCE):
        try:
            return await supervisor.ask(message)
        except InternalError:
            raise
        except OlmStateError:
            return None


async def live(supervisor: Supervisor, me: UserId) -> None:
    """Have each kind of request made."""
    phone = DeviceAddress(user_id=BOB, device_id=DeviceId("PHONE"))
    await ask(supervisor, PublishAccount(patience=PATIENCE))
    await ask(supervisor, UpdateDevices(users=(BOB, me), patience=PATIENCE))
    await ask(supervisor, BootstrapCrossSigning(patience=PATIENCE))
    created = await ask(supervisor, CreateSecretStorage(patience=PATIENCE))
    await ask(supervisor, EncryptForRoom(room_id=ROOM, members=(BOB,), type="m.test", content={}, patience=PATIENCE))
    await ask(supervisor, SendToDevice(devices=(phone,), type="org.example", content={}))
    await ask(supervisor, RequestVerification(user_id=BOB))
    await ask(supervisor, DescribeSecretStorage(patience=PATIENCE))
    if created is not None:
        key = created.key.recovery_key
        await ask(supervisor, RecoverFromSecretStorage(key=key, patience=PATIENCE))
        await ask(supervisor, WriteSecret(name="org.example", secret="s", key=key, patience=PATIENCE))


async def try_place(place: int, value: object) -> bool:
    """Whether any answer has such a place."""
    world = World()
    spoiling = Spoiling(world, place, value)
    world._send = spoiling.send  # pyright: ignore[reportPrivateUsage]
    me = world.session.user_id
    await world.log_in(BOB, "PHONE", one_time_keys=50, fallback=True)
    await world.log_in(me, "SECOND", one_time_keys=50, fallback=True)
    async with world.process(account=False) as supervisor:
        await live(supervisor, me)
        await trio.sleep(PATIENCE)
        long = 50 * PATIENCE
        await supervisor.ask(PublishAccount(patience=long))
        await supervisor.ask(UpdateDevices(users=(BOB, me), patience=long))
        await supervisor.ask(EncryptForRoom(room_id=ROOM, members=(BOB,), type="m.test", content={}, patience=long))
        assert () == await supervisor.ask(OutgoingRequests())
    return bool(spoiling.done)


@pytest.mark.parametrize("name", VALUES)
async def test_an_odd_answer_is_no_bug_and_does_no_lasting_harm(
    name: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    for place in (0, 1 + list(VALUES).index(name)):
        assert await try_place(place, VALUES[name])
    assert [] == [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.full
@pytest.mark.parametrize("name", VALUES)
async def test_an_odd_value_anywhere_in_an_answer_is_no_bug(
    name: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    place = 0
    while await try_place(place, VALUES[name]):  # an answer that has one has all before it
        place += 1
    assert place > len(VALUES)
    assert [] == [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
