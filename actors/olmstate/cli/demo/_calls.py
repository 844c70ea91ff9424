"""Calls both ways between two processes, over a pair of pipes: a line of JSON each.

Rule: a caller gets the answer, or a typed refusal, or learns that the other side is gone (`HungUp`); what the other
side had written before it went still counts. Every call that comes in is served in a task of its own.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs
import trio
from outcome import Error, Outcome, Value

from olmstate.messages import Json, JsonObject, OlmStateError

Serve: TypeAlias = Callable[[str, JsonObject], Awaitable[Json]]
"""Answers one call: method and arguments. May raise `OlmStateError`, which the caller gets as `Refused`."""

CHUNK_BYTES = 1 << 18


class HungUp(Exception):
    """The other side is gone. Whether it has done what was asked is unknown."""


@attrs.define
class Refused(Exception):
    """The other side answered with an error of the library's."""

    name: str
    """Of the error's class."""
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


class Calls:
    """One end of the line."""

    def __init__(self, send: trio.abc.SendStream, lines: Lines, serve: Serve) -> None:
        """Over open streams; `run` must run meanwhile."""
        self._send = send
        self._lines = lines
        self._serve = serve
        self._sending = trio.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, trio.MemorySendChannel[Outcome[Json]]] = {}
        self._hung_up = False

    @property
    def under_way(self) -> int:
        """Calls that the other side has not answered yet."""
        return len(self._waiting)

    async def call(self, method: str, /, **arguments: Json) -> Json:
        """Ask the other side.

        Raises:
            Refused: It answered with an error.
            HungUp: It is gone.
        """
        if self._hung_up:
            await trio.lowlevel.checkpoint()  # whoever tries again must not keep others from telling him more
            raise HungUp
        number = next(self._numbers)
        send, receive = trio.open_memory_channel[Outcome[Json]](1)
        self._waiting[number] = send
        try:
            await self._write({"call": number, "method": method, "arguments": arguments})
            answer = await receive.receive()
        except trio.EndOfChannel:
            raise HungUp from None
        finally:
            self._waiting.pop(number, None)
        return answer.unwrap()

    async def run(self) -> None:
        """Serve and hand out answers until the other side hangs up."""
        try:
            async with trio.open_nursery() as nursery:
                while (line := await self._lines.read()) is not None:
                    message = json.loads(line)
                    if "method" in message:
                        nursery.start_soon(self._answer, message)
                    elif (waiting := self._waiting.get(message["answer"])) is not None:
                        waiting.send_nowait(_answer_in(message))
                nursery.cancel_scope.cancel()
        finally:
            self._hung_up = True
            for waiting in self._waiting.values():
                waiting.close()

    async def _answer(self, message: JsonObject) -> None:
        number = message["call"]
        try:
            value = await self._serve(message["method"], message["arguments"])
        except OlmStateError as error:
            await self._write({"answer": number, "error": type(error).__name__, "text": str(error)})
        else:
            await self._write({"answer": number, "value": value})

    async def _write(self, message: JsonObject) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            async with self._sending:
                await self._send.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the end of its lines tells, and comes after all that it had still to say


def _answer_in(message: JsonObject) -> Outcome[Json]:
    if "error" in message:
        return Error(Refused(message["error"], message["text"]))
    return Value(message["value"])


class Lines:
    """The whole lines that come over a stream; one that is cut off by the end is none."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        """Over an open stream."""
        self._stream = stream
        self._buffer = bytearray()

    async def read(self) -> bytes | None:
        """The next line; None at the end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            chunk = await self._stream.receive_some(CHUNK_BYTES)
            if not chunk:
                return None
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line
