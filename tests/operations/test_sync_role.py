"""One process at a time syncs, and another takes over when it stops or dies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from olmstate.actors import Supervisor, open_supervisor
from olmstate.messages import ActorStopped, CreateAccount, MalformedMessage, ReceiveSync, SyncToken
from tests.operations.device import KEY

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
PATIENCE = 60
"""Seconds until a test that would hang fails."""


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[Supervisor]:
    async with open_supervisor(folder, user_id="@alice:example.org", device_id="ALICE", key=KEY) as supervisor:
        yield supervisor


@contextmanager
def syncer(folder: Path) -> Generator[subprocess.Popen[str]]:
    """A process that is killed in the end."""
    command = [sys.executable, "-m", "tests.operations.sync_role_program", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            yield process
        finally:
            process.kill()


async def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await trio.to_thread.run_sync(process.stdout.readline)).strip()


async def has_to_wait(supervisor: Supervisor) -> bool:
    with trio.move_on_after(0.3):
        async with supervisor.sync_turn():
            return False
    return True


async def test_the_role_is_free_once_the_process_that_has_it_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with trio.fail_after(PATIENCE), syncer(folder) as first:
        assert ["waiting", "syncing"] == [await line(first), await line(first)]
        async with opened(folder) as supervisor:
            assert await has_to_wait(supervisor)
            first.kill()
            async with supervisor.sync_turn():
                with syncer(folder) as second:
                    assert "waiting" == await line(second)
            # it has waited, and nobody who was killed or cancelled stands in its way


async def test_who_comes_back_at_once_lets_another_in_between(tmp_path: Path) -> None:
    order: list[str] = []

    async def sync_twice(supervisor: Supervisor, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        for _ in range(2):
            async with supervisor.sync_turn():
                order.append(name)
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await trio.sleep(0.5)  # as long as the other may take to come to the head

    with trio.fail_after(PATIENCE):
        async with (
            opened(tmp_path / "store") as one,
            opened(tmp_path / "store") as two,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(partial(sync_twice, one, "one"))
            nursery.start_soon(partial(sync_twice, two, "two", task_status=trio.TASK_STATUS_IGNORED))
    assert ["one", "two", "one", "two"] == order


async def test_tasks_of_one_supervisor_take_turns(tmp_path: Path) -> None:
    async with opened(tmp_path / "store") as supervisor:
        async with supervisor.sync_turn():
            assert await has_to_wait(supervisor)
        assert not await has_to_wait(supervisor)


async def test_a_turn_knows_where_another_process_has_come_to(tmp_path: Path) -> None:
    async with opened(tmp_path / "store") as one, opened(tmp_path / "store") as two:
        await one.ask(CreateAccount())
        async with one.sync_turn() as turn:
            tokens = [turn.since]
            assert (await turn.receive({"next_batch": "s1"})).token_stored
            tokens.append(turn.since)
            assert [None, "s1"] == tokens
            with pytest.raises(MalformedMessage):
                await turn.receive({})
            assert (await turn.receive({"next_batch": "s2"})).token_stored
        async with two.sync_turn() as turn:
            assert "s2" == turn.since


async def test_nothing_breaks_if_somebody_syncs_without_the_role(tmp_path: Path) -> None:
    async with opened(tmp_path / "store") as one, opened(tmp_path / "store") as two:
        await one.ask(CreateAccount())
        async with one.sync_turn() as turn:
            await two.ask(ReceiveSync(sync={"next_batch": "s1"}))
            await two.ask(ReceiveSync(sync={"next_batch": "s2"}, since="s1"))
            await one.ask(ReceiveSync(sync={"next_batch": "s1"}, since=turn.since))
            assert not (await one.ask(ReceiveSync(sync={"next_batch": "s3"}, since="s0"))).token_stored
        assert await one.ask(SyncToken()) == await two.ask(SyncToken())


async def test_a_supervisor_that_is_closed_gives_no_turn(tmp_path: Path) -> None:
    async with opened(tmp_path / "store") as supervisor:
        pass
    with pytest.raises(ActorStopped):
        async with supervisor.sync_turn():
            pass
