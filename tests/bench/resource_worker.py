"""A process that fills a store, holds sessions, or idles, and says what that costs it.

Its order comes as JSON on stdin.

Rule for memory: what is to be held is read from a file, a bit at a time. A process that has made it itself has freed
room that what it then holds would fill without growing.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import trio
from vodozemac import GroupSession, InboundGroupSession

from olmstate.actors import Options, Supervisor, open_supervisor
from olmstate.messages import ImportRoomKeys, JsonObject, Message, OutgoingRequests, PublishAccount, Statistics
from olmstate.storage import Table
from tests.bench.device import DEVICE, USER, decrypt_all, device, exported_sessions
from tests.operations.transport import transport_of
from tests.peer.homeserver import Homeserver

AT_A_TIME = 100
LOOKS = 100
PICKLE_KEY = bytes(32)


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def written() -> int:
    """Bytes that this process has had written to disks."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def lines_of(path: Path) -> Iterator[list[str]]:
    """A file's lines, some at a time."""
    with path.open(encoding="utf-8") as file:
        while lines := [line.rstrip("\n") for line in islice(file, AT_A_TIME)]:
            yield lines


async def fill(path: Path, key: bytes, sessions: int) -> JsonObject:
    """Make a store of so many sessions, with an event on each, and as many pickles."""
    keys, events = exported_sessions(sessions)
    async with device(path, key=key) as supervisor:
        await supervisor.ask(ImportRoomKeys(keys=tuple(keys)))
    (path / "events").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    pickles = [InboundGroupSession(GroupSession().session_key).pickle(PICKLE_KEY) for _ in range(sessions)]
    (path / "pickles").write_text("".join(f"{pickle}\n" for pickle in pickles))
    return {}


async def cached_sessions(path: Path, key: bytes, *, guarded: bool) -> JsonObject:
    """What cached sessions take, beside what the store and its supervisor take anyway.

    ``guarded``: with the guard against replays, which knows a message of each.
    """
    chunks = lines_of(path / "events")
    options = None if guarded else Options(capacities={Table.MESSAGE_INDICES: 0})
    async with device(path, key=key, options=options) as supervisor:

        async def decrypt(lines: list[str]) -> None:
            await decrypt_all(supervisor, [json.loads(line) for line in lines])

        await decrypt(next(chunks))
        before = resident()
        for lines in chunks:
            await decrypt(lines)
        return {"bytes": resident() - before}


def bare_sessions(path: Path) -> JsonObject:
    """What sessions in a dict take."""
    held: dict[str, InboundGroupSession] = {}

    def hold(lines: list[str]) -> None:
        for line in lines:
            session = InboundGroupSession.from_pickle(line, PICKLE_KEY)
            held[session.session_id] = session

    chunks = lines_of(path / "pickles")
    hold(next(chunks))
    before = resident()
    for lines in chunks:
        hold(lines)
    return {"bytes": resident() - before}


async def idle(path: Path, key: bytes, seconds: float) -> JsonObject:
    """What is written, and how often the lock is held, while nobody asks anything."""
    async with device(path, key=key) as supervisor:
        return await _idle(supervisor, seconds, Statistics())


async def housekeeping(path: Path, key: bytes, seconds: float) -> JsonObject:
    """The same with a homeserver that has all it needs, while a program asks again and again what there is to send."""
    transport = transport_of(Homeserver().log_in(USER, DEVICE))
    async with open_supervisor(path, user_id=USER, device_id=DEVICE, key=key, transport=transport) as supervisor:
        await supervisor.ask(PublishAccount())
        return await _idle(supervisor, seconds, OutgoingRequests())


async def _idle(supervisor: Supervisor, seconds: float, asked: Message[Any]) -> JsonObject:
    # the first look ends opening: it reads the store, and SQLite notes that in the shared memory, which is a file
    await supervisor.ask(Statistics())
    start, before = await supervisor.ask(Statistics()), written()
    held = 0
    for _ in range(LOOKS):
        await trio.sleep(seconds / LOOKS)
        statistics = await supervisor.ask(Statistics())
        held += statistics.lock_held or statistics.lock_holder is not None
        await supervisor.ask(asked)
    turns = (await supervisor.ask(Statistics())).turns - start.turns
    return {"written": written() - before, "held": held / LOOKS, "turns": turns}


def main() -> None:
    """Do what stdin says."""
    order = json.load(sys.stdin)
    path, key = Path(order["path"]), bytes.fromhex(order["key"])
    match order["what"]:
        case "fill":
            seen = trio.run(fill, path, key, order["sessions"])
        case "cached sessions":
            seen = trio.run(partial(cached_sessions, path, key, guarded=order["guarded"]))
        case "bare sessions":
            seen = bare_sessions(path)
        case "housekeeping":
            seen = trio.run(housekeeping, path, key, order["seconds"])
        case _:
            seen = trio.run(idle, path, key, order["seconds"])
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
