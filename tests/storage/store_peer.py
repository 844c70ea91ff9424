"""Another process on the same store, told by a test what to do: a line in, a line out.

    python store_peer.py FOLDER

A line is the name of a method of `Peer` and its arguments; an answer is what it returns, or the name of the error.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
import trio.lowlevel

from olmstate.messages import StoreError, StorePoisoned, StoreUnavailable
from olmstate.storage import START, Row, SqliteStore, Table, backup, open_store
from olmstate.storage.sqlite import store as store_module  # pyright: ignore[reportPrivateUsage]
from tests.storage.handles import ALICE, DEVICE, KEY, PARTITION, commit, device, put, values

BALLAST = "ballast"


class Peer:
    """One handle, and what a line asks it to do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store: SqliteStore | None = None

    @property
    def store(self) -> SqliteStore:
        assert self._store is not None, "no store was opened"
        return self._store

    async def do(self, line: str) -> str:
        """Follow one line: a method's name and its arguments."""
        name, *arguments = line.split()
        answer: str = await getattr(self, name.replace("-", "_"))(*arguments)
        return answer

    async def open(self, lock_timeout: str = "60") -> str:
        """Open the store, or make it."""
        self._store = await open_store(
            self._folder, user_id=ALICE, device_id=DEVICE, key=KEY, lock_timeout=float(lock_timeout)
        )
        return "opened"

    async def close(self) -> str:
        """Close it."""
        await self.store.aclose()
        return "closed"

    async def put(self, number: str, value: str) -> str:
        """Commit a row. Answers with the generation."""
        return str(await put(self.store, device(int(number), value.encode())))

    async def put_large(self, number: str, length: str) -> str:
        """Commit a row of so many random bytes."""
        return str(await put(self.store, device(int(number), os.urandom(int(length)))))

    async def get(self) -> str:
        """Read all rows' values, by key."""
        return b" ".join(value or b"" for value in await values(self.store)).decode()

    async def count(self) -> str:
        """Read all rows."""
        return str(len(await values(self.store)))

    async def changes(self) -> str:
        """Ask what was ever written. Answers with the generation."""
        return str(self.store.changes(0).generation)

    async def change_secret(self) -> str:
        """Change the key."""
        await self.store.change_secret(bytes(32))
        return "changed"

    async def backup(self, folder: str) -> str:
        """Write a backup."""
        await backup(self.store, Path(folder))
        return "written"

    async def list_folder(self, folder: str) -> str:
        """Say what is in a folder that only this process sees."""
        return " ".join(sorted(path.name for path in Path(folder).iterdir()))

    async def drop_caches(self) -> str:
        """Have SQLite read again what it reads."""
        for connection in (self.store._writer, self.store._reader):  # pyright: ignore[reportPrivateUsage]
            connection.execute("PRAGMA shrink_memory").fetchall()
        return "dropped"

    async def checkpoint_each_commit(self) -> str:
        """From now on."""
        store_module.CHECKPOINT_PAGES = 1
        return "so be it"

    async def commit_in_threads(self) -> str:
        """From now on."""
        store_module.SLOW_COMMIT = -1.0
        return "so be it"

    async def fill(self) -> str:
        """Leave no room on the disk."""
        with (self._folder.parent / BALLAST).open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(bytes(4096)) == 4096:
                pass
        return "full"

    async def free(self) -> str:
        """Give the room back."""
        (self._folder.parent / BALLAST).unlink()
        return "free"

    async def put_for_ever(self) -> str:
        """Commit two rows at a time until killed; print generation and number once it is sure."""
        number = 0
        while True:
            number += 1
            generation = await commit(
                self.store,
                {
                    Table.DEVICES: [device(1, b"%d" % number)],
                    Table.ACCOUNT: [Row(b"account", b"account", b"%d" % number)],
                },
            )
            print(generation, number, flush=True)

    async def interrupt(self) -> str:
        """Press Ctrl-C in the midst of a COMMIT."""
        writer = self.store._writer  # pyright: ignore[reportPrivateUsage]

        def press(_code: int, first: str | None, *_: str | None) -> int:
            if first == "COMMIT":
                signal.raise_signal(signal.SIGINT)
            return sqlite3.SQLITE_OK

        writer.set_authorizer(press)
        await self.store.lock.acquire(5)
        generation = await self.store.commit({Table.DEVICES: [device(1)]}, self.store.info().generation)
        writer.set_authorizer(None)
        try:
            await trio.lowlevel.checkpoint()
        except KeyboardInterrupt:
            self.store.lock.release()
            return f"committed {generation}, then interrupted"
        return "not interrupted"

    def fork(self) -> str:
        """Fork a child that tries every use of its parent's handle, and to open the store for itself, and ends.

        Returns which uses weren't refused.

        Not inside a run of Trio, which no child can leave.
        """
        reading, writing = os.pipe()
        if child := os.fork():
            os.close(writing)
            with os.fdopen(reading) as report:
                said = report.read()
            _, status = os.waitpid(child, 0)
            return f"{said}, ended {status}"
        os.close(reading)
        allowed = trio.run(self._uses_that_are_allowed)
        os.write(writing, f"allowed: {' '.join(allowed)}".encode())
        os.close(writing)
        sys.exit()  # with all that an interpreter does at its end

    async def _uses_that_are_allowed(self) -> list[str]:
        uses: dict[str, Callable[[], Awaitable[object] | object]] = {
            "read": lambda: self.store.read(Table.DEVICES, [PARTITION]),
            "page": lambda: self.store.page(Table.DEVICES, START, 1),
            "changed": self.store.changed,
            "changes": lambda: self.store.changes(0),
            "commit": lambda: self.store.commit({}, 0),
            "change_secret": lambda: self.store.change_secret(KEY),
            "info": self.store.info,
            "counts": self.store.counts,
            "wrapping": self.store.wrapping,
            "backup": lambda: backup(self.store, self._folder.parent / "of-a-child"),
        }
        refused_nothing = list[str]()
        for name, use in uses.items():
            try:
                answer = use()
                if isinstance(answer, Awaitable):
                    await answer
            except StorePoisoned:
                continue
            refused_nothing.append(name)
        await self.store.aclose()
        with contextlib.suppress(StoreUnavailable):
            await self.open("5")
            refused_nothing.append("open_store")
        return refused_nothing

    async def fork_in_commit(self) -> str:
        """Fork while a thread is in SQLite; the child drops its copy of the handle, and must not wait for it."""
        writer = self.store._writer  # pyright: ignore[reportPrivateUsage]
        in_sqlite, go_on = threading.Event(), threading.Event()

        def hold(_code: int, first: str | None, *_: str | None) -> int:
            if first == "COMMIT":
                in_sqlite.set()
                go_on.wait()  # with SQLite's mutex
            return sqlite3.SQLITE_OK

        status = -1
        writer.set_authorizer(hold)
        store_module.SLOW_COMMIT = -1.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, self.store, device(1, b"in-a-thread"))
            await trio.to_thread.run_sync(in_sqlite.wait)
            child = os.fork()
            if not child:
                vars(self.store).clear()
                del writer
                os._exit(0)
            _, status = await trio.to_thread.run_sync(os.waitpid, child, 0)
            go_on.set()
        self.store._writer.set_authorizer(None)  # pyright: ignore[reportPrivateUsage]
        return f"ended {status}"


def main() -> None:
    """Do what each line says, until there are no more."""
    peer = Peer(Path(sys.argv[1]))
    for line in sys.stdin:
        try:
            answer = peer.fork() if line.strip() == "fork" else trio.run(peer.do, line)
        except StoreError as error:
            answer = type(error).__name__
            print(error, file=sys.stderr)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
