"""Supervisors over a store in memory, as the tests here run them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from olmstate.actors import Options, Supervisor, run_supervisor
from olmstate.actors._engine.runner import Runner
from olmstate.actors._engine.states import State
from olmstate.actors.testing import DEVICE, USER, Faults, Latency, MemoryDisk, MemoryStore
from olmstate.messages import Message, OlmStateError


@asynccontextmanager
async def supervised(
    disk: MemoryDisk,
    *,
    faults: Faults | None = None,
    latency: Latency | None = None,
    pid: int | None = None,
    options: Options | None = None,
) -> AsyncGenerator[Supervisor]:
    """A supervisor of Alice's device, with a handle of its own."""
    store = MemoryStore(disk, faults=faults, latency=latency, pid=pid)
    try:
        async with run_supervisor(store, user_id=USER, device_id=DEVICE, options=options) as supervisor:
            yield supervisor
    finally:
        store.presence.close()  # as closing the store does


async def refusal(supervisor: Supervisor, message: Message[Any]) -> OlmStateError:
    """The error that a message is answered with."""
    with pytest.raises(OlmStateError) as caught:
        await supervisor.ask(message)
    return caught.value


def runner_of(supervisor: Supervisor) -> Runner:
    """What runs it: no user sees that."""
    return supervisor._runner  # pyright: ignore[reportPrivateUsage]


def state_of(supervisor: Supervisor) -> State:
    """Its present state: a type checker takes an attribute for one that stays as it was."""
    return supervisor.state
