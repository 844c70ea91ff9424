"""Trio as a guest of the running asyncio loop: one for all supervisors of that loop, while any is open.

Owns: the guest run, its nursery, and how many use it.
Rule: both loops run in one thread. Neither waits for the other: asyncio code starts a task in the guest's nursery and
waits for a future; Trio code starts an asyncio task and waits for an event.
Why one: Trio has one run a thread. A second supervisor on the same loop shares it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import trio
from outcome import Outcome

from olmstate.messages import ActorStopped

from ._interrupts import Interrupts

R = TypeVar("R")
T = TypeVar("T")


class Guest:
    """Trio, beside a loop."""

    _guests: dict[asyncio.AbstractEventLoop, Guest] = {}  # noqa: RUF012 - a registry: one a loop, until it ends

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """A guest of ``loop``; nothing runs yet."""
        self.loop = loop
        self.users = 0
        self._ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._stop = trio.Event()
        self._interrupts = Interrupts(loop)
        self.nursery: trio.Nursery | None = None

    @classmethod
    async def enter(cls) -> Guest:
        """The running loop's guest; it stays until it was left as often as it was entered.

        Raises:
            RuntimeError: Trio runs in this thread already, and not as this loop's guest.
        """
        loop = asyncio.get_running_loop()
        while (ending := cls._guests.get(loop)) is not None and ending.users == 0:
            await asyncio.wait([ending.ended])  # Trio has one run a thread: the next one begins then
            await asyncio.sleep(0)  # whoever has ended it takes it away
        guest = cls._guests.get(loop)
        if guest is None:
            guest = cls(loop)
            guest._start()
            cls._guests[loop] = guest
        guest.users += 1
        try:
            await asyncio.shield(guest._ready)
        except BaseException:
            await guest.leave()
            raise
        return guest

    def _start(self) -> None:
        self._interrupts.begin()
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self.loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=self.loop.call_soon,
            done_callback=self._done,
            host_uses_signal_set_wakeup_fd=True,
        )

    async def _main(self) -> None:
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            self._ready.set_result(None)
            await self._stop.wait()
            nursery.cancel_scope.cancel()

    def _done(self, result: Outcome[None]) -> None:
        try:
            result.unwrap()
        except BaseException as error:  # noqa: BLE001 - whoever leaves last is told
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)

    async def leave(self) -> None:
        """Use it no more. The last one ends it."""
        self.users -= 1
        if self.users == 0:
            self._stop.set()
            try:
                await finished(self.ended)
            finally:
                self._interrupts.end()
                self._guests.pop(self.loop, None)

    def start(self, run: Callable[[], Awaitable[object]]) -> None:
        """Run an asynchronous Trio function in the background; it must not raise.

        Raises:
            ActorStopped: The guest has ended.
        """
        assert self.nursery is not None  # noqa: S101 - `enter` has waited for it
        if not self.users:
            raise ActorStopped
        self.nursery.start_soon(run)

    async def run(self, function: Callable[[], Awaitable[R]]) -> R:
        """Run an asynchronous Trio function from asyncio; cancelling the one cancels the other, and waits for its end.

        Raises:
            ActorStopped: The guest has ended, or ends meanwhile.
            BaseException: As ``function`` raises.
        """
        future: asyncio.Future[R] = self.loop.create_future()
        ended: asyncio.Future[None] = self.loop.create_future()
        scope = trio.CancelScope()

        async def run() -> None:
            try:
                with scope:
                    result = await function()
                    if not future.done():
                        future.set_result(result)
                if not future.done():
                    future.cancel()
            except Exception as error:  # noqa: BLE001 - it is its asker's
                if not future.done():
                    future.set_exception(error)
            finally:
                if not future.done():
                    future.set_exception(ActorStopped())  # the guest has ended, and this with it
                ended.set_result(None)

        self.start(run)
        try:
            return await future
        except asyncio.CancelledError:
            scope.cancel()
            await finished(ended)  # whoever goes on knows that it isn't begun any more
            raise

    def from_trio(self, function: Callable[[T], Coroutine[Any, Any, R]]) -> Callable[[T], Awaitable[R]]:
        """An asynchronous Trio function that runs one of asyncio's."""

        async def run(argument: T) -> R:
            done = trio.Event()
            task = self.loop.create_task(function(argument))
            task.add_done_callback(lambda _: done.set())
            try:
                await done.wait()
            except trio.Cancelled:
                task.cancel()
                with trio.CancelScope(shield=True):
                    await done.wait()
                raise
            if task.cancelled():
                raise ConnectionAbortedError("the task was cancelled")
            return task.result()

        return run


async def finished(future: asyncio.Future[R]) -> R:
    """The result of what has to end, whether this task is cancelled meanwhile or not; then the cancellation goes on.

    Raises:
        BaseException: As ``future`` has it.
        asyncio.CancelledError: The task was cancelled.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    result = future.result()
    if cancelled is not None:
        raise cancelled
    return result
