"""The same supervisor from asyncio."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import uvloop

import olmstate.actors
from olmstate.actors import Options
from olmstate.actors._engine.runner import Runner
from olmstate.actors._engine.states import State
from olmstate.actors._engine.subscriptions import BUFFER
from olmstate.asyncio import Supervisor, open_supervisor
from olmstate.messages import (
    AccountExists,
    ActorStopped,
    CreateAccount,
    DeviceId,
    DevicesChanged,
    IdentityKeys,
    Lagged,
    NoAccount,
    PrepareRoomKey,
    Request,
    Response,
    RoomId,
    RoomKeyImportProgress,
    RoomKeysReceived,
    StoreBusy,
    StoreChanged,
    SyncToken,
    TrackUsers,
    UpdateDevices,
    UserId,
    WrongKey,
)
from olmstate.storage import Turnstile
from olmstate.storage.lock.lock_file import LockFile
from tests.actors.supervised import runner_of, state_of
from tests.operations.peer import Peer, add_devices

KEY = bytes(range(32))
BOB = UserId("@bob:example.org")


def opened(folder: Path, **changes: Any) -> AbstractAsyncContextManager[Supervisor]:  # noqa: ANN401 - of the call's
    arguments: dict[str, Any] = {"user_id": "@alice:example.org", "device_id": "ALICE", "key": KEY, **changes}
    return open_supervisor(folder, **arguments)


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True, params=LOOPS)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test on each loop."""
    name: str = request.param
    monkeypatch.setattr(f"{__name__}.new_loop", LOOPS[name])
    return name


new_loop = asyncio.new_event_loop


def inner_of(device: Supervisor) -> olmstate.actors.Supervisor:
    """What the bridge leads to."""
    return device._supervisor  # pyright: ignore[reportPrivateUsage]


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_a_device_is_made_and_found_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store") as device:
            with pytest.raises(NoAccount):
                await device.ask(IdentityKeys())
            made = await device.ask(CreateAccount())
        async with opened(tmp_path / "store") as device:
            assert made == await device.ask(IdentityKeys())
            with pytest.raises(AccountExists):
                await device.ask(CreateAccount())

    run(main)
    run(lambda: _reads(tmp_path))


async def _reads(folder: Path) -> None:
    async with opened(folder / "store") as device:
        assert DeviceId("ALICE") == (await device.ask(IdentityKeys())).device_id


def test_a_store_that_can_not_be_opened_is_the_same_error(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store"):
            pass
        with pytest.raises(WrongKey):
            async with opened(tmp_path / "store", key=bytes(32)):
                pass
        async with opened(tmp_path / "store") as device:
            assert await device.ask(SyncToken()) is None

    run(main)


def test_many_ask_at_once_in_a_task_group(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store") as device:
            await device.ask(CreateAccount())
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(device.ask(IdentityKeys())) for _ in range(1000)]
            assert 1 == len({task.result() for task in asked})

    run(main)


def test_several_supervisors_share_a_loop_and_a_store(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store") as one:
            made = await one.ask(CreateAccount())
            async with opened(tmp_path / "store") as other, opened(tmp_path / "another"):
                assert made == await other.ask(IdentityKeys())
            assert made == await one.ask(IdentityKeys())

    run(main)


def test_after_the_block_nobody_is_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store") as device:
            pass
        with pytest.raises(ActorStopped):
            await device.ask(SyncToken())

    run(main)


def test_after_the_block_nobody_syncs_or_hears_of_anything(tmp_path: Path) -> None:
    # these were an AttributeError of Trio's
    async def main() -> None:
        async with opened(tmp_path / "store") as device, device.sync_turn() as turn:
            pass
        with pytest.raises(ActorStopped):
            await turn.receive({"next_batch": "s1"})
        with device.subscribe(StoreChanged) as events:
            assert [] == [event async for event in events]

    run(main)


def test_whoever_waits_to_sync_is_told_when_the_supervisor_ends(tmp_path: Path) -> None:
    # it waited for ever
    async def main() -> None:
        async def sync(device: Supervisor) -> None:
            async with device.sync_turn():
                pass

        with ExitStack() as held:
            async with opened(tmp_path / "store") as device:
                another = held.enter_context(closing(LockFile(tmp_path / "store" / "sync")))
                assert another.take()
                waiting = asyncio.create_task(sync(device))
                done, _ = await asyncio.wait([waiting], timeout=0.2)
                assert not done
            with pytest.raises(ActorStopped):
                async with asyncio.timeout(60):
                    await waiting

    run(main)


def test_a_subscriber_that_is_slow_is_told_of_the_end_too(tmp_path: Path) -> None:
    # it waited for ever for what comes after the event that it had
    async def main() -> None:
        async with opened(tmp_path / "store") as device:
            subscribed, ended = asyncio.Event(), asyncio.Event()

            async def listen() -> list[DevicesChanged]:
                with device.subscribe(DevicesChanged) as events:
                    subscribed.set()
                    await ended.wait()
                    return [event async for event in events]

            listening = asyncio.create_task(listen())
            await subscribed.wait()
            await device.ask(add_devices(Peer()))
        ended.set()
        async with asyncio.timeout(60):
            assert 1 == len(await listening)

    run(main)


def test_whoever_asks_can_be_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store") as device, opened(tmp_path / "store") as other:
            await device.ask(CreateAccount())
            asked = asyncio.create_task(device.ask(PrepareRoomKey(room_id=RoomId("!room:example.org"))))
            await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert await other.ask(IdentityKeys()) == await device.ask(IdentityKeys())

    run(main)


def test_a_command_that_is_cancelled_while_it_waits_is_never_done(tmp_path: Path) -> None:
    # it was, if the lock became free before Trio had heard of the cancellation
    async def main() -> None:
        async with opened(tmp_path / "store") as device:
            inner = inner_of(device)
            for _ in range(10):
                lock = Turnstile(tmp_path / "store")
                assert lock.acquire_nowait()

                async def ask_and_free(lock: Turnstile) -> None:
                    with closing(lock):
                        await device.ask(CreateAccount())

                asked = asyncio.create_task(ask_and_free(lock))
                while state_of(inner) is not State.ACQUIRING:  # noqa: ASYNC110 - nothing tells when
                    await asyncio.sleep(0)
                asked.cancel()
                await asyncio.wait([asked])
                with pytest.raises(NoAccount):
                    await device.ask(IdentityKeys())
            await device.ask(CreateAccount())

    run(main)


def test_subscribers_hear_what_was_committed_until_the_supervisor_ends(tmp_path: Path) -> None:
    async def main() -> None:
        heard: list[StoreChanged] = []

        async def listen(device: Supervisor) -> None:
            with device.subscribe(StoreChanged) as events:
                ready.set()
                heard.extend([event async for event in events])

        ready = asyncio.Event()
        async with opened(tmp_path / "store", options=Options(watch=0.01)) as device:
            listening = asyncio.create_task(listen(device))
            await ready.wait()
            async with opened(tmp_path / "store") as other:
                await other.ask(CreateAccount())
            await asyncio.sleep(0.1)  # real time: the supervisor looks each hundredth of a second
        await listening
        assert {"account"} <= heard[0].tables

    run(main)


def test_a_subscriber_that_never_listens_is_told_what_it_has_missed(tmp_path: Path) -> None:
    # its queue grew without end
    async def main() -> None:
        async with opened(tmp_path / "store") as device:
            own = runner_of(inner_of(device))
            with device.subscribe(RoomKeyImportProgress, Lagged) as events:
                for done in range(3000):
                    own.publish(RoomKeyImportProgress(done=done, total=3000))
                    if done % 100 == 0:
                        await asyncio.sleep(0)
                heard: list[int] = []
                while not isinstance(event := await anext(events), Lagged):
                    heard.append(event.done)
                assert list(range(len(heard))) == heard
                assert BUFFER <= len(heard) <= BUFFER + 10
                own.publish(RoomKeyImportProgress(done=3000, total=3000))
                assert RoomKeyImportProgress(done=3000, total=3000) == await anext(events)

    run(main)


def test_cancelling_whoever_waits_for_an_event_loses_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store") as device:
            own = runner_of(inner_of(device))
            with device.subscribe(RoomKeyImportProgress) as events:
                for done in range(50):
                    waiting = asyncio.create_task(anext(events))
                    await asyncio.sleep(0)
                    own.publish(RoomKeyImportProgress(done=done, total=50))
                    for _ in range(done % 7):
                        await asyncio.sleep(0)
                    waiting.cancel()
                    try:
                        event = await waiting
                    except asyncio.CancelledError:
                        event = await anext(events)
                    assert RoomKeyImportProgress(done=done, total=50) == event

    run(main)


def test_a_subscriber_leaves_when_it_likes(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store") as device:
            with device.subscribe(RoomKeysReceived):
                await device.ask(CreateAccount())

    run(main)


def test_the_transport_is_a_function_of_asyncio(tmp_path: Path) -> None:
    asked: list[Request] = []

    async def send(request: Request) -> Response:
        await asyncio.sleep(0.001)
        asked.append(request)
        return Response(status=200, body=b'{"device_keys": {}}')

    async def main() -> None:
        async with opened(tmp_path / "store", transport=send) as device:
            await device.ask(CreateAccount())
            assert () == await device.ask(UpdateDevices(users=(BOB,)))

    run(main)
    assert any(request.path.endswith("/keys/query") for request in asked)


def test_a_transport_that_is_under_way_does_not_hold_up_the_end(tmp_path: Path) -> None:
    began, cancelled = asyncio.Event(), False

    async def send(request: Request) -> Response:
        nonlocal cancelled
        began.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled = True
            raise
        raise AssertionError

    async def main() -> None:
        async with opened(tmp_path / "store", transport=send) as device:
            await device.ask(CreateAccount())
            await device.ask(TrackUsers(users=(BOB,)))
            await began.wait()
        assert cancelled

    run(main)


def test_a_supervisor_that_fails_ends_the_block_with_what_it_failed_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Exception):
        pass

    async def fail(_: Runner) -> None:
        await trio.sleep(0.01)
        raise Broken

    async def main() -> None:
        monkeypatch.setattr(Runner, "_watch", fail)
        with pytest.raises(Broken):
            async with opened(tmp_path / "store"):
                await asyncio.sleep(3600)
        task = asyncio.current_task()
        assert task is not None
        assert 0 == task.cancelling()
        monkeypatch.undo()
        async with opened(tmp_path / "store") as device:
            assert await device.ask(SyncToken()) is None

    run(main)


def test_a_cancelled_block_ends_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        entered = asyncio.Event()

        async def block() -> None:
            async with opened(tmp_path / "store") as device:
                await device.ask(CreateAccount())
                entered.set()
                await asyncio.sleep(3600)

        task = asyncio.create_task(block())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with opened(tmp_path / "store") as device:
            await device.ask(IdentityKeys())

    run(main)


def test_opening_can_be_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store"):
            pass
        for _ in range(20):
            task = asyncio.create_task(opened(tmp_path / "store").__aenter__())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with opened(tmp_path / "store") as device:
            assert await device.ask(SyncToken()) is None

    run(main)


PROGRAM = """
import asyncio, sys, uvloop
from olmstate.asyncio import open_supervisor
from olmstate.messages import CreateAccount

async def main():
    async with open_supervisor(sys.argv[1], user_id="@alice:example.org", device_id="ALICE", key=bytes(32)) as device:
        await device.ask(CreateAccount())
        print("ready", flush=True)
        try:
            await asyncio.sleep(3600)
        finally:
            print("ending", flush=True)

with asyncio.Runner(loop_factory={"asyncio": None, "uvloop": uvloop.new_event_loop}[sys.argv[2]]) as runner:
    runner.run(main())
"""


def test_ctrl_c_ends_a_program_as_it_ends_others(tmp_path: Path, loop: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), loop],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=60)
    assert "ending\n" == said
    assert "KeyboardInterrupt" in complained
    assert "never retrieved" not in complained
    assert -signal.SIGINT == process.returncode

    async def main() -> None:
        async with opened(tmp_path / "store", key=bytes(32)) as device:
            await device.ask(IdentityKeys())

    run(main)


IN_THE_MIDST = """
import asyncio, signal, sys, uvloop
from olmstate.actors import Options
from olmstate.asyncio import open_supervisor
from olmstate.messages import CreateAccount

def clock():
    # the supervisor asks it in the midst of a turn
    for _ in range(int(sys.argv[3])):
        signal.raise_signal(signal.SIGINT)
    return 0

async def main():
    options = Options(wall_clock=clock)
    async with open_supervisor(
        sys.argv[1], user_id="@alice:example.org", device_id="ALICE", key=bytes(32), options=options
    ) as device:
        await device.ask(CreateAccount())
        await asyncio.sleep(3600)

with asyncio.Runner(loop_factory={"asyncio": None, "uvloop": uvloop.new_event_loop}[sys.argv[2]]) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("times", [1, 2, 3])
def test_ctrl_c_in_the_midst_of_trios_work_ends_a_program_too(times: int, tmp_path: Path, loop: str) -> None:
    # twice, it ended Trio's run, and nothing but SIGKILL ended the program
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", IN_THE_MIDST, str(tmp_path / "store"), loop, str(times)]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert -signal.SIGINT == done.returncode, done.stderr
    assert "KeyboardInterrupt" in done.stderr
    assert "never retrieved" not in done.stderr

    async def main() -> None:
        async with opened(tmp_path / "store", key=bytes(32)) as device:
            await device.ask(SyncToken())

    run(main)


STUCK = """
import asyncio, sys, uvloop
from olmstate.asyncio import open_supervisor

async def main():
    async with open_supervisor(sys.argv[1], user_id="@alice:example.org", device_id="ALICE", key=bytes(32)):
        print("ready", flush=True)
        while True:
            pass

with asyncio.Runner(loop_factory={"asyncio": None, "uvloop": uvloop.new_event_loop}[sys.argv[2]]) as runner:
    runner.run(main())
"""


def test_a_program_that_is_stuck_can_be_interrupted_all_the_same(tmp_path: Path, loop: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", STUCK, str(tmp_path / "store"), loop]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        code = None
        while code is None:  # as somebody who loses patience
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=0.2)
    assert -signal.SIGINT == code


def test_whoever_handled_ctrl_c_before_does_so_again(tmp_path: Path) -> None:
    async def main() -> None:
        before = signal.getsignal(signal.SIGINT)
        async with opened(tmp_path):
            assert before != signal.getsignal(signal.SIGINT)
        assert before == signal.getsignal(signal.SIGINT)

    run(main)


def test_a_store_that_is_busy_is_the_same_error(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store", options=Options(lock_timeout=0)) as device:
            with closing(Turnstile(tmp_path / "store")) as lock:
                assert lock.acquire_nowait()
                with pytest.raises(StoreBusy):
                    await device.ask(CreateAccount())
            await device.ask(CreateAccount())

    run(main)


def test_nothing_but_the_bridge_imports_asyncio() -> None:
    program = "import sys, olmstate.actors, olmstate.messages, olmstate.storage; sys.exit('asyncio' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert 0 == subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode


def test_under_asyncio_the_one_of_trio_says_which_to_import(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"olmstate\.asyncio"):
            async with olmstate.actors.open_supervisor(
                tmp_path / "store", user_id="@alice:example.org", device_id="ALICE", key=None
            ):
                pass

    run(main)


def test_one_task_at_a_time_syncs_and_one_that_is_cancelled_stands_in_nobodys_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store") as one, opened(tmp_path / "store") as two:
            await one.ask(CreateAccount())

            async def sync() -> str | None:
                async with two.sync_turn() as turn:
                    return turn.since

            async with one.sync_turn() as turn:
                given_up = asyncio.create_task(sync())
                waiting = asyncio.create_task(sync())
                done, _ = await asyncio.wait([given_up, waiting], timeout=0.2)
                assert not done
                given_up.cancel()
                assert (await turn.receive({"next_batch": "s1"})).token_stored
            assert "s1" == await waiting
            assert given_up.cancelled()

    run(main)


def test_a_subscriber_that_comes_back_gets_what_it_missed(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store") as device:
            await device.ask(add_devices(Peer()))
        async with opened(tmp_path / "store") as device:
            with device.subscribe(DevicesChanged, Lagged, since=0) as events:
                event = await anext(events)
                assert isinstance(event, DevicesChanged)
                assert 1 == event.position

    run(main)
