"""What goes wrong in a test, and how long things take: both by step, so that trouble comes where the test wants it.

A *step* is one call of the store's protocol. Steps are counted from 0, over all handles that share a `Faults`: run a
scenario once to learn its steps, then again once a step, each time with something going wrong there.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import attrs

from olmstate.storage import Table

Operation: TypeAlias = Literal["read", "page", "look", "commit", "acquire_nowait", "acquire", "contended"]
"""A step is named after the method that was called: of `Store`, or of its `Lock`."""

When: TypeAlias = Literal["before", "after"]
"""``before``: nothing has happened yet. ``after``: it has happened, and the caller hasn't heard of it."""


@attrs.frozen(kw_only=True)
class Step:
    """One call."""

    number: int
    operation: Operation
    table: Table | None = None
    """Of a read or a page."""


Latency: TypeAlias = Callable[[Step], float]
"""Seconds that a step takes, on Trio's clock. Half of them pass before the disk is touched, half after."""


def random_latency(seed: int, most: float = 0.01) -> Latency:
    """A latency for which each step takes up to ``most`` seconds, the same in each run with this ``seed``."""
    rng = random.Random(seed)  # noqa: S311 - a seeded generator is what makes a run repeat
    return lambda _: rng.uniform(0, most)


Fault: TypeAlias = Exception | Callable[[], object]
"""An exception that the step raises; or what is called, for a step that then goes on."""


@attrs.frozen
class _Planned:
    step: int | Operation
    fault: Fault
    when: When


class Faults:
    """A plan of what goes wrong, and the record of what was done.

    Example:
        The third step fails, the next commit's outcome is unknown (it is written, and nobody is told), and while the
        next read is on its way another process writes, then its asker is cancelled::

            faults = Faults()
            faults.at(2, StoreUnavailable(reason="I/O error"))
            faults.at("commit", StorePoisoned(reason="I/O error"), when="after")
            faults.at("read", disk.write_from_elsewhere, when="after")
            faults.at("read", scope.cancel, when="after")
            store = MemoryStore(disk, faults=faults)
    """

    def __init__(self) -> None:
        """Nothing goes wrong yet."""
        self.steps: list[Step] = []
        """What was done so far."""
        self._planned: list[_Planned] = []

    def at(self, step: int | Operation, fault: Fault, *, when: When = "before") -> None:
        """Plan one fault.

        What is planned strikes once; of several for the same moment the first, and the next one at the next step that
        it fits. So planning ``Fenced()`` twice at ``"commit"`` turns the next two commits back.

        Args:
            step: A step's number, or an operation: its next step.
            fault: An exception to raise, or a function to call: to write from elsewhere, to cancel a scope, …
            when: Before or after the disk is touched.

        Raises:
            ValueError: It would never strike: there is no such step, or no such moment.
            TypeError: Nothing would come of ``fault``: it is neither, or the class of an exception.
        """
        if isinstance(step, bool) or (step < 0 if isinstance(step, int) else step not in get_args(Operation)):
            raise ValueError(f"step must be a number from 0 on, or one of {', '.join(get_args(Operation))}")
        if when not in get_args(When):
            raise ValueError(f"when must be one of {', '.join(get_args(When))}")
        if isinstance(fault, type) or not (isinstance(fault, Exception) or callable(fault)):
            raise TypeError("fault must be an exception, as StoreFull() is, or a function")
        self._planned.append(_Planned(step, fault, when))

    def begin(self, operation: Operation, table: Table | None = None) -> Step:
        """Count a step, and let what is planned before it happen."""
        step = Step(number=len(self.steps), operation=operation, table=table)
        self.steps.append(step)
        self._strike(step, "before")
        return step

    def end(self, step: Step) -> None:
        """Let what is planned after a step happen."""
        self._strike(step, "after")

    def _strike(self, step: Step, when: When) -> None:
        for planned in self._planned:
            if planned.when == when and planned.step in (step.number, step.operation):
                self._planned.remove(planned)
                if isinstance(planned.fault, Exception):
                    raise planned.fault
                planned.fault()
                return
