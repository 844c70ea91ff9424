"""Wrong values in messages: refused where they are made, or by a typed error; and nobody else is harmed.

Each part of each argument of each message is replaced by each of many values, one at a time.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import trio

from olmstate.actors import Supervisor
from olmstate.messages import (
    DeviceIdentity,
    EncryptRoomEvent,
    ExportRoomKeys,
    ImportAccount,
    Message,
    OlmStateError,
    PrepareOneTimeKeys,
    SyncToken,
)
from tests.operations.device import ALICE, ALICE_DEVICE, ROOM, ready_room
from tests.operations.peer import Peer
from tests.operations.wrong_values import MESSAGES, PARTS, VALUES, right_arguments, spoiled

EXISTING = [message for message in MESSAGES if message is not ImportAccount]


def identity() -> DeviceIdentity:
    peer = Peer()
    return DeviceIdentity(user_id=ALICE, device_id=ALICE_DEVICE, curve25519=peer.curve25519, ed25519=peer.ed25519)


def test_every_message_that_can_be_asked_is_checked_and_tried() -> None:
    right = right_arguments(identity())
    assert {*MESSAGES, *PARTS} == right.keys()
    assert len(MESSAGES) >= 27
    for cls, arguments in right.items():
        assert {field.name for field in cls.__attrs_attrs__} == arguments.keys(), cls
        unchecked = [field.name for field in cls.__attrs_attrs__ if field.converter is None]
        assert unchecked == [], f"{cls.__name__} needs field_transformer=checked"
        cls(**arguments)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_what_a_constructor_refuses_it_names_with_its_field(value: object) -> None:
    for cls, arguments in right_arguments(identity()).items():
        for field, argument in arguments.items():
            for wrong in spoiled(argument, value):
                said = refusal_of(cls, {**arguments, field: wrong})
                assert said is None or said.startswith(f"{cls.__name__}.{field}")


def refusal_of(cls: type[object], arguments: dict[str, Any]) -> str | None:
    """What the constructor says; None: it takes them."""
    try:
        cls(**arguments)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


async def ask_all(supervisor: Supervisor, messages: list[type[Message[Any]]], me: DeviceIdentity, value: object) -> int:
    """Ask whatever can be made with ``value`` in it; how much that was."""
    asked = 0
    right = right_arguments(me)
    for cls in messages:
        for field, argument in right[cls].items():
            for wrong in spoiled(argument, value):
                try:
                    message = cls(**{**right[cls], field: wrong})
                except (TypeError, ValueError):
                    continue
                asked += 1
                with contextlib.suppress(OlmStateError):
                    await supervisor.ask(message)
    return asked


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_whatever_is_asked_the_supervisor_goes_on_and_all_that_is_stored_can_be_read(
    value: object, alice: Supervisor, other: Supervisor, me: DeviceIdentity
) -> None:
    await ready_room(alice)
    assert await ask_all(alice, EXISTING, me, value) > 50
    for supervisor in (alice, other):
        await ready_room(supervisor)
        await supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.room.message", content={}))
        await supervisor.ask(ExportRoomKeys())
        await supervisor.ask(PrepareOneTimeKeys())
        await supervisor.ask(SyncToken())


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_whatever_is_imported_as_an_account_the_supervisor_goes_on(value: object, empty: Supervisor) -> None:
    await ask_all(empty, [ImportAccount], identity(), value)
    assert await empty.ask(SyncToken()) is None


async def test_one_tasks_wrong_argument_stops_no_others(alice: Supervisor) -> None:
    # it did, for all of a process
    got: list[str | None] = []

    async def ask_as_it_should_be() -> None:
        for _ in range(20):
            got.append(await alice.ask(SyncToken()))  # noqa: PERF401 - one after another

    async def ask_wrongly() -> None:
        for value in VALUES.values():
            await ask_all(alice, EXISTING[:4], identity(), value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_as_it_should_be)
        nursery.start_soon(ask_wrongly)
    assert 20 == len(got)
