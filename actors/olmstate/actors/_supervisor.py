"""What a user holds of a supervisor: asking, subscribing, and where it is. What runs it is not the user's to call."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar, overload

import trio
from trio.lowlevel import enable_ki_protection

from olmstate.messages import Event, JsonObject, Message, ReceiveSync, SyncReceived, SyncToken

from ._engine.runner import Runner
from ._engine.states import State

R = TypeVar("R")
V = TypeVar("V", bound=Event)
V2 = TypeVar("V2", bound=Event)
V3 = TypeVar("V3", bound=Event)
V4 = TypeVar("V4", bound=Event)


class SyncTurn:
    """The turn of whoever syncs. `Supervisor.sync_turn` gives it."""

    def __init__(self, supervisor: Supervisor, since: str | None) -> None:
        self._supervisor = supervisor
        self.since = since
        """The ``since`` of the next request; None: there was no sync yet."""

    async def receive(self, sync: JsonObject | str | bytes) -> SyncReceived:
        """Take in the response to a request since `since`, as `ReceiveSync` does, and move on.

        Raises:
            NoAccount: The store is empty.
            MalformedMessage: It isn't one; nothing was taken in.
        """
        received = await self._supervisor.ask(ReceiveSync(sync=sync, since=self.since))
        self.since = await self._supervisor.ask(SyncToken())
        return received


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
            TypeError: One of ``types`` is no class of events, or ``since`` is no whole number.
            ValueError: ``since`` is below 0, or comes without `Lagged`.
        """
        return self._runner.subscribe(*types, since=since)

    def sync_turn(self) -> AbstractAsyncContextManager[SyncTurn]:
        """Wait until no other process syncs, and be the one that does while the block runs.

        ``async with supervisor.sync_turn() as turn:``, then a /sync since `SyncTurn.since`, then `SyncTurn.receive`.
        One block a long poll lets others have it in between. The kernel frees it when a process dies. Nothing breaks
        if two sync all the same; but what one syncs of the rooms, the other doesn't see.

        Raises:
            ActorStopped: The supervisor was closed meanwhile.
            StoreError: The store can't be used.
        """
        return _InTurn(self, self._runner)

    @property
    def state(self) -> State:
        """Where it is."""
        return self._runner.state


class _InTurn(AbstractAsyncContextManager[SyncTurn]):
    """A block whose task is the one that syncs. No asynchronous generator: see `hidden_nursery`."""

    def __init__(self, supervisor: Supervisor, runner: Runner) -> None:
        self._supervisor = supervisor
        self._runner = runner

    @enable_ki_protection
    async def __aenter__(self) -> SyncTurn:
        await self._runner.take_sync_role()
        try:
            return SyncTurn(self._supervisor, await self._supervisor.ask(SyncToken()))
        except BaseException:
            self._runner.leave_sync_role()
            raise

    @enable_ki_protection
    async def __aexit__(self, *_: object) -> None:
        self._runner.leave_sync_role()
