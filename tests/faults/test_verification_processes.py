"""Two devices verify each other, and each step is done by another of three processes; whoever has done it is killed.

All processes are alive all the time, with caches of their own, so that what one has done invalidates what others know.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest
import trio

from olmstate.messages import DeviceAddress, Lagged, VerificationChanged, VerificationMethod, VerificationStage
from tests.faults.two_devices import Player, player_on
from tests.faults.verifying import ALICE, BOB, BOTH, act, check, prepare

PROCESSES = 3
Process: TypeAlias = "tuple[ForkServerProcess, Connection]"
STEPS: dict[str, Callable[[Player], Awaitable[int | None]]] = {
    "send": Player.send,
    "sync": Player.sync,
    "act": act,
    "check": check,
}
LEAST = 9
"""Steps of a verification that do something."""
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


def serve(folder: Path, address: DeviceAddress, asked: Connection) -> None:
    """Do steps of one device until the process is killed."""

    async def main() -> None:
        async with player_on(folder, address, BOTH) as player:
            asked.send("ready")
            while (step := await trio.to_thread.run_sync(asked.recv)) != "end":
                asked.send(await STEPS[step](player) or 0)

    trio.run(main)


@attrs.define
class Device:
    """One device and its processes."""

    folder: Path
    address: DeviceAddress
    processes: list[Process] = attrs.field(factory=list[Process])
    steps: int = 0

    def start(self) -> None:
        """One process more, at the end of the line."""
        ours, its = CONTEXT.Pipe()
        process = CONTEXT.Process(target=serve, args=(self.folder, self.address, its))
        process.start()
        its.close()
        ours.recv()
        self.processes.append((process, ours))

    def do(self, step: str) -> int:
        """A step, by the process whose turn it is."""
        self.processes.append(self.processes.pop(0))
        _, connection = self.processes[-1]
        connection.send(step)
        result: int = connection.recv()  # EOFError: it has failed, and said why
        return result

    def send(self) -> int:
        """Each process sends what it has to send: its own, and what those that were killed have left."""
        return sum(self.do("send") for _ in range(PROCESSES))

    def replace(self) -> None:
        """SIGKILL to the process that has done the last step; another takes its place."""
        process, _ = self.processes.pop()
        process.kill()
        process.join()
        self.start()

    def end(self) -> None:
        """All of them, in good order."""
        for process, connection in self.processes:
            if process.is_alive():
                connection.send("end")
            process.join()


@contextmanager
def two_devices(folder: Path) -> Generator[tuple[Device, Device]]:
    """Both, with all their processes."""
    devices = Device(folder, ALICE), Device(folder, BOB)
    try:
        for device in devices:
            for _ in range(PROCESSES):
                device.start()
        yield devices
    finally:
        for device in devices:
            device.end()


def verify(devices: tuple[Device, Device], *, kills: bool, after_each: Callable[[], None] = lambda: None) -> int:
    """Do all steps, each in another process; how many did something."""
    done = still = 0
    for device, step in cycle([(device, step) for device in devices for step in ("sync", "act")]):
        moved = device.do(step)
        if moved and kills:
            device.replace()
        moved += device.send()
        after_each()
        done += bool(moved)
        still = 0 if moved else still + 1
        if still == 2 * 2:
            break
    for device in devices * PROCESSES:
        device.do("check")
    return done


@pytest.mark.parametrize("kills", [False, True])
@pytest.mark.parametrize("method", [VerificationMethod.SAS, VerificationMethod.SCAN_QR])
def test_each_step_is_done_by_another_process(method: VerificationMethod, *, kills: bool, memory_folder: Path) -> None:
    folder = memory_folder / "world"
    trio.run(prepare, folder, method)
    with two_devices(folder) as devices:
        assert verify(devices, kills=kills) > LEAST


def listen(folder: Path, address: DeviceAddress, since: int, heard: Connection) -> None:
    """Tell of what a subscriber hears until the process is killed."""

    async def main() -> None:
        async with player_on(folder, address, BOTH) as player:
            with player.supervisor.subscribe(VerificationChanged, Lagged, since=since) as events:
                async for event in events:
                    assert isinstance(event, VerificationChanged), "nothing was lost"
                    heard.send((event.position, event.stage))

    trio.run(main)


@attrs.define
class Listener:
    """A subscriber in a process of its own, which begins where the one before has stopped."""

    folder: Path
    heard: list[tuple[int, VerificationStage]] = attrs.field(factory=list[tuple[int, VerificationStage]])
    process: ForkServerProcess = attrs.field(init=False)
    connection: Connection = attrs.field(init=False)

    def start(self) -> None:
        """After what was heard last."""
        self.connection, its = CONTEXT.Pipe()
        since = self.heard[-1][0] if self.heard else 0
        self.process = CONTEXT.Process(target=listen, args=(self.folder, ALICE, since, its))
        self.process.start()
        its.close()

    def kill(self) -> None:
        """Wherever it is."""
        self.process.kill()
        self.process.join()

    def hear(self) -> None:
        """What has come; then a new one takes its place."""
        before = len(self.heard)
        while self.connection.poll():
            self.heard.append(self.connection.recv())
        if len(self.heard) > before:
            self.kill()
            self.start()

    def hear_all(self) -> list[VerificationStage]:
        """Until it is done."""
        while not self.heard or self.heard[-1][1] is not VerificationStage.DONE:
            self.heard.append(self.connection.recv())
        self.kill()
        return [stage for _, stage in self.heard]


def test_each_stage_is_heard_once_though_whoever_caused_it_and_whoever_heard_of_it_were_killed(
    memory_folder: Path,
) -> None:
    folder = memory_folder / "world"
    trio.run(prepare, folder, VerificationMethod.SAS)
    often, at_the_end = Listener(folder), Listener(folder)
    often.start()
    with two_devices(folder) as devices:
        verify(devices, kills=True, after_each=often.hear)
    at_the_end.start()
    stages = at_the_end.hear_all()

    assert [VerificationStage.REQUESTED, VerificationStage.READY, VerificationStage.STARTED] == stages[:3]
    assert stages == often.hear_all()
