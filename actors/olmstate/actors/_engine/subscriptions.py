"""Who wants to hear of which events. A subscription outlives every invalidation: nothing here is cached state.

A subscriber's channel is unbounded: events are small and rare, and neither a commit nor another subscriber may wait
for a slow one.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from olmstate.messages import Event

V = TypeVar("V", bound=Event)


class Subscriptions:
    """The present subscribers."""

    def __init__(self) -> None:
        self._channels: list[tuple[tuple[type[Event], ...], trio.MemorySendChannel[Any]]] = []
        self._changed = trio.Event()
        self._closed = False

    @contextmanager
    @enable_ki_protection
    def subscribe(self, *types: type[V]) -> Generator[trio.MemoryReceiveChannel[V]]:
        """The events of ``types`` that are published in the block."""
        send, receive = trio.open_memory_channel[Any](math.inf)
        if self._closed:
            send.close()  # a subscriber that comes too late is told so, as one that asks something is
        entry = (types, send)
        self._channels.append(entry)
        self._wake_watchers()
        try:
            yield receive
        finally:
            self._channels.remove(entry)
            self._wake_watchers()
            send.close()
            receive.close()

    def publish(self, event: Event) -> None:
        """Give ``event`` to everybody who wants it."""
        for types, channel in self._channels:
            if isinstance(event, types):
                # closed by its subscriber, or by us: nobody reads it
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    channel.send_nowait(event)

    def wanted(self, event_type: type[Event]) -> bool:
        """Whether anybody subscribes to such events."""
        return any(issubclass(event_type, types) for types, _ in self._channels)

    async def wait_changed(self) -> None:
        """Until somebody subscribes or leaves."""
        await self._changed.wait()

    def close(self) -> None:
        """End every subscription's iteration, also of those to come."""
        self._closed = True
        for _, channel in self._channels:
            channel.close()

    def _wake_watchers(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
