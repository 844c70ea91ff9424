"""An envelope: a message on its way, and the slot for its answer.

The first answer wins. An asker that is cancelled marks its envelope as abandoned: if its message was not begun, it
never is; if it was, it is finished and nobody reads the answer. An answer is never a `trio.Cancelled`: that belongs
to one task.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs
import trio
from outcome import Error, Outcome, Value

from olmstate.messages import Message, OlmStateError

R = TypeVar("R")
E = TypeVar("E", bound=OlmStateError)


@attrs.define(eq=False)
class Envelope(Generic[R]):
    """A message, when it was asked, and its answer."""

    message: Message[R]
    generation: int
    """The newest that the store was known to have when this was asked: no older state may answer."""
    abandoned: bool = attrs.field(default=False, init=False)
    _answered: trio.Event = attrs.field(factory=trio.Event, init=False)
    _outcome: Outcome[R] | None = attrs.field(default=None, init=False, repr=False)

    def answer(self, value: R) -> None:
        """Give the reply."""
        self.resolve(Value(value))

    def fail(self, error: Exception) -> None:
        """Give the error."""
        self.resolve(Error(error))

    def resolve(self, outcome: Outcome[R]) -> None:
        """Give the reply or the error, unless one was given."""
        if self._outcome is None:
            self._outcome = outcome
            self._answered.set()

    async def wait(self) -> R:
        """The reply.

        Raises:
            OlmStateError: What was answered instead.
        """
        try:
            await self._answered.wait()
        except BaseException:  # a cancellation, or Ctrl-C
            self.abandoned = True
            raise
        assert self._outcome is not None  # noqa: S101 - resolve() sets both
        return self._outcome.unwrap()


def own_error(error: E) -> E:
    """One's own of an error that several get: an exception collects the traces of all tasks that raise it."""
    copy = attrs.evolve(error)
    copy.__cause__ = error
    return copy
