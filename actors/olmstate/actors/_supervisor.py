"""What a user holds of a supervisor: asking, subscribing, and where it is. What runs it is not the user's to call."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import trio

from olmstate.messages import Event, Message

from ._engine.runner import Runner
from ._engine.states import State

R = TypeVar("R")
V = TypeVar("V", bound=Event)


class Supervisor:
    """The way in to a device's state: ask it, and subscribe to what it publishes. `open_supervisor` runs one."""

    __slots__ = ("_runner",)

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def ask(self, message: Message[R]) -> Coroutine[Any, Any, R]:
        """Send a message and wait for its reply: ``reply = await supervisor.ask(message)``.

        Cancelled before its command was begun, nothing happens; after, the command is finished and its reply is lost.

        Raises:
            OlmStateError: What the message's class names, `StoreError`, or, which is a bug, `InternalError`.
            ActorStopped: The supervisor was closed.
            TypeError: It is no message that olmstate knows.
        """
        return self._runner.ask(message)  # not awaited here: that would cost each message another coroutine

    def subscribe(self, *types: type[V]) -> AbstractContextManager[trio.MemoryReceiveChannel[V]]:
        """Receive the events of ``types`` that are published in a ``with supervisor.subscribe(…) as events:``."""
        return self._runner.subscribe(*types)

    @property
    def state(self) -> State:
        """Where it is."""
        return self._runner.state
