"""A process that holds sessions or idles, and says what that costs it. Its order comes as JSON on stdin."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import trio
from vodozemac import GroupSession, InboundGroupSession

from olmstate.messages import ImportRoomKeys, JsonObject, Statistics

from ._device import decrypt_all, device, exported_sessions

SESSIONS = 10_000
LOOKS = 100


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def written() -> int:
    """Bytes that this process has had written to disks."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


async def cached_sessions(path: Path, key: bytes) -> JsonObject:
    """What a cached session takes, beside what the store and its supervisor take anyway."""
    keys, events = exported_sessions(SESSIONS)
    async with device(path, key=key) as supervisor:
        await supervisor.ask(ImportRoomKeys(keys=tuple(keys)))
    del keys
    async with device(path, key=key) as supervisor:
        await decrypt_all(supervisor, events[:10])
        before = resident()
        await decrypt_all(supervisor, events)
        return {"bytes": resident() - before}


def bare_sessions() -> JsonObject:
    """What a session in a dict takes."""
    pickles: list[tuple[str, str]] = []
    for _ in range(SESSIONS):
        session = InboundGroupSession(GroupSession().session_key)
        pickles.append((session.session_id, session.pickle(bytes(32))))
    before = resident()
    held = {session_id: InboundGroupSession.from_pickle(pickle, bytes(32)) for session_id, pickle in pickles}
    return {"bytes": resident() - before, "sessions": len(held)}


async def idle(path: Path, key: bytes, seconds: float) -> JsonObject:
    """What is written, and how often the lock is held, while nobody asks anything."""
    async with device(path, key=key) as supervisor:
        before = written()
        held = 0
        for _ in range(LOOKS):
            await trio.sleep(seconds / LOOKS)
            held += (await supervisor.ask(Statistics())).lock_held
        return {"written": written() - before, "held": held / LOOKS}


def main() -> None:
    """Do what stdin says."""
    order = json.load(sys.stdin)
    if order["what"] == "bare sessions":
        seen = bare_sessions()
    else:
        path, key = Path(order["path"]), bytes.fromhex(order["key"])
        if order["what"] == "idle":
            seen = trio.run(idle, path, key, order["seconds"])
        else:
            seen = trio.run(cached_sessions, path, key)
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
