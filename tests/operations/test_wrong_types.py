"""Whatever a program puts into a message, it is told so in its own line, or by a typed error; and nobody else is harmed."""

from __future__ import annotations

from typing import Any

import pytest

from olmstate.actors import Supervisor
from olmstate.messages import (
    DeviceIdentity,
    ImportAccount,
    Message,
    OlmStateError,
    OneTimeKeys,
    SyncToken,
)
from tests.operations.conftest import Device
from tests.operations.wrong_values import MESSAGES, PARTS, VALUES, right_arguments, spoiled


def test_every_message_has_right_arguments() -> None:
    me = DeviceIdentity(user_id="@alice:example.org", device_id="A", curve25519="", ed25519="")
    assert {*MESSAGES, *PARTS} == right_arguments(me).keys()


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_all(value: Any, alice: Supervisor, me: DeviceIdentity, device: Device, tmp_path) -> None:
    n = refused = asked = typed = 0
    right = right_arguments(me)
    for cls in MESSAGES:
        for field, argument in right[cls].items():
            for path, wrong in spoiled(argument, value):
                try:
                    message = cls(**{**right[cls], field: wrong})
                except (TypeError, ValueError) as error:
                    assert str(error).startswith(f"{cls.__name__}.{field}"), error
                    refused += 1
                    continue
                asked += 1
                print(cls.__name__, field, path)
                try:
                    await alice.ask(message)
                except OlmStateError as error:
                    str(error)
                    typed += 1
    print(refused, asked, typed)
    await alice.ask(OneTimeKeys())
    await alice.ask(SyncToken())
