"""A process with a supervisor, told by a test what to do; `RemoteHost` is the other end.

    python worker.py

It reads frames from its standard input until that ends, as it does when the test ends, however that happened. Every
request runs in a task of its own. The work is done in a forked child, which may be killed: the next one takes over
both pipes, and needn't import everything again.
"""

from __future__ import annotations

import os
import signal
import sys

import trio

from olmstate.messages import OlmStateError
from tests.stateful.frames import FrameReader, write_frame
from tests.stateful.hosts import LocalHost


async def serve() -> None:
    """Do what the frames say."""
    frames = FrameReader(trio.lowlevel.FdStream(os.dup(0)))
    output = trio.lowlevel.FdStream(os.dup(1))
    sending = trio.Lock()

    async def send(number: int, value: object, *, good: bool) -> None:
        async with sending:
            await write_frame(output, (number, good, value))

    async with trio.open_nursery() as nursery:
        host = LocalHost(nursery)

        async def answer(number: int, request: object) -> None:
            try:
                value = await host.do(request)
            except OlmStateError as error:
                await send(number, error, good=False)
            else:
                await send(number, value, good=True)

        await send(0, os.getpid(), good=True)
        while True:
            try:
                number, request = await frames.read()
            except EOFError:
                break
            nursery.start_soon(answer, number, request)
        nursery.cancel_scope.cancel()


def main() -> None:
    """Serve, in one child after another."""
    while True:
        child = os.fork()
        if child == 0:
            trio.run(serve)
            return
        _, status = os.waitpid(child, 0)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
