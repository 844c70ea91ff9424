"""A supervisor that runs while a block does.

Owns: the task that it runs in, and the end of the block.
Rule: whatever happens at the end, an exception, a cancellation, Ctrl-C, several of them, the task ends, and the block
with it: within the time to drain, and what a commit takes that was begun.
Why: the task is shielded, since whoever has sent something may have told others. So nothing else can end it.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from olmstate.messages import InternalError

from .bugs import report
from .hidden_nursery import HiddenNursery
from .runner import Runner

T = TypeVar("T")


class Running(AbstractAsyncContextManager[T]):
    """Run a supervisor while the block runs; what was asked in it is answered before it ends."""

    def __init__(self, runner: Runner, handle: T, *, drain: float) -> None:
        """Not running yet.

        Args:
            runner: Over an open store.
            handle: What the block gets.
            drain: Seconds that closing waits for what was asked before.
        """
        self._runner = runner
        self._handle = handle
        self._drain = drain
        self._scope = trio.CancelScope(shield=True)
        self._nursery = HiddenNursery()

    @enable_ki_protection
    async def __aenter__(self) -> T:
        nursery = await self._nursery.__aenter__()
        nursery.start_soon(self._run)
        return self._handle

    @enable_ki_protection
    async def _run(self) -> None:
        with self._scope:
            await self._runner.run()

    @enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        out = raised
        try:
            # cancelled or not, what was sent is finished
            with trio.move_on_after(self._drain, shield=True):
                await self._runner.close()
        except InternalError as error:
            if raised is None:
                out = error
            else:
                report("closing", error)
        except BaseException as error:  # noqa: BLE001 - Ctrl-C, which no shield keeps out; it goes on below
            out = error
        finally:
            self._scope.cancel()
        swallowed = await self._nursery.__aexit__(None if out is None else type(out), out, trace)
        if out is not raised and out is not None:
            raise out
        return swallowed
