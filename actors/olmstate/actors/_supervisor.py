"""What a user holds of a supervisor: asking, subscribing, and where it is. What runs it is not the user's to call."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeVar, overload

import trio

from olmstate.messages import Event, Message

from ._engine.runner import Runner
from ._engine.states import State

R = TypeVar("R")
V = TypeVar("V", bound=Event)
V2 = TypeVar("V2", bound=Event)
V3 = TypeVar("V3", bound=Event)
V4 = TypeVar("V4", bound=Event)


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

    # mypy has but the base of several classes for one type variable, and no union
    @overload
    def subscribe(
        self, one: type[V], /, *, since: int | None = None
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[V]]: ...
    @overload
    def subscribe(
        self, one: type[V], two: type[V2], /, *, since: int | None = None
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[V | V2]]: ...
    @overload
    def subscribe(
        self, one: type[V], two: type[V2], three: type[V3], /, *, since: int | None = None
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[V | V2 | V3]]: ...
    @overload
    def subscribe(
        self, one: type[V], two: type[V2], three: type[V3], four: type[V4], /, *, since: int | None = None
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[V | V2 | V3 | V4]]: ...
    @overload
    def subscribe(
        self, *types: type[V], since: int | None = None
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[V]]: ...

    def subscribe(
        self, *types: type[Event], since: int | None = None
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[Any]]:
        """Receive the events of ``types`` that are published in a ``with supervisor.subscribe(…) as events:``.

        Those of a `SharedEvent` come from all processes, in the order of their commits, 0.1 s after them at most
        (`Options.watch`); nothing is read from the store while nobody commits, and nothing is ever written for it.

        Args:
            types: Which events. At most 1,024 wait for a subscriber; of shared ones, more are no loss, since they stay
                in the store, and whoever subscribes to `Lagged` is told of other losses.
            since: The last `SharedEvent.position` that was dealt with, by any process before: what was committed later
                comes first. `Lagged` must be among ``types``. None: from now on.

        Raises:
            ValueError: ``since`` without `Lagged`.
        """
        return self._runner.subscribe(*types, since=since)

    @property
    def state(self) -> State:
        """Where it is."""
        return self._runner.state
