"""Counts the steps that are taken while it watches, and lets something happen at one of them.

Owns: `Watch`.
Rule: it sees what Trio, the store and the actors do from outside: the product has no hooks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from traceback import walk_stack
from typing import Any

import trio

from olmstate.actors._engine.actor import Actor
from olmstate.actors._engine.runner import Runner
from olmstate.actors._engine.subscriptions import Subscriptions
from olmstate.actors.testing import Faults, Step
from olmstate.messages import Message, Reply
from tests.faults.history import Json
from tests.simulation.strikes import Steps, Strike, Unit

FOR_SUBSCRIBERS = {
    method.__code__
    for method in (Runner._watch, Subscriptions.catch_up, Subscriptions._read_on)  # pyright: ignore[reportPrivateUsage]
}
"""What a supervisor does for subscribers alone. It tries again by itself."""


class Watch(trio.abc.Instrument):
    """See the module."""

    def __init__(self, strike: Strike | None, number: int, act: Callable[[], None]) -> None:
        """``act`` is called at step ``number``, from 1, of those that ``strike`` counts; None: never."""
        self.struck = False
        self.for_subscribers = False
        """It struck where others' commits are looked for, to tell subscribers: whoever asks hears nothing of that."""
        self.errors: list[BaseException] = []
        """What ``act`` has raised where Trio would print it and go on."""
        self._strike = strike
        self._number = number
        self._act = act
        self._on = False
        self._faults = Faults()
        self._first = self._last = 0
        self._ended: set[int] = set()
        self._task_steps = self._handled = 0

    @property
    def steps(self) -> Steps:
        """Those that were taken."""
        return Steps(
            task_steps=self._task_steps,
            store_steps=[step.operation for step in self._faults.steps[self._first : self._last]],
            ended=frozenset(number - self._first + 1 for number in self._ended),
            handled=self._handled,
        )

    @contextmanager
    def over(self, faults: Faults, actors: Iterable[Actor[Any]]) -> Generator[None]:
        """Watch while the block runs."""
        watched = list(actors)
        self._faults, self._first = faults, len(faults.steps)
        if self._number and self._strike is not None and self._strike.unit == "store step":
            step = self._first + self._number - 1
            faults.at(step, self._strike_in_call, when="after" if self._strike.after else "before")
        for actor in watched:
            setattr(actor, "handle", self._counted(actor.handle))  # noqa: B010 - a type checker knows it as a method
        setattr(faults, "end", self._noted(faults.end))  # noqa: B010
        trio.lowlevel.add_instrument(self)
        self._on = True
        try:
            yield
        finally:
            self._on = False
            trio.lowlevel.remove_instrument(self)
            delattr(faults, "end")
            for actor in watched:
                delattr(actor, "handle")
            self._last = len(faults.steps)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - Trio's
        """Count it, and strike before the one that was asked for."""
        if self._on:
            self._task_steps += 1
            if self._is_now("task step", self._task_steps):
                try:
                    self._strike_now()
                except Exception as error:  # noqa: BLE001 - Trio would print it and go on
                    self.errors.append(error)

    def _noted(self, end: Callable[[Step], None]) -> Callable[[Step], None]:
        def noted(step: Step) -> None:
            if self._on:
                self._ended.add(step.number)
            end(step)

        return noted

    def _counted(self, handle: Callable[[Message[Json]], Reply]) -> Callable[[Message[Json]], Reply]:
        def counted(message: Message[Json]) -> Reply:
            self._handled += self._on
            now = self._is_now("handled", self._handled)
            if now and self._strike is not None and not self._strike.after:
                self._strike_now()
            try:
                return handle(message)
            finally:
                if now and not self.struck:
                    self._strike_now()

        return counted

    def _is_now(self, unit: Unit, number: int) -> bool:
        strike = self._strike
        return self._on and not self.struck and strike is not None and (unit, number) == (strike.unit, self._number)

    def _strike_in_call(self) -> None:
        self.for_subscribers = any(frame.f_code in FOR_SUBSCRIBERS for frame, _ in walk_stack(None))
        if self._on:  # one that was planned for a step that never came, and comes now, is none of ours
            self._strike_now()

    def _strike_now(self) -> None:
        self.struck = True
        self._act()
