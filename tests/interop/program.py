"""A counterpart in a process of its own, which is asked in lines of JSON.

Owns: the process, its pipes, and what it writes to stderr, for the error that tells of its end.
Rule: one question at a time. An answer to a question that was cancelled is dropped: each carries its question's number.
Why: counterparts have event loops, languages and licences of their own; nothing of theirs is imported. A process serves
    many tests, since matrix-nio takes a second to start; each test has a Trio run of its own, so what is Trio's about
    it lives as long as `Process.used`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
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
class Process:
    """A running program, whichever test uses it."""

    name: str
    command: tuple[str, ...]
    _errors: IO[bytes]
    _process: subprocess.Popen[bytes] | None = None
    numbers: count[int] = attrs.field(factory=lambda: count(1))
    buffer: bytearray = attrs.field(factory=bytearray)
    """Of an answer that was not read to its end."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, if it isn't running."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self.buffer.clear()
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
            assert self._process.stdout is not None
            assert json.loads(self._process.stdout.readline() or '"gone"') != "gone", self.ending()
        return self._process

    @asynccontextmanager
    async def used(self) -> AsyncGenerator[Program]:
        """By one test; what it has left in the program is forgotten in the end."""
        process = self.start()
        assert process.stdin is not None
        assert process.stdout is not None
        async with (
            trio.lowlevel.FdStream(os.dup(process.stdin.fileno())) as asking,
            trio.lowlevel.FdStream(os.dup(process.stdout.fileno())) as answers,
        ):
            program = Program(self, asking, answers)
            yield program
            if process.poll() is None:
                await program.ask("forget")

    def kill(self) -> None:
        """SIGKILL, at whatever it is doing."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """It ends when its stdin does."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def ending(self) -> str:
        """What it said last."""
        self._errors.seek(0)
        written = self._errors.read().decode(errors="replace")[-4_000:]
        code = None if self._process is None else self._process.poll()
        return f"{self.name} {'is running' if code is None else f'ended with {code}'}; it wrote:\n{written}"


@attrs.define(eq=False)
class Program:
    """The same, for one test."""

    _process: Process
    _asking: trio.lowlevel.FdStream
    _answers: trio.lowlevel.FdStream
    _turn: trio.Lock = attrs.field(factory=trio.Lock)

    async def ask(self, command: str, **arguments: object) -> Json:
        """The command's result, or `ProgramError`."""
        async with self._turn:
            number = next(self._process.numbers)
            line = json.dumps({"id": number, "cmd": command, **arguments}).encode() + b"\n"
            with trio.CancelScope(shield=True):  # half a line would spoil the next
                try:
                    await self._asking.send_all(line)
                except trio.BrokenResourceError:
                    raise ProgramError(self._process.ending()) from None
            while True:
                answer = json.loads(await self._line())
                if answer["id"] == number:
                    break
        if not answer["ok"]:
            raise ProgramError(answer["error"], code=answer.get("code"), withheld=answer.get("withheld"))
        return answer["result"]

    async def _line(self) -> bytes:
        buffer = self._process.buffer
        with trio.move_on_after(PATIENCE):
            while (end := buffer.find(b"\n")) < 0:
                chunk = await self._answers.receive_some()
                if not chunk:
                    break
                buffer += chunk
            else:
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                return line
        raise ProgramError(self._process.ending())


@contextmanager
def running_program(name: str, command: tuple[str, ...]) -> Generator[Process]:
    """Have a program at hand until the block is left. Its stdin ends with this process, and so does it."""
    with TemporaryFile() as errors:
        process = Process(name, command, errors)
        try:
            process.start()
            yield process
        finally:
            process.stop()
