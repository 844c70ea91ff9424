"""Several supervisors on one store, asked from a test's own thread, one by one or all at once.

Owns: which of them are open, and the folder of each example.
Rule: the state machine runs in a thread of its own, Trio in another; what is asked is answered before the machine
goes on, so that its model knows the order of all that happened.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import attrs
import trio

from olmstate.messages import Json, Message, OlmStateError
from tests.stateful.hosts import Close, Host, Open, RemoteHost, SetClock

R = TypeVar("R")

Answer: TypeAlias = Json
"""A reply, or the `OlmStateError` that came instead."""

ALICE = "@alice:example.org"
ALICE_DEVICE = "ALICEDEV"
START = 1_700_000_000_000
"""Milliseconds since 1970."""


@attrs.define
class Fleet:
    """Hosts with supervisors of one device."""

    hosts: Sequence[Host]
    folder: Path
    capacities: Sequence[int | None] = (None,)
    """Of the hosts' caches, in turn."""
    now: int = attrs.field(default=START, init=False)
    _store: str = attrs.field(default="", init=False)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.hosts)

    # --- from the machine's thread --------------------------------------------------------------------------

    def start(self) -> None:
        """Open all on a new store."""
        self._store = tempfile.mkdtemp(dir=self.folder)
        self.now = START
        for number in range(self.size):
            self.open(number)

    def stop(self) -> None:
        """Close all."""
        for number in range(self.size):
            self._do(number, Close())

    def open(self, number: int) -> None:
        """Open one."""
        capacity = self.capacities[number % len(self.capacities)]
        opening = Open(
            folder=self._store,
            user_id=ALICE,
            device_id=ALICE_DEVICE,
            key=bytes(range(32)),
            now=self.now,
            capacity=capacity,
        )
        self._do(number, opening)

    def reopen(self, number: int) -> None:
        """Close one and open it again."""
        self._do(number, Close())
        self.open(number)

    def kill(self, number: int) -> bool:
        """Kill one's process, if it has one of its own, and open it in another."""
        host = self.hosts[number]
        if not isinstance(host, RemoteHost):
            return False
        trio.from_thread.run(host.kill)
        self.open(number)
        return True

    def set_clock(self, now: int) -> None:
        """Set everybody's wall clock."""
        self.now = now
        for number in range(self.size):
            self._do(number, SetClock(now))

    def ask(self, number: int, message: Message[R]) -> R:
        """Ask one."""
        return cast("R", self._do(number, message))

    def ask_all(self, asked: Sequence[tuple[int, Message[R]]]) -> list[R | OlmStateError]:
        """Ask several at once."""
        answers: list[Answer] = trio.from_thread.run(self._ask_all, asked)
        return answers

    def _do(self, number: int, request: object) -> Json:
        return trio.from_thread.run(self.hosts[number].do, request)

    # --- in Trio --------------------------------------------------------------------------------------------

    async def _ask_all(self, asked: Sequence[tuple[int, Message[R]]]) -> list[Answer]:
        answers: list[Answer] = [None] * len(asked)

        async def ask(position: int, number: int, message: Message[R]) -> None:
            try:
                answers[position] = await self.hosts[number].ask(message)
            except OlmStateError as error:
                answers[position] = error

        async with trio.open_nursery() as nursery:
            for position, (number, message) in enumerate(asked):
                nursery.start_soon(ask, position, number, message)
        return answers
