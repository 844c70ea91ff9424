"""Actors without a supervisor: the test says when others' writes are looked for, and when a turn ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from olmstate.actors._account.actor import AccountActor
from olmstate.actors._capabilities import CAPABILITIES
from olmstate.actors._devices.actor import DevicesActor
from olmstate.actors._engine.actor import Actor, Committed, Environment, Invalidate, Newest, Notice, RolledBack
from olmstate.actors._engine.hidden_nursery import HiddenNursery
from olmstate.actors._engine.options import Options
from olmstate.actors._engine.turn import ActorsByClass
from olmstate.actors._room_keys.actor import InboundGroupSessionsActor
from olmstate.actors._rooms.actor import OutboundGroupSessionsActor
from olmstate.actors._to_device.actor import OlmSessionsActor
from olmstate.actors._wire.steps import at_once
from olmstate.messages import DeviceId, StoreBusy, UserId
from olmstate.storage import Row, Rows, Store, Table

A = TypeVar("A", bound=Actor[Any])
T = TypeVar("T")

USER = UserId("@device-under-test:example.org")
"""Whose device is tested, unless a test says otherwise: nobody whom a test would call so, such as Alice."""
DEVICE = DeviceId("TESTED")
"""Which device."""


class ActorsUnderTest:
    """One actor a data type over one store, and the parts of a turn that a supervisor would do.

    An actor answers only while `run_actor` runs it.

    Example:
        >>> import trio
        >>> from olmstate.actors.testing import MemoryDisk, MemoryStore
        >>> from olmstate.messages import Devices
        >>> async def main() -> None:
        ...     disk = MemoryDisk()
        ...     actors = ActorsUnderTest(MemoryStore(disk))
        ...     async with run_actor(actors.devices) as devices:
        ...         print(await devices.ask(Devices(user_id=USER)))  # loads; nothing did before
        ...         disk.write_from_elsewhere(keys_known=False)
        ...         actors.refresh()  # now the actor knows that its copy is worth nothing
        ...         print(await devices.ask(Devices(user_id=USER)))
        ...     print(devices.statistics()["devices"].loaded)
        >>> trio.run(main)
        ()
        ()
        2
    """

    def __init__(
        self,
        store: Store,
        *,
        user_id: UserId = USER,
        device_id: DeviceId = DEVICE,
        capacities: Mapping[Table, int] | None = None,
    ) -> None:
        """Actors that have loaded nothing.

        Args:
            store: What they read, and what `commit` writes to.
            user_id: Whose device the account is of.
            device_id: Which device.
            capacities: Cached entries by data type, as in `Options`.
        """
        self._store = store
        self.newest = Newest()
        """The newest generation that was looked at; each message is stamped with it."""
        environment = Environment(
            store=store,
            newest=self.newest,
            capacity=Options(capacities=capacities or {}).capacity,
            write_later=lambda: None,
            presence=store.presence,
            user_id=user_id,
            device_id=device_id,
        )
        self._actors = ActorsByClass(each.actor(environment) for each in CAPABILITIES if each.actor is not None)

    def __getitem__(self, actor: type[A]) -> A:
        """The actor of this class."""
        return self._actors[actor]

    @property
    def account(self) -> AccountActor:
        """Owns the account and the sync token."""
        return self[AccountActor]

    @property
    def olm_sessions(self) -> OlmSessionsActor:
        """Owns the Olm sessions."""
        return self[OlmSessionsActor]

    @property
    def inbound_group_sessions(self) -> InboundGroupSessionsActor:
        """Owns the room keys."""
        return self[InboundGroupSessionsActor]

    @property
    def outbound_group_sessions(self) -> OutboundGroupSessionsActor:
        """Owns the sessions that we encrypt to rooms with."""
        return self[OutboundGroupSessionsActor]

    @property
    def devices(self) -> DevicesActor:
        """Owns other devices' public keys."""
        return self[DevicesActor]

    @property
    def all(self) -> tuple[Actor[Any], ...]:
        """All of them."""
        return tuple(self._actors)

    def refresh(self) -> None:
        """Tell the actors what others have written, as a supervisor does before it passes a message on."""
        changes = _at_once(self._store.look(self.newest.generation))
        if changes is not None and changes.generation != self.newest.generation:
            self.newest.generation = changes.generation
            self._tell(Invalidate(generation=changes.generation, partitions=changes.partitions))

    async def commit(self) -> int:
        """End a turn: write, under the lock, what the actors have changed; the new generation.

        Raises:
            Fenced, StoreError: As `Store.commit`; the turn is rolled back.
        """
        rows: dict[Table, list[Row]] = {}
        for actor in self.all:
            rows.update(at_once(actor.changed_rows()))
        try:
            self.newest.generation = await self._write(rows)
        except BaseException:
            self.roll_back()
            raise
        written = {table: frozenset(row.partition for row in changed) for table, changed in rows.items()}
        self._tell(Committed(generation=self.newest.generation, written=written))
        return self.newest.generation

    async def _write(self, rows: Rows) -> int:
        lock = self._store.lock
        if not lock.acquire_nowait():
            raise StoreBusy(holder_pid=lock.holder_pid(), waited=0)
        try:
            return await self._store.commit(rows, self.newest.generation)
        finally:
            lock.release()

    def roll_back(self) -> None:
        """End a turn that failed: what the actors have changed is gone."""
        self._tell(RolledBack())

    def _tell(self, notice: Notice) -> None:
        for actor in self.all:
            actor.notify(notice)


@asynccontextmanager
async def run_actor(actor: A) -> AsyncGenerator[A]:
    """Run one actor while the block runs."""
    async with HiddenNursery() as nursery:
        nursery.start_soon(actor.run)
        yield actor
        nursery.cancel_scope.cancel()


def _at_once(looking: Coroutine[Any, Any, T]) -> T:
    """What comes of a look that waits for nothing."""
    try:
        looking.send(None)
    except StopIteration as looked:
        return cast("T", looked.value)
    looking.close()
    raise RuntimeError("this store's look waits: ActorsUnderTest is for stores that can tell at once")
