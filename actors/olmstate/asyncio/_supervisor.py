"""The supervisor as asyncio code holds it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

import trio

import olmstate.actors
from olmstate.actors import Options
from olmstate.actors._arguments import folder_of, options_of, text_of, transport_of
from olmstate.messages import ActorStopped, Event, JsonObject, Message, Request, Response, SyncReceived
from olmstate.storage import Secret

from ._guest import Guest, finished

R = TypeVar("R")
V = TypeVar("V", bound=Event)
V2 = TypeVar("V2", bound=Event)
V3 = TypeVar("V3", bound=Event)
V4 = TypeVar("V4", bound=Event)

Transport = Callable[[Request], Coroutine[Any, Any, Response]]
"""An ``async def`` of asyncio that sends a request and gives the answer."""


class Events(AsyncIterator[V], Generic[V]):
    """What a subscriber hears: ``async for event in events``. It ends with the supervisor.

    One event waits here, and the others in the channel behind it, which has a bound: see
    `olmstate.actors.Supervisor.subscribe`.
    """

    def __init__(self) -> None:
        self._queue = asyncio.Queue[V | None]()
        self._taken = trio.Event()

    async def put(self, event: V) -> None:
        """Hear an event, under Trio; returns once somebody has taken it."""
        self._taken = trio.Event()
        self._queue.put_nowait(event)
        await self._taken.wait()

    def end(self) -> None:
        """There will be no more."""
        self._queue.put_nowait(None)

    async def __anext__(self) -> V:
        """The next one."""
        event = await self._queue.get()
        if event is None:
            self._queue.put_nowait(None)  # for whoever asks again
            raise StopAsyncIteration
        self._taken.set()
        return event


class SyncTurn:
    """The turn of whoever syncs. `Supervisor.sync_turn` gives it."""

    def __init__(self, guest: Guest, turn: olmstate.actors.SyncTurn) -> None:
        self._guest = guest
        self._turn = turn

    @property
    def since(self) -> str | None:
        """The ``since`` of the next request; None: there was no sync yet."""
        return self._turn.since

    async def receive(self, sync: JsonObject | str | bytes) -> SyncReceived:
        """Take in the response to a request since `since`; see `olmstate.actors.SyncTurn.receive`."""
        return await self._guest.run(partial(self._turn.receive, sync))


class Supervisor:
    """The way in to a device's state, from asyncio. `open_supervisor` runs one."""

    def __init__(self, guest: Guest, supervisor: olmstate.actors.Supervisor) -> None:
        self._guest = guest
        self._supervisor = supervisor
        self._closed = False

    async def ask(self, message: Message[R]) -> R:
        """Send a message and wait for its reply.

        Cancelled before its command was begun, nothing happens; after, the command is finished and its reply is lost.

        Raises:
            OlmStateError: What the message's class names, `StoreError`, or, which is a bug, `InternalError`.
            ActorStopped: The supervisor was closed.
            TypeError: It is no message that olmstate knows.
        """
        if self._closed:
            raise ActorStopped
        return await self._guest.run(partial(self._supervisor.ask, message))

    # mypy has but the base of several classes for one type variable, and no union
    @overload
    def subscribe(self, one: type[V], /, *, since: int | None = None) -> AbstractContextManager[Events[V]]: ...
    @overload
    def subscribe(
        self, one: type[V], two: type[V2], /, *, since: int | None = None
    ) -> AbstractContextManager[Events[V | V2]]: ...
    @overload
    def subscribe(
        self, one: type[V], two: type[V2], three: type[V3], /, *, since: int | None = None
    ) -> AbstractContextManager[Events[V | V2 | V3]]: ...
    @overload
    def subscribe(
        self, one: type[V], two: type[V2], three: type[V3], four: type[V4], /, *, since: int | None = None
    ) -> AbstractContextManager[Events[V | V2 | V3 | V4]]: ...
    @overload
    def subscribe(self, *types: type[V], since: int | None = None) -> AbstractContextManager[Events[V]]: ...

    def subscribe(self, *types: type[Event], since: int | None = None) -> AbstractContextManager[Events[Any]]:
        """Receive the events of ``types`` that are published in a ``with supervisor.subscribe(…) as events:``.

        See `olmstate.actors.Supervisor.subscribe`.
        """
        return self._subscribe(*types, since=since)

    @contextmanager
    def _subscribe(self, *types: type[Event], since: int | None = None) -> Generator[Events[Any]]:
        events, scope = Events[Any](), trio.CancelScope()
        with self._supervisor.subscribe(*types, since=since) as channel:

            async def forward() -> None:
                try:
                    with scope:
                        async for event in channel:
                            await events.put(event)
                except trio.ClosedResourceError:
                    pass  # the block has ended
                finally:  # also if the guest has ended while an event waited to be taken
                    events.end()

            try:
                self._guest.start(forward)
            except ActorStopped:
                events.end()  # as for whoever comes after the supervisor's end, while the guest goes on for others
            try:
                yield events
            finally:
                scope.cancel()

    @asynccontextmanager
    async def sync_turn(self) -> AsyncGenerator[SyncTurn]:
        """Wait until no other process syncs, and be the one that does while the block runs.

        See `olmstate.actors.Supervisor.sync_turn`.
        """
        if self._closed:
            raise ActorStopped
        had: asyncio.Future[olmstate.actors.SyncTurn] = self._guest.loop.create_future()
        given_back: asyncio.Future[None] = self._guest.loop.create_future()
        scope = trio.CancelScope()

        async def have_it() -> None:
            try:
                with scope:
                    async with self._supervisor.sync_turn() as turn:
                        had.set_result(turn)
                        await trio.sleep_forever()
            except Exception as error:  # noqa: BLE001 - the asker's
                if not had.done():
                    had.set_exception(error)
            finally:
                if not had.done() and not scope.cancel_called:
                    had.set_exception(ActorStopped())  # the guest has ended, and this with it
                given_back.set_result(None)

        self._guest.start(have_it)
        try:
            yield SyncTurn(self._guest, await asyncio.shield(had))
        finally:
            scope.cancel()
            await finished(given_back)

    def close(self) -> None:
        """Whoever asks from now on is told that it has stopped."""
        self._closed = True


def open_supervisor(
    folder: str | os.PathLike[str],
    *,
    user_id: str,
    device_id: str,
    key: Secret | None,
    options: Options | None = None,
    transport: Transport | None = None,
) -> AbstractAsyncContextManager[Supervisor]:
    """Open the store of a device and run its supervisor while the block runs, on the running asyncio loop.

    Several may be open, on one loop, in one process, or in many.

    Args:
        folder: The store's own folder; made, with mode 0700, if it isn't there.
        user_id: Whose device.
        device_id: Which device.
        key: 32 random bytes, or a passphrase, which takes 0.1 s and 64 MiB at each opening; None leaves the store
            unsealed.
        options: Capacities and waiting times.
        transport: Sends requests to the homeserver, as `olmstate.actors.open_supervisor` describes; of asyncio.

    Raises:
        StoreError: The store can't be opened.
        RuntimeError: Trio runs in this thread by itself.
        ValueError, TypeError: As `olmstate.actors.open_supervisor` refuses arguments.
    """
    transport_of(transport)
    return _Opened(
        folder_of(folder),
        user_id=text_of("user_id", user_id),
        device_id=text_of("device_id", device_id),
        key=key,
        options=options_of(options),
        transport=transport,
    )


class _Opened(AbstractAsyncContextManager[Supervisor]):
    """A supervisor that runs while the block does. If it fails, the block is cancelled, and raises why."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        user_id: str,
        device_id: str,
        key: Secret | None,
        options: Options,
        transport: Transport | None,
    ) -> None:
        self._open = partial(
            olmstate.actors.open_supervisor, folder, user_id=user_id, device_id=device_id, key=key, options=options
        )
        self._transport = transport
        self._stop = trio.Event()
        self._leaving = False

    async def __aenter__(self) -> Supervisor:
        self._guest = await Guest.enter()
        self._task = asyncio.current_task()
        self._opened: asyncio.Future[olmstate.actors.Supervisor] = self._guest.loop.create_future()
        self._ended: asyncio.Future[None] = self._guest.loop.create_future()
        self._guest.start(self._serve)
        try:
            self._supervisor = Supervisor(self._guest, await asyncio.shield(self._opened))
        except BaseException:
            self._leaving = True
            self._stop.set()
            try:
                await finished(asyncio.gather(self._ended, return_exceptions=True))
            finally:
                await self._guest.leave()
            raise
        return self._supervisor

    async def _serve(self) -> None:
        transport = None if self._transport is None else self._guest.from_trio(self._transport)
        try:
            async with self._open(transport=transport) as supervisor:
                self._opened.set_result(supervisor)
                await self._stop.wait()
        except Exception as error:  # noqa: BLE001 - the block's
            if not self._opened.done():
                self._opened.set_exception(error)
                self._ended.set_result(None)
                return
            self._ended.set_exception(error)
            if not self._leaving and self._task is not None:
                self._task.cancel()
        except BaseException:
            if not self._opened.done():
                self._opened.cancel()
            self._ended.cancel()
            raise
        else:
            self._ended.set_result(None)

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = self._ended.done()
        self._leaving = True
        self._supervisor.close()
        self._stop.set()
        try:
            await finished(self._ended)
        except Exception:
            if failed and self._task is not None:
                self._task.uncancel()  # it was cancelled for this
            raise
        finally:
            await self._guest.leave()
