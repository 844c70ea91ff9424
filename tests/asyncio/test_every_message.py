"""Every message that can be asked goes through the bridge, and is answered as it is under Trio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import trio

import olmstate.actors
import olmstate.asyncio
from olmstate.messages import CreateAccount, IdentityKeys, Message, OlmStateError
from tests.operations.device import ALICE, ALICE_DEVICE, KEY
from tests.operations.wrong_values import MESSAGES, right_arguments

DEVICE: dict[str, Any] = {"user_id": ALICE, "device_id": ALICE_DEVICE, "key": KEY}
Ask: TypeAlias = Callable[[Message[Any]], Awaitable[Any]]


async def outcomes(ask: Ask) -> dict[str, str]:
    """What kind of answer each message gets, one after another."""
    await ask(CreateAccount())
    right = right_arguments(await ask(IdentityKeys()))
    found: dict[str, str] = {}
    for message in MESSAGES:
        try:
            answer = await ask(message(**right[message]))
        except OlmStateError as error:
            answer = error
        found[message.__name__] = type(answer).__name__
    return found


def test_every_message_is_answered_as_under_trio(tmp_path: Path) -> None:
    async def under_trio() -> dict[str, str]:
        async with olmstate.actors.open_supervisor(tmp_path / "trio", **DEVICE) as device:
            return await outcomes(device.ask)

    async def under_asyncio() -> dict[str, str]:
        async with olmstate.asyncio.open_supervisor(tmp_path / "asyncio", **DEVICE) as device:
            return await outcomes(device.ask)

    expected = trio.run(under_trio)
    assert len(MESSAGES) == len(expected)
    assert len(set(expected.values())) > 20
    assert expected == asyncio.run(under_asyncio())
