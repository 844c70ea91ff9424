"""The product with a part of its protection taken out: what a simulation must find out, or it proves nothing.

Owns: `BROKEN`, and which rules must find what is missing.
Rule: the product has no switch for any of this. A store is wrapped, or a class is replaced while a simulation runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import attrs
from outcome import Outcome

from olmstate.actors._account.actor import AccountActor, OwnAccount, SyncState
from olmstate.actors._engine.actor import Invalidate, Notice
from olmstate.actors._engine.envelope import Envelope
from olmstate.actors._engine.runner import Runner
from olmstate.actors._rooms.actor import OutboundGroupSessionsActor, OutboundSession, Reservation
from olmstate.actors.testing import MemoryDisk
from olmstate.messages import JsonObject, KeyId, SharedEvent
from olmstate.storage import Changes, Fenced, Rows, Store
from tests.actors.capabilities import with_actor
from tests.faults.wrapped import WrappedLock, WrappedStore
from tests.simulation.simulate import LONG, Variant, WrapStore


def instead(where: str, name: str, part: object) -> Callable[[], AbstractContextManager[None]]:
    """Put something in the place of what a module, or a class in one, calls by a name while a simulation runs."""
    *classes, attribute = name.split(".")
    owner: Any = importlib.import_module(where)
    for each in classes:
        owner = getattr(owner, each)

    @contextmanager
    def replaced() -> Generator[None]:
        before = getattr(owner, attribute)
        setattr(owner, attribute, part)
        try:
            yield
        finally:
            setattr(owner, attribute, before)

    return replaced


# --- without the lock ---------------------------------------------------------------------------------------


class NoLock(WrappedLock):
    """Everybody has it who asks for it."""

    _mine = False

    @property
    def held(self) -> bool:
        """Whether this handle believes to hold it."""
        return self._mine

    async def acquire(self, timeout: float) -> object:  # noqa: ASYNC109, ARG002 - the protocol's
        """Take it."""
        self._mine = True
        return None

    def acquire_nowait(self) -> bool:
        """Take it."""
        self._mine = True
        return True

    def contended(self) -> bool:
        """Nobody waits."""
        return False

    def release(self) -> None:
        """Forget it."""
        self._mine = False


class LocklessStore(WrappedStore):
    """A store that doesn't keep others out while a turn runs; the fence is as it was."""

    def __init__(self, inner: Store, disk: MemoryDisk) -> None:
        """Over a store on ``disk``."""
        super().__init__(inner, NoLock(inner.lock))
        self._disk = disk

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write rows, with the lock for as long as that takes: the store insists on it."""
        await self.inner.lock.acquire(LONG)
        try:
            return await super().commit(rows, seen)
        finally:
            self.inner.lock.release()


class LocklessUnfencedStore(LocklessStore):
    """Nor is a commit ever turned back."""

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write rows, whatever they derive from."""
        while True:
            with suppress(Fenced):
                return await super().commit(rows, max(seen, self._disk.generation))


# --- without the generation ---------------------------------------------------------------------------------


class UncheckedStore(WrappedStore):
    """Nobody hears of another's commits, and no commit is ever turned back."""

    def __init__(self, inner: Store, disk: MemoryDisk) -> None:
        """Over a store on ``disk``."""
        super().__init__(inner)
        self._disk = disk
        self._looked = False

    async def look(self, since: int | None) -> Changes | None:
        """Nothing, after the first time."""
        first, self._looked = not self._looked, True
        return await super().look(since) if first else None

    async def commit(self, rows: Rows, seen: int) -> int:
        """Write rows, whatever they derive from."""
        while True:
            with suppress(Fenced):  # somebody was quicker, while this one was on its way
                await super().commit(rows, self._disk.generation)
                return seen


# --- without patience ---------------------------------------------------------------------------------------


class HastySupervisor(Runner):
    """It answers before it has committed."""

    async def _run_all(
        self, batch: Sequence[Envelope[Any]]
    ) -> tuple[dict[Envelope[Any], Outcome[Any]], list[SharedEvent]]:
        results, events = await super()._run_all(batch)
        for envelope, result in results.items():
            envelope.resolve(result)
        return results, events


class DeafSupervisor(Runner):
    """It knows what others have written, and tells no actor."""

    def _notify(self, notice: Notice) -> None:
        if isinstance(notice, Invalidate):
            notice = Invalidate(generation=notice.generation, partitions={})
        super()._notify(notice)


class ForgetfulActor(OutboundGroupSessionsActor):
    """It uses indices as if they were reserved, and stores nothing of it."""

    def _reserve_more(self, partition: bytes, session: OutboundSession) -> Reservation:
        own = super()._reserve_more(partition, session)
        self._sessions.put(partition, session)
        return own


# --- without thinking of those who have claimed ---------------------------------------------------------------


def _offer_again(self: AccountActor, own: OwnAccount, sync: SyncState, now: int) -> dict[KeyId, JsonObject]:
    """Of an upload that isn't answered, the same keys are handed out again."""
    upload = own.keys.upload
    if upload is None:
        return _MAKE(self, own, sync, now)
    sign = self._signed  # pyright: ignore[reportPrivateUsage] - in the place of a method
    return {key_id: sign(own.account, {"key": key}) for key_id, key in upload.keys.items()}


_MAKE = AccountActor._make_one_time_keys  # pyright: ignore[reportPrivateUsage] - the same


# --- all of them --------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Broken:
    """A variant, and the rules each of which must find it out."""

    variant: Variant
    found_by: tuple[str, ...]


def _store(name: str, store: WrapStore) -> Variant:
    return Variant(name=name, store=store)


def supervisor_variant(name: str, part: type[Runner]) -> Variant:
    """With another supervisor."""
    return Variant(name=name, patches=instead("olmstate.actors._open", "Runner", part))


LOCKLESS = _store("no lock", LocklessStore)
"""With the fence. It wastes turns, but breaks no ratchet: the fence is there for when a lock is lost."""

BROKEN = (
    Broken(
        variant=Variant(
            name="keys offered again",
            patches=instead("olmstate.actors._account.actor", "AccountActor._make_one_time_keys", _offer_again),
        ),
        found_by=("a one time key is offered once",),
    ),
    Broken(variant=LOCKLESS, found_by=("one at a time",)),
    Broken(
        # a reply is stale in one of some hundreds of seeds only: those without a fence show that
        variant=_store("no lock and no fence", LocklessUnfencedStore),
        found_by=("one at a time", "one chain", "one step one message"),
    ),
    Broken(
        variant=_store("no generation check", UncheckedStore),
        found_by=("one chain", "no stale reply", "one step one message"),
    ),
    Broken(
        variant=supervisor_variant("reply before commit", HastySupervisor),
        found_by=("durable before it leaves", "stored index is beyond"),
    ),
    Broken(
        variant=supervisor_variant("invalidate ignored", DeafSupervisor),
        found_by=("no stale reply", "one step one message"),
    ),
    Broken(
        variant=Variant(
            name="reservation not durable",
            patches=instead(
                "olmstate.actors._open", "CAPABILITIES", with_actor(OutboundGroupSessionsActor, ForgetfulActor)
            ),
        ),
        found_by=("stored index is beyond", "one step one message"),
    ),
)
