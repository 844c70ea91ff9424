"""What is heard across real processes, when those who write and those who listen are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from olmstate.actors import open_supervisor
from olmstate.messages import DevicesChanged, EventsReadable, InboxReceived, Lagged, RoomKeyRequestRefused, SharedEvent
from tests.operations.device import KEY

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
PATIENCE = 60
"""Seconds until a test that would hang fails."""


class Program:
    """A process that is killed in the end."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "tests.operations.stream_program", str(folder), *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)

    def line(self) -> str:
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        assert said, "it has ended"
        return said

    def kill(self) -> list[str]:
        """SIGKILL, unless it was; the whole lines that it still had said."""
        if self._process.returncode is not None:
            return []
        self._process.kill()
        assert self._process.stdout is not None
        rest = self._process.stdout.read()
        self._process.communicate()
        return rest.splitlines()[: rest.count("\n")]


@contextmanager
def program(folder: Path, *arguments: str) -> Generator[Program]:
    started = Program(folder, *arguments)
    try:
        yield started
    finally:
        started.kill()


async def everything(folder: Path) -> list[str]:
    """Whose devices are new, by the stream from its beginning."""
    async with open_supervisor(folder, user_id="@alice:example.org", device_id="ALICE", key=KEY) as supervisor:
        with supervisor.subscribe(DevicesChanged, Lagged, since=0) as events:
            heard: list[str] = []
            with trio.move_on_after(0.2):
                while True:
                    event = await events.receive()
                    assert isinstance(event, DevicesChanged)
                    heard.append(event.added[0].user_id)
            return heard


async def test_all_that_a_writer_that_is_killed_has_done_is_heard_once_and_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with trio.fail_after(PATIENCE), program(folder, "write") as first:
        said = [await trio.to_thread.run_sync(first.line)]
        async with open_supervisor(folder, user_id="@alice:example.org", device_id="ALICE", key=KEY) as supervisor:
            with supervisor.subscribe(DevicesChanged, Lagged, since=0) as events, program(folder, "write") as second:
                others = [await trio.to_thread.run_sync(second.line) for _ in range(20)]
                said += await trio.to_thread.run_sync(first.kill)
                others += await trio.to_thread.run_sync(second.kill)
                heard: list[str] = []
                positions: list[int | None] = []
                while not {*said, *others} <= set(heard):
                    event = await events.receive()
                    assert isinstance(event, DevicesChanged)
                    heard.append(event.added[0].user_id)
                    positions.append(event.position)
    assert len(heard) == len(set(heard))
    assert [*range(1, len(positions) + 1)] == positions
    for name in (said, others):
        assert name == [each for each in heard if each in name]


def names_of(event: SharedEvent | Lagged) -> list[str]:
    match event:
        case EventsReadable(events=events):
            return [event_id for _, event_id in events]
        case RoomKeyRequestRefused(session_id=session_id):
            return [session_id]
        case InboxReceived(events=received):
            return [event_type for _, event_type in received]
        case _:
            raise AssertionError(event)


@pytest.mark.parametrize(
    ("role", "kind"), [("read", EventsReadable), ("refuse", RoomKeyRequestRefused), ("bring", InboxReceived)]
)
async def test_what_writers_that_are_killed_have_learnt_is_heard_by_who_lives_and_who_comes_later(
    tmp_path: Path, role: str, kind: type[SharedEvent]
) -> None:
    folder = tmp_path / "store"
    heard: list[list[str]] = []
    said: list[str] = []
    with trio.fail_after(PATIENCE):
        for since in (None, 0):
            async with open_supervisor(folder, user_id="@alice:example.org", device_id="ALICE", key=KEY) as supervisor:
                with supervisor.subscribe(kind, Lagged, since=since) as events:
                    if since is None:
                        for _ in range(2):
                            with program(folder, role) as writer:
                                said += [await trio.to_thread.run_sync(writer.line) for _ in range(5)]
                                said += await trio.to_thread.run_sync(writer.kill)
                    names: list[str] = []
                    while not set(said) <= set(names):
                        names += names_of(await events.receive())
                    heard.append(names)
    for names in heard:
        assert len(names) == len(set(names))
        assert said == [name for name in names if name in said]


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.full)])
async def test_who_listens_is_killed_again_and_again_and_misses_nothing(tmp_path: Path, rounds: int) -> None:
    folder = tmp_path / "store"
    heard: list[str] = []
    position = "0"
    with trio.fail_after(PATIENCE), program(folder, "write") as writer:
        await trio.to_thread.run_sync(writer.line)
        for _ in range(rounds):
            with program(folder, "hear", position) as listener:
                assert "listening" == await trio.to_thread.run_sync(listener.line)
                lines = [await trio.to_thread.run_sync(listener.line) for _ in range(15)]
                lines += await trio.to_thread.run_sync(listener.kill)
            for line in lines:
                position, name = line.split()
                heard.append(name)
        await trio.to_thread.run_sync(writer.kill)
    assert len(heard) >= 15 * rounds
    assert (await everything(folder))[: len(heard)] == heard
