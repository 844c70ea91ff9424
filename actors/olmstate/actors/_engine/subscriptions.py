"""Who wants to hear of which events. A subscription outlives every invalidation: nothing here is cached state.

Owns: the subscribers, and how far each has come in the stream of shared events (see `stream`).
Rule: a subscriber hears of each commit's events once, in the commits' order, whoever made the commit; or it is told
that it `Lagged`. A commit never waits for one. Who keeps up is *live*: it is given what is published, in that moment.
Who doesn't, since its channel is full, or since it begins in the past, reads from the store at its own pace, in a task
of its own, until it is live.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from olmstate.messages import ActorStopped, Event, Lagged, SharedEvent, StoreError, StorePoisoned

from .stream import Told

V = TypeVar("V", bound=Event)

BUFFER = 1024
"""Events that wait in a subscriber's channel, before the others stay in the store."""

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
"""The channel was closed, by its subscriber, or by us: nobody reads it."""


@attrs.define(eq=False, kw_only=True)
class Subscription:
    """One subscriber."""

    types: tuple[type[Event], ...]
    channel: trio.MemorySendChannel[Any]
    position: int | None
    """The generation up to which it has heard everything; None: from whatever is first learnt of."""
    live: bool
    missed: bool = False
    """An event that only this process hears found the channel full."""

    @property
    def follows(self) -> bool:
        """Whether it wants to hear of shared events."""
        return any(issubclass(each, SharedEvent) or each is Event for each in self.types)

    def wanted(self, generation: int, events: Sequence[SharedEvent]) -> list[SharedEvent]:
        """What of a commit's events it hears, each with its position."""
        wanted = [event for event in events if isinstance(event, self.types)]
        last = len(wanted) - 1
        return [attrs.evolve(event, position=generation - (at < last)) for at, event in enumerate(wanted)]

    def offer(self, generation: int, events: Sequence[SharedEvent]) -> None:
        """Tell it of a commit, if there is room; else it isn't live any more."""
        wanted = self.wanted(generation, events)
        if len(wanted) > self.room:
            self.live = False
            return
        for event in wanted:
            self.send_nowait(event)
        self.position = generation

    @property
    def room(self) -> int:
        """Events that its channel can take at once."""
        return BUFFER - self.channel.statistics().current_buffer_used

    def send_nowait(self, event: Event) -> None:
        """Put an event into the channel; if there is no room, it is missed."""
        try:
            self.channel.send_nowait(event)
        except trio.WouldBlock:
            self.missed, self.live = True, False
        except _GONE:
            pass


def _check(types: Sequence[object], since: object) -> None:
    """Refuse what can't be subscribed to.

    Raises:
        TypeError: One of ``types`` is no kind of event, or ``since`` is no whole number.
        ValueError: ``since`` is no position, or comes without `Lagged`.
    """
    for each in types:
        if not isinstance(each, type) or not issubclass(each, Event):
            name = each.__name__ if isinstance(each, type) else type(each).__name__
            raise TypeError(f"subscribe takes classes of events; {name} is none")
    if since is None:
        return
    if not isinstance(since, int) or isinstance(since, bool):
        raise TypeError(f"since must be a position, which is a whole number, not {type(since).__name__}")
    if since < 0:
        raise ValueError("since must be a position, which is not below 0")
    if Lagged not in types:
        raise ValueError("whoever subscribes since a position must subscribe to Lagged, too")


class Subscriptions:
    """The present subscribers."""

    def __init__(self, read: Callable[[int], Awaitable[Told]], *, pause: float) -> None:
        """Nobody yet.

        Args:
            read: Reads the stream from a generation on.
            pause: Seconds after which what the store has refused is tried again.
        """
        self._read = read
        self._pause = pause
        self._all: list[Subscription] = []
        self._changed = trio.Event()
        self._behind = trio.Event()
        self._known: int | None = None
        """The newest generation that was learnt of; None: none yet."""
        self._closed = False

    @contextmanager
    @enable_ki_protection
    def subscribe(self, *types: type[V], since: int | None = None) -> Generator[trio.MemoryReceiveChannel[V]]:
        """The events of ``types`` that are published in the block; shared ones ``since`` a position."""
        _check(types, since)
        send, receive = trio.open_memory_channel[Any](BUFFER)
        if self._closed:
            send.close()  # a subscriber that comes too late is told so, as one that asks something is
        one = Subscription(types=types, channel=send, position=since, live=since is None)
        if one.follows and since is None:
            one.position = self._known
        self._all.append(one)
        self._wake_watchers()
        self._wake_if_behind(one)
        try:
            yield receive
        finally:
            self._all.remove(one)
            self._wake_watchers()
            send.close()
            receive.close()

    def publish(self, event: Event) -> None:
        """Give ``event``, which only this process hears, to everybody who wants it."""
        for each in self._all:
            if isinstance(event, each.types):
                each.send_nowait(event)
                self._wake_if_behind(each)

    def committed(self, generation: int, events: Sequence[SharedEvent]) -> None:
        """Tell of a commit of our own. Who hasn't heard of all commits before it hears of this one in its turn."""
        self._known = max(generation, self._known or 0)
        for each in self._all:
            if each.live and each.position == generation - 1:
                each.offer(generation, events)
            self._wake_if_behind(each)

    def learnt(self, generation: int) -> None:
        """Others have committed, up to this generation."""
        self._known = max(generation, self._known or 0)
        for each in self._all:
            if each.position is None and each.follows:
                each.position = generation
            self._wake_if_behind(each)

    async def catch_up(self) -> None:
        """Tell those who are live of what others have committed, as far as a slice of time allows.

        Raises:
            StoreError: It can't be read.
        """
        behind = [each for each in self._all if each.live and self._is_behind(each)]
        if not behind or self._known is None:
            return
        known, since = self._known, min(each.position or 0 for each in behind)
        told = await self._read(since)
        for each in behind:
            if (each.position or 0) < told.trimmed:
                each.live = False
            for generation, events in told.commits:
                if each.live and (each.position or 0) < generation:
                    each.offer(generation, events)
            if each.live and told.whole:
                each.position = max(each.position or 0, known)
            self._wake_if_behind(each)

    async def run(self) -> None:
        """Tell those who are behind, for as long as the supervisor runs."""
        reading: set[Subscription] = set()

        async def read_on(each: Subscription) -> None:
            try:
                await self._read_on(each)
            finally:
                reading.discard(each)

        async with trio.open_nursery() as nursery:
            while True:
                await self._behind.wait()
                self._behind = trio.Event()
                for each in self._all:
                    if not each.live and each not in reading:
                        reading.add(each)
                        nursery.start_soon(read_on, each)
                try:
                    await self.catch_up()
                except StorePoisoned:
                    pass  # nothing comes any more
                except StoreError:
                    await trio.sleep(self._pause)
                    self._behind.set()

    async def _read_on(self, each: Subscription) -> None:
        """Tell one at its own pace, until it is live."""
        while not each.live and each in self._all:
            try:
                await self._read_some(each)
            except _GONE:
                return
            except (StorePoisoned, ActorStopped):
                return  # nothing comes any more
            except StoreError:
                await trio.sleep(self._pause)

    async def _read_some(self, each: Subscription) -> None:
        if each.missed:
            each.missed = False
            await self._tell_lagged(each, None)
        if each.position is None or self._known is None:
            each.live = each.position is None  # or it waits until anything is known
            if not each.live:
                await self._wait_known()
            return
        known = self._known
        if each.position > known:
            await self._tell_lagged(each, known)  # it has followed another store, or a newer one
            each.position = known
        told = await self._read(each.position)
        if each.position < told.trimmed:
            await self._tell_lagged(each, told.trimmed)
            each.position = told.trimmed
        for generation, events in told.commits:
            if each.position < generation:
                for event in each.wanted(generation, events):
                    await each.channel.send(event)
                each.position = generation
        if told.whole:
            each.position = max(each.position, known)
        each.live = not self._is_behind(each) and not each.missed

    async def _tell_lagged(self, each: Subscription, position: int | None) -> None:
        if isinstance(lagged := Lagged(position=position), each.types):
            await each.channel.send(lagged)

    async def _wait_known(self) -> None:
        while self._known is None:
            await self._behind.wait()

    def _is_behind(self, each: Subscription) -> bool:
        return each.position is not None and self._known is not None and each.position < self._known

    def _wake_if_behind(self, each: Subscription) -> None:
        if not each.live or self._is_behind(each):
            self._behind.set()

    def wanted(self, event_type: type[Event]) -> bool:
        """Whether anybody subscribes to such events."""
        return any(issubclass(event_type, each.types) for each in self._all)

    @property
    def followed(self) -> bool:
        """Whether anybody subscribes to events that other processes cause."""
        return any(each.follows for each in self._all)

    async def wait_changed(self) -> None:
        """Until somebody subscribes or leaves."""
        await self._changed.wait()

    def close(self) -> None:
        """End every subscription's iteration, also of those to come."""
        self._closed = True
        for each in self._all:
            each.channel.close()

    def _wake_watchers(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
