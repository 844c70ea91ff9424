"""Taking in any number of to-device events, in as many turns as they are work.

Owns: which events go into which turn.
Rule: the events of a device keep their order. Those of a device whose work is over the budget of a turn come after all
others, and a turn has no more of them than the last one got done.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeAlias

import attrs

from olmstate.actors._engine.capability import Asking
from olmstate.actors._engine.turn import Turn
from olmstate.actors._to_device.receiving import receive_to_device
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import is_object
from olmstate.messages import Command, DecryptToDevice, Json, ToDeviceDelayed, ToDeviceOutcome

EVENTS_A_TURN = 256
LEAST_EVENTS = 4

_Claimed: TypeAlias = tuple[str | None, str | None]
"""A device by its user and key, as an event names them. By the key alone, others' events would count as its own."""


class DecryptSome(QuietStruct, Command[tuple[ToDeviceOutcome | None, ...]], kw_only=True, frozen=True):
    """Decrypt some events; None for one that waits for a later turn."""

    events: tuple[Json, ...]


async def decrypt_some(turn: Turn, command: DecryptSome) -> tuple[ToDeviceOutcome | None, ...]:
    """Decrypt some events in one turn."""
    return await receive_to_device(turn, command.events)


async def decrypt_to_device(supervisor: Asking, command: DecryptToDevice) -> tuple[ToDeviceOutcome, ...]:
    """Decrypt events that came another way than by a sync."""

    async def take(events: tuple[Json, ...], *, last: bool) -> tuple[ToDeviceOutcome | None, ...]:  # noqa: ARG001 - all are the same
        return await supervisor.ask(DecryptSome(events=events))

    return await in_turns(supervisor, command.events, take)


class Take(Protocol):
    """Takes some events in, in one turn."""

    def __call__(self, events: tuple[Json, ...], *, last: bool) -> Awaitable[tuple[ToDeviceOutcome | None, ...]]:
        """What became of each; None for one that waits. ``last``: there are no others left."""
        ...


async def in_turns(supervisor: Asking, events: Sequence[Json], take: Take) -> tuple[ToDeviceOutcome, ...]:
    """Have ``take`` take all events in, some a turn; it is asked once at the least."""
    plan = _Plan(events=events)
    while True:
        chunk = plan.next_chunk()
        outcomes = await take(tuple(events[at] for at in chunk), last=plan.is_empty)
        for delayed in plan.note(chunk, outcomes):
            supervisor.publish(delayed)
        if plan.is_done:
            return plan.result()


@attrs.define(kw_only=True)
class _Plan:
    """What is taken in, and in which order the rest comes; by position."""

    events: Sequence[Json]
    _done: dict[int, ToDeviceOutcome] = attrs.field(factory=dict[int, ToDeviceOutcome])
    _next: deque[int] = attrs.field(init=False)
    _later: deque[int] = attrs.field(factory=deque[int])
    """Of devices that were over the budget once."""
    _slow: set[_Claimed] = attrs.field(factory=set[_Claimed])
    """Those devices."""
    _size: int = EVENTS_A_TURN
    """How many of them a turn."""

    def __attrs_post_init__(self) -> None:
        self._next = deque(range(len(self.events)))

    @property
    def is_empty(self) -> bool:
        """Whether all are taken in, or are being."""
        return not self._next and not self._later

    @property
    def is_done(self) -> bool:
        """Whether all are taken in."""
        return len(self._done) == len(self.events)

    def next_chunk(self) -> list[int]:
        """What to take in now."""
        chunk: list[int] = []
        while self._next and len(chunk) < EVENTS_A_TURN:
            at = self._next.popleft()
            slow = bool(self._slow) and _claimed(self.events[at]) in self._slow
            (self._later if slow else chunk).append(at)
        while not self._next and self._later and len(chunk) < min(self._size, EVENTS_A_TURN):
            chunk.append(self._later.popleft())
        return chunk

    def note(self, chunk: Sequence[int], outcomes: Sequence[ToDeviceOutcome | None]) -> list[ToDeviceDelayed]:
        """What became of a chunk; the devices that are found to be over the budget."""
        waiting: list[int] = []
        for at, outcome in zip(chunk, outcomes, strict=True):
            if outcome is None:
                waiting.append(at)
            else:
                self._done[at] = outcome
        found = Counter(device for at in waiting if (device := _claimed(self.events[at])) not in self._slow)
        self._slow |= found.keys()
        self._later.extendleft(reversed(waiting))  # they were sent before those of their devices that are there
        self._size = max(LEAST_EVENTS, 2 * (len(chunk) - len(waiting))) if waiting else 2 * self._size
        return [
            ToDeviceDelayed(claimed_sender=sender, claimed_sender_key=key, events=number)
            for (sender, key), number in found.items()
        ]

    def result(self) -> tuple[ToDeviceOutcome, ...]:
        """What became of each."""
        return tuple(self._done[at] for at in range(len(self.events)))


def _claimed(event: Json) -> _Claimed:
    if not is_object(event):
        return None, None
    sender, content = event.get("sender"), event.get("content")
    key = content.get("sender_key") if is_object(content) else None
    return (
        sender if isinstance(sender, str) else None,
        key.rstrip("=") if isinstance(key, str) else None,
    )
