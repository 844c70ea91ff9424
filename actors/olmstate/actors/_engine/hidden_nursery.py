"""A nursery that whoever uses a context manager of ours doesn't see: what comes out of it isn't wrapped in a group.

The rule: what the block raised comes out as it was. Where a task of ours has failed, that is what comes out, for
whoever got `ActorStopped` only felt it. Both come out, in a group, where neither explains the other.

Classes, here and where supervisors are opened, and no asynchronous generators: Trio keeps those in a `WeakSet`, whose
callback runs when one is collected, at the end of each block. A Ctrl-C in that callback is printed and forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import trio
from trio.lowlevel import enable_ki_protection

from olmstate.messages import ActorStopped


class HiddenNursery(AbstractAsyncContextManager[trio.Nursery]):
    """A nursery whose exceptions come out alone."""

    def __init__(self) -> None:
        """Not opened yet."""
        self._nursery = trio.open_nursery()

    @enable_ki_protection
    async def __aenter__(self) -> trio.Nursery:
        return await self._nursery.__aenter__()

    @enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._nursery.__aexit__(kind, raised, trace)
        except BaseExceptionGroup as group:
            cause = _cause(group, raised)
        if cause is raised:
            return False
        raise cause  # not in the handler: the exception keeps the context that it had


def _cause(group: BaseExceptionGroup[BaseException], raised: BaseException | None) -> BaseException:
    """What to tell of ``group``, part of which the block has ``raised``."""
    from_block = [] if raised is None else _leaves(raised)
    causes: list[BaseException] = []
    for error in group.exceptions:
        leaves = _leaves(error)
        if raised is not None and leaves == from_block:
            causes.append(raised)  # Trio looks for cancellations in a group, and leaves a copy of it
        elif all(leaf in from_block for leaf in leaves):
            causes.append(error)
        else:
            causes.append(_alone(error))  # a group of ours
    causes = [error for error in causes if not _says_only_stopped(error)] or causes
    return causes[0] if len(causes) == 1 or _says_only_stopped(causes[0]) else group.derive(causes)


def _alone(error: BaseException) -> BaseException:
    """The one exception in a group that says more than `ActorStopped`, however deep."""
    telling = [inside for inside in _inside(error) if not _says_only_stopped(inside)] or _inside(error)
    return _alone(telling[0]) if len(telling) == 1 else error


def _says_only_stopped(error: BaseException) -> bool:
    return all(isinstance(leaf, ActorStopped) for leaf in _leaves(error))


def _leaves(error: BaseException) -> list[BaseException]:
    inside = _inside(error)
    return [leaf for part in inside for leaf in _leaves(part)] if inside else [error]


def _inside(error: BaseException) -> Sequence[BaseException]:
    parts: Sequence[BaseException] = getattr(error, "exceptions", ())
    return parts
