"""Another process that does the whole of something between two steps of this one.

Owns: `Overtaking`, what such a process writes and tells, found out beforehand on a copy of the disk.
Rule: it doesn't ask for the lock, as one that has lost it and doesn't know. So it can come in anywhere, as long as the
generation is the one that it derives from: the fence would turn it back later.
Why: a stale copy shows only where what it is a copy of has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import attrs

from olmstate.actors import Options
from olmstate.actors.testing import MemoryDisk, MemoryStore
from olmstate.messages import Message, OlmStateError
from olmstate.storage import Row, Rows, Store, Table
from tests.faults.history import Entry, Json, Log
from tests.faults.recording import WATCHED, describe
from tests.faults.wrapped import WrappedStore
from tests.simulation.process import Process

Written: TypeAlias = dict[Table, Sequence[Row]]

OF_THE_STORE = frozenset({"locked", "unlocked", "seen", "committing", "committed"})
"""Entries that stand for what is then done anew."""


class _Tape(WrappedStore):
    """A store that keeps what is committed to it."""

    def __init__(self, inner: Store, tape: list[Entry | Written]) -> None:
        super().__init__(inner)
        self._tape = tape

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write rows."""
        self._tape.append({table: tuple(table_rows) for table, table_rows in rows.items()})
        return await super().commit(rows, seen)


@attrs.frozen
class Overtaking:
    """See the module."""

    message: Message[Any]
    reply: Json
    """None if it was refused, too."""
    _generation: int
    _tape: Sequence[Entry | Written]

    @classmethod
    async def prepare(
        cls, disk: MemoryDisk, message: Message[Any], options: Options, clock: Callable[[], int]
    ) -> Overtaking:
        """Find out what a process does that asks ``message``, on what ``disk`` holds now."""
        tape: list[Entry | Written] = []
        process = Process(_copy(disk), tape, pid=9, token="overtaking", clock=clock)
        reply: Json = None
        async with process.run(options, lambda store: _Tape(store, tape)) as supervisor:
            with suppress(OlmStateError):  # that it was refused is on the tape
                reply = await supervisor.ask(message)
        return cls(message, reply, disk.generation, tape)

    def can(self, disk: MemoryDisk) -> bool:
        """Whether it writes anything, and may."""
        return disk.generation == self._generation and any(isinstance(step, dict) for step in self._tape)

    def do(self, disk: MemoryDisk, log: Log, *, told: bool) -> None:
        """Do it; ``told``: it can be told what it wrote."""
        plain = MemoryStore(disk)
        for step in self._tape:
            if isinstance(step, dict):
                generation = disk.write_from_elsewhere(step, keys_known=told)
                rows = [describe(plain, table, row) for table in WATCHED for row in step.get(table, ())]
                log.write("elsewhere", generation=generation, rows=rows)
            elif step.kind == "replied":
                log.write("replied", **{**step.data, "generation": disk.generation})
            elif step.kind not in OF_THE_STORE:
                log.write(step.kind, **step.data)


def _copy(disk: MemoryDisk) -> MemoryDisk:
    copied = MemoryDisk()
    while copied.generation < disk.generation - 1:
        copied.write_from_elsewhere()
    if disk.generation:
        copied.write_from_elsewhere({table: disk.rows(table) for table in Table})
    return copied
