"""Programs that are interrupted by Ctrl-C at some moment, and whether they end.

    python interrupted.py FOLDER

Reads jobs from stdin, a JSON object a line, and writes what became of each, one object a line. Each program runs in a
child of its own, forked from a process that has imported everything: so the signals come while it works.

Owns: the programs, the moments, and what counts as an end.
Rule: nothing is judged by how long it takes. A program that has not ended after `PATIENCE` never will.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
import trio

import olmstate.asyncio
from olmstate.actors import Options, Supervisor, open_supervisor
from olmstate.cli import main as command_line
from olmstate.http import open_transport
from olmstate.messages import (
    BootstrapCrossSigning,
    CreateAccount,
    CreateSecretStorage,
    DecryptRoomEvent,
    EncryptRoomEvent,
    ExportKeyFile,
    MarkRoomKeyShared,
    OlmStateError,
    PrepareAccount,
    PrepareOneTimeKeys,
    PrepareRoomKey,
    PublishAccount,
    RoomId,
    RotateRoomKey,
)
from olmstate.storage import Turnstile
from tests.faults.homeserver import ALICE, ALICE_DEVICE
from tests.faults.served import BOB, BOBS_DEVICE, CAROL, CAROLS_DEVICE
from tests.operations import device
from tests.recordings.stores.recorded import RECORDED, unpack

PATIENCE: Final = 60.0
"""Seconds until a program counts as one that never ends: many times its `DRAIN`, and what its work takes."""
DRAIN: Final = 0.5
OPTIONS: Final = Options(drain=DRAIN, lock_timeout=2.0)
KEY: Final = bytes(range(32))
ROOM: Final = RoomId("!room:example.org")
KEYS: Final = 300
"""Rooms of which the store has a key."""
INTERRUPTED: Final = 130
FAILED: Final = 99
BESIDE: Final = 98
"""The signal came while the child was ending anyway."""

Program = Callable[[Path, random.Random], None]


class Folder:
    """What is where."""

    def __init__(self, path: Path, homeserver: str) -> None:
        """In a folder for this harness alone, with a homeserver's URL."""
        self.homeserver = homeserver
        self.store = path / "store"
        self.signed_in = path / "signed-in"
        """Another's store, whose secret storage nobody replaces."""
        self.recovery_key = path / "recovery-key"
        self.tokens = path / "tokens"
        self.key = path / "key"
        self.passphrase = path / "passphrase"
        self.keys = path / "keys.txt"

    def prepare(self) -> None:
        """Make the store, and a file of its room keys."""
        self.key.write_bytes(KEY)
        self.passphrase.write_text("secret")
        self.tokens.mkdir()
        for name in ("alice", "carol"):
            (self.tokens / name).write_text(name)

        async def live() -> None:
            async with (
                open_transport(self.homeserver, "bob") as transport,
                open_supervisor(
                    self.store.with_name("bob"), user_id=BOB, device_id=BOBS_DEVICE, key=KEY, transport=transport
                ) as bob,
            ):
                await bob.ask(PublishAccount())
            async with (
                open_transport(self.homeserver, "carol") as transport,
                open_supervisor(
                    self.signed_in, user_id=CAROL, device_id=CAROLS_DEVICE, key=KEY, transport=transport
                ) as carol,
            ):
                await carol.ask(CreateAccount())
                await carol.ask(BootstrapCrossSigning())
                created = await carol.ask(CreateSecretStorage())
                self.recovery_key.write_text(created.key.recovery_key)
            async with self.open() as supervisor:
                await supervisor.ask(CreateAccount())
                await self.share(supervisor)
                for number in range(KEYS):
                    await supervisor.ask(RotateRoomKey(room_id=RoomId(f"!{number}:example.org")))
                self.keys.write_text(await supervisor.ask(ExportKeyFile(passphrase="secret", rounds=1)))

        trio.run(live)

    def open(self) -> Any:  # noqa: ANN401 - what `open_supervisor` gives
        return open_supervisor(self.store, user_id=ALICE, device_id=ALICE_DEVICE, key=KEY, options=OPTIONS)

    async def share(self, supervisor: Supervisor) -> None:
        """Have a room key that may be used."""
        made = await supervisor.ask(PrepareRoomKey(room_id=ROOM))
        await supervisor.ask(MarkRoomKeyShared(room_id=ROOM, session_id=made.session_id, devices=()))


# --- programs -----------------------------------------------------------------------------------------------


def work(folder: Folder, rng: random.Random, *, rounds: int | None) -> None:
    """Several tasks that ask this and that; for ever, if no number of rounds is given."""

    async def ask(supervisor: Supervisor) -> None:
        left = rounds
        while left is None or left:
            left = left and left - 1
            with trio.move_on_after(rng.uniform(0, 0.02)):
                try:
                    sent = await supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={}))
                    event = {"event_id": f"${sent.message_index}", "sender": ALICE, "content": sent.content}
                    await supervisor.ask(DecryptRoomEvent(room_id=ROOM, event=event))
                    await supervisor.ask(PrepareOneTimeKeys())
                except OlmStateError:
                    await folder.share(supervisor)

    async def main() -> None:
        async with folder.open() as supervisor, trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask, supervisor)
            await ask(supervisor)

    trio.run(main)


def close(folder: Folder, rng: random.Random, *, for_lock: bool) -> None:
    """Leave the block while much is still to be done; another may hold the lock, so that closing waits for it."""

    async def main() -> None:
        other = Turnstile(folder.store)
        async with trio.open_nursery() as nursery, folder.open() as supervisor:
            for number in range(20):
                nursery.start_soon(ignore_refusal, supervisor, RotateRoomKey(room_id=RoomId(f"!{number}:example.org")))
            await trio.sleep(rng.uniform(0, 0.01))
            if for_lock:
                with trio.move_on_after(1):
                    await other.acquire(1)
        other.close()

    trio.run(main)


async def ignore_refusal(supervisor: Supervisor, message: Any) -> None:  # noqa: ANN401 - any message
    with suppress(OlmStateError):
        await supervisor.ask(message)


def export(folder: Folder, rng: random.Random) -> None:
    """End with work in a thread."""

    async def main() -> None:
        async with folder.open() as supervisor:
            await supervisor.ask(ExportKeyFile(passphrase="secret", rounds=rng.randrange(1, 400_000)))

    trio.run(main)


def work_under_asyncio(folder: Folder, rng: random.Random) -> None:
    """As `work`, for some rounds, with the bridge."""

    async def ask(supervisor: olmstate.asyncio.Supervisor) -> None:
        for _ in range(20):
            with suppress(TimeoutError, OlmStateError):
                async with asyncio.timeout(rng.uniform(0, 0.02)):
                    await supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={}))
                    await supervisor.ask(PrepareOneTimeKeys())

    async def main() -> None:
        async with (
            olmstate.asyncio.open_supervisor(
                folder.store, user_id=ALICE, device_id=ALICE_DEVICE, key=KEY, options=OPTIONS
            ) as supervisor,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(4):
                group.create_task(ask(supervisor))

    asyncio.run(main())


@attrs.frozen
class Made:
    """A store of a program's own, which it opens again and again."""

    folder: Path
    device: Mapping[str, Any]
    """What opens it."""

    def open_again(self, times: int) -> None:
        """Open it, which derives a key in a thread if it is one from a passphrase."""

        async def main() -> None:
            for _ in range(times):
                async with open_supervisor(self.folder, **self.device, options=OPTIONS) as supervisor:
                    await supervisor.ask(PrepareAccount())

        trio.run(main)

    def open_again_under_asyncio(self, times: int) -> None:
        """The same, with the bridge."""

        async def main() -> None:
            for _ in range(times):
                async with olmstate.asyncio.open_supervisor(self.folder, **self.device, options=OPTIONS) as supervisor:
                    await supervisor.ask(PrepareAccount())

        asyncio.run(main())


WITH_PASSPHRASE: Final = {"user_id": ALICE, "device_id": ALICE_DEVICE, "key": "secret"}
MIGRATED: Final = {"user_id": device.ALICE, "device_id": device.ALICE_DEVICE, "key": device.KEY}


def migrate(folder: Path) -> None:
    """Open a store that an early version has written."""
    unpack(RECORDED[0], folder)
    Made(folder, MIGRATED).open_again(3)


def run_command(*arguments: object) -> None:
    """The program ``olmstate``."""
    command_line([str(argument) for argument in arguments], prog_name="olmstate")


def programs(folder: Folder) -> dict[str, Callable[[random.Random], None]]:
    """All of them, by name."""
    store, key = folder.store, ("--key-file", folder.key)
    secret = ("--export-passphrase-file", folder.passphrase)

    def at_home(name: str) -> tuple[object, ...]:
        return *key, "--homeserver", folder.homeserver, "--token-file", folder.tokens / name

    recovery_key = ("--recovery-key-file", folder.recovery_key)

    def new(rng: random.Random, name: str) -> Path:
        return folder.store.parent / f"{name}-{rng.getrandbits(64):x}"

    return {
        "works": lambda rng: work(folder, rng, rounds=20),
        "works for ever": lambda rng: work(folder, rng, rounds=None),
        "closes": lambda rng: close(folder, rng, for_lock=False),
        "closes while another has the lock": lambda rng: close(folder, rng, for_lock=True),
        "exports": lambda rng: export(folder, rng),
        "export-keys": lambda rng: run_command("export-keys", store, new(rng, "exported"), *key, *secret),
        "import-keys": lambda _: run_command("import-keys", store, folder.keys, *key, *secret),
        "backup": lambda rng: run_command("backup", store, new(rng, "backup"), *key),
        "change-passphrase": lambda _: run_command("change-passphrase", store, *key, "--new-key-file", folder.key),
        "inspect": lambda _: run_command("inspect", store),
        "works under asyncio": lambda rng: work_under_asyncio(folder, rng),
        "bootstrap": lambda _: run_command("bootstrap", store, *at_home("alice"), "--replace"),
        "recover": lambda _: run_command("recover", folder.signed_in, *at_home("carol"), *recovery_key),
        "makes a store": lambda rng: Made(new(rng, "made"), WITH_PASSPHRASE).open_again(2),
        "makes a store under asyncio": lambda rng: Made(new(rng, "made"), WITH_PASSPHRASE).open_again_under_asyncio(2),
        "migrates": lambda rng: migrate(new(rng, "migrated")),
        "verify": lambda _: run_command("verify", store, *at_home("alice"), "--user", BOB, "--sync"),
    }


def check(folder: Folder) -> None:
    """The store can be used: the lock is free, and all is there."""

    async def main() -> None:
        async with folder.open() as supervisor:
            try:
                await supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={}))
            except OlmStateError:
                await folder.share(supervisor)
                await supervisor.ask(EncryptRoomEvent(room_id=ROOM, type="m.test", content={}))
            await supervisor.ask(PrepareOneTimeKeys())
        async with open_supervisor(folder.signed_in, user_id=CAROL, device_id=CAROLS_DEVICE, key=KEY) as supervisor:
            await supervisor.ask(PrepareOneTimeKeys())

    trio.run(main)
    for name, opens in (("made", WITH_PASSPHRASE), ("migrated", MIGRATED)):
        for own in folder.store.parent.glob(f"{name}-*"):
            # cut off before its database was there, it is made anew
            Made(own, opens).open_again(1)
            shutil.rmtree(own)


# --- children -----------------------------------------------------------------------------------------------


def start(program: Callable[[], None], output: Path) -> int:
    """Run ``program`` in a child that has begun when this returns; its process id."""
    begun, begins = os.pipe()
    child = os.fork()
    if child:
        os.close(begins)
        os.read(begun, 1)
        os.close(begun)
        return child
    try:
        with output.open("wb", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)  # it has the jobs
        os.write(begins, b".")
        os._exit(_run(program))
    finally:
        os._exit(BESIDE)


def _run(program: Callable[[], None]) -> int:
    try:
        program()
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            return INTERRUPTED
        traceback.print_exc()
        return FAILED
    except BaseException:  # noqa: BLE001 - it is told, and judged
        traceback.print_exc()
        return FAILED
    return 0


def wait(child: int) -> int | None:
    """Its exit status, negative for a signal; None: it doesn't end."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@contextmanager
def output_of(folder: Folder) -> Generator[Path]:
    """Where a child writes."""
    path = folder.store.parent / "output"
    yield path
    path.unlink(missing_ok=True)


def duration(folder: Folder, program: Callable[[random.Random], None]) -> float:
    """Seconds that it runs if nobody interrupts it; one that never ends, a second."""
    with output_of(folder) as output:
        begun = time.monotonic()
        child = start(lambda: program(random.Random(0)), output)
        while time.monotonic() < begun + 1:
            if os.waitpid(child, os.WNOHANG)[0]:
                return time.monotonic() - begun
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return 1.0


def interrupt(folder: Folder, program: Callable[[random.Random], None], seed: int, within: float) -> str | None:
    """Interrupt a program once or twice; what is wrong, or None."""
    rng = random.Random(seed)
    with output_of(folder) as output:
        child = start(lambda: program(random.Random(seed)), output)
        for _ in range(rng.choice((1, 2))):
            time.sleep(rng.uniform(0, within))
            os.kill(child, signal.SIGINT)  # of a child that is not waited for, so its id is its own
        status = wait(child)
        said = output.read_text(errors="replace")
    if status is None:
        return f"it doesn't end; {said}"
    if status not in (0, 1, INTERRUPTED, BESIDE, -signal.SIGINT):
        return f"it ended with {status}: {said}"
    # not: "when trying to write to the signal wakeup fd", as Trio ends, nor what asyncio's half-made loop says
    if "Exception ignored in" in said and "KeyboardInterrupt" in said:
        return f"a Ctrl-C was printed and forgotten: {said}"
    with output_of(folder) as output:
        if wait(start(lambda: check(folder), output)) != 0:
            return f"the store can't be used: {output.read_text(errors='replace')}"
    return None


@contextmanager
def homeserver() -> Generator[str]:
    """One in a process of its own, which nobody interrupts; its URL."""
    command = [sys.executable, "-m", "tests.faults.served"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def main() -> None:
    """Do the jobs."""
    with homeserver() as url:
        do_jobs(Folder(Path(sys.argv[1]), url))


def do_jobs(folder: Folder) -> None:
    """As long as there are some."""
    known = programs(folder)
    with output_of(folder) as output:
        if wait(start(folder.prepare, output)) != 0:
            sys.exit(output.read_text(errors="replace"))
    within = {name: duration(folder, program) for name, program in known.items()}
    print(json.dumps(within), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        name = job["program"]
        wrong = interrupt(folder, known[name], job["seed"], 1.1 * within[name])
        print(json.dumps({**job, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main()
