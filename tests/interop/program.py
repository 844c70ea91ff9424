"""A counterpart in a process of its own, which is asked in lines of JSON.

Owns: the process, its pipes, and what it writes to stderr, for the error that tells of its end.
Rule: one question at a time. An answer to a question that was cancelled is dropped: each carries its question's number.
Why: counterparts have event loops, languages and licences of their own; nothing of theirs is imported.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import attrs
import trio

from olmstate.messages import Json

PATIENCE = 60
"""Seconds for an answer: nothing that we ask for takes one. Without it, a program that hangs would hang CI."""


class ProgramError(Exception):
    """The program answered that it couldn't, or it is gone."""

    def __init__(self, error: str, *, code: str | None = None, withheld: str | None = None) -> None:
        super().__init__(error)
        self.code = code
        """Of a room event that can't be decrypted, in the program's own terms."""
        self.withheld = withheld


@attrs.define(eq=False)
class Program:
    """A running program; `open_program` starts one."""

    name: str
    _process: trio.Process
    _errors: IO[bytes]
    ready: Json = None
    """What it said when it was ready."""
    _buffer: bytearray = attrs.field(factory=bytearray)
    _numbers: count[int] = attrs.field(factory=lambda: count(1))
    _turn: trio.Lock = attrs.field(factory=trio.Lock)

    async def ask(self, command: str, **arguments: object) -> Json:
        """The command's result, or `ProgramError`."""
        async with self._turn:
            number = next(self._numbers)
            line = json.dumps({"id": number, "cmd": command, **arguments}).encode() + b"\n"
            assert self._process.stdin is not None
            with trio.CancelScope(shield=True):  # half a line would spoil the next
                try:
                    await self._process.stdin.send_all(line)
                except trio.BrokenResourceError:
                    raise self._gone() from None
            while True:
                answer = json.loads(await self._line())
                if answer["id"] == number:
                    break
        if not answer["ok"]:
            raise ProgramError(answer["error"], code=answer.get("code"), withheld=answer.get("withheld"))
        return answer["result"]

    async def wait_until_ready(self) -> None:
        """Wait for the first line."""
        self.ready = json.loads(await self._line())

    async def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        await self._process.wait()

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        with trio.move_on_after(PATIENCE) as patience:
            while (end := self._buffer.find(b"\n")) < 0:
                chunk = await self._process.stdout.receive_some()
                if not chunk:
                    await self._process.wait()
                    raise self._gone()
                self._buffer += chunk
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            return line
        assert patience.cancelled_caught
        raise ProgramError(f"{self.name} hasn't answered for {PATIENCE} s; it wrote:\n{self._written()}")

    def _gone(self) -> ProgramError:
        return ProgramError(f"{self.name} ended with {self._process.returncode}; it wrote:\n{self._written()}")

    def _written(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-4_000:]


@asynccontextmanager
async def open_program(name: str, command: Sequence[str | Path]) -> AsyncGenerator[Program]:
    """Run a program until the block is left, or the test's process ends: it ends when its stdin does."""
    with TemporaryFile() as errors:
        process = await trio.lowlevel.open_process(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdin is not None
        try:
            program = Program(name, process, errors)
            await program.wait_until_ready()
            yield program
        finally:
            with trio.CancelScope(shield=True, deadline=math.inf):
                await process.stdin.aclose()
                with trio.move_on_after(5):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()
                assert process.stdout is not None
                await process.stdout.aclose()
