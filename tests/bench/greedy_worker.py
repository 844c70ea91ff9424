"""A process that encrypts in one room as fast as it can: with olmstate, or bare.

Its order comes as a line of JSON on stdin. When it is ready it says so on stdout, and is told when to begin and when to
end, by the clock that all processes share. What it did is its last line.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

import attrs
import trio
from vodozemac import GroupSession

from olmstate.actors import run_supervisor
from olmstate.messages import DeviceId, JsonObject, UserId
from olmstate.storage import Store, Turnstile, open_store
from tests.bench.bare import BareStore
from tests.bench.device import DEVICE, MESSAGE, USER
from tests.bench.rooms import bare_plaintext

LOCK_TIMEOUT = 30.0


@attrs.define
class TimedLock:
    """The store's lock, noting when it was asked for, taken, and let go."""

    lock: Turnstile
    turns: list[tuple[float, float, float]] = attrs.field(factory=list[tuple[float, float, float]])
    _asked: float | None = None
    _taken: float = 0.0

    @property
    def held(self) -> bool:
        """The lock's."""
        return self.lock.held

    async def acquire(self, timeout: float) -> object:  # noqa: ASYNC109 - the protocol's
        """The lock's."""
        self._ask()
        how = await self.lock.acquire(timeout)
        self._take()
        return how

    def acquire_nowait(self) -> bool:
        """The lock's."""
        self._ask()
        taken = self.lock.acquire_nowait()
        if taken:
            self._take()
        return taken

    def contended(self) -> bool:
        """The lock's."""
        return self.lock.contended()

    def release(self) -> None:
        """The lock's."""
        let_go = time.monotonic()  # not after it, when the next one may have the lock already
        self.lock.release()
        assert self._asked is not None
        self.turns.append((self._asked, self._taken, let_go))
        self._asked = None

    def holder_pid(self) -> int | None:
        """The lock's."""
        return self.lock.holder_pid()

    def _ask(self) -> None:
        if self._asked is None:
            self._asked = time.monotonic()

    def _take(self) -> None:
        self._taken = time.monotonic()


class TimedStore:
    """A store whose lock notes times; everything else is the store's own."""

    def __init__(self, store: Store, lock: TimedLock) -> None:
        self._store = store
        self.lock = lock

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        return getattr(self._store, name)


def begin() -> tuple[float, float]:
    """Say that everything is ready, and hear when to begin and to end."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    start, end = json.loads(sys.stdin.readline())
    return start, end


async def ours(path: Path, key: bytes) -> JsonObject:
    """Encrypt with olmstate."""
    user_id, device_id = UserId(USER), DeviceId(DEVICE)
    store = await open_store(path, user_id=user_id, device_id=device_id, key=key, lock_timeout=LOCK_TIMEOUT)
    timed = TimedStore(store, TimedLock(store.lock))
    messages = 0
    try:
        async with run_supervisor(cast("Store", timed), user_id=user_id, device_id=device_id) as supervisor:
            start, end = begin()
            await trio.sleep(max(0.0, start - time.monotonic()))
            timed.lock.turns.clear()
            while (
                not messages or time.monotonic() < end
            ):  # one at least: a busy machine may have passed over the window
                await supervisor.ask(MESSAGE)
                messages += 1
    finally:
        await store.aclose()
    return {"messages": messages, "turns": timed.lock.turns}


def bare(path: Path) -> JsonObject:
    """Encrypt with a flock, a generation check and a commit a message."""
    store = BareStore(path, pickle_key=bytes(32))
    descriptor = os.open(f"{path}-lock", os.O_CREAT | os.O_RDWR, 0o600)
    plaintext = bare_plaintext()
    seen, session, messages = -1, GroupSession(), 0
    start, end = begin()
    time.sleep(max(0.0, start - time.monotonic()))
    while not messages or time.monotonic() < end:  # as above
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        generation = int(store.value("generation"))
        if generation != seen:
            session = GroupSession.from_pickle(store.value("session"), store.pickle_key)
        session.encrypt(plaintext).to_base64()
        seen = generation + 1
        store.commit([("session", session.pickle(store.pickle_key)), ("generation", str(seen))])
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        messages += 1
    store.close()
    return {"messages": messages, "turns": []}


def main() -> None:
    """Do what stdin says."""
    order = json.loads(sys.stdin.readline())
    path = Path(order["path"])
    done = bare(path) if order["side"] == "bare" else trio.run(ours, path, bytes.fromhex(order["key"]))
    json.dump(done, sys.stdout)


if __name__ == "__main__":
    main()
