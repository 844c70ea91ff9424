"""What a single fault must find out: the product with a part of its protection taken out, and where to look.

Owns: `BROKEN_STEPS`.
Rule: as in `variants`, the product has no switch for any of this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, TypeVar

import attrs
from outcome import Outcome

from olmstate.actors._engine.actor import Invalidate, Notice
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.envelope import Envelope
from olmstate.actors._engine.runner import Runner
from olmstate.actors._engine.states import Move
from olmstate.actors._engine.subscriptions import Subscriptions
from olmstate.actors._rooms.actor import MarkShared, OutboundGroupSessionsActor
from olmstate.actors.testing import MemoryDisk
from olmstate.messages import (
    Event,
    ExportRoomKeys,
    JsonObject,
    Message,
    SharedEvent,
    StoreChanged,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from olmstate.storage import Changes, Store
from tests.actors.capabilities import with_actor, with_run
from tests.faults.wrapped import WrappedLock, WrappedStore
from tests.simulation.every_step import Mode
from tests.simulation.simulate import Variant
from tests.simulation.variants import BROKEN, instead, supervisor_variant

E = TypeVar("E")
R = TypeVar("R")

# --- turns --------------------------------------------------------------------------------------------------


class ForgivingSupervisor(Runner):
    """What a failed turn has changed stays."""

    def _roll_back(self) -> None:
        pass


class LyingSupervisor(Runner):
    """It takes a commit that was refused for one that was not."""

    async def _commit(self, seen: int, events: Sequence[SharedEvent]) -> int | None:
        try:
            return await super()._commit(seen, events)
        except StoreError:
            return seen + 1


class RawSupervisor(Runner):
    """It says what the system says."""

    async def ask(self, message: Message[R]) -> R:
        """Ask, and hear what the system says."""
        try:
            return await super().ask(message)
        except StoreUnavailable as error:
            raise OSError("no such file") from error


class VagueSupervisor(Runner):
    """It says that something is wrong, and not what."""

    async def _commit(self, seen: int, events: Sequence[SharedEvent]) -> int | None:
        try:
            return await super()._commit(seen, events)
        except StoreFull as error:
            raise StoreError from error


def _never(_: BaseException) -> bool:
    """No exception is a bug."""
    return False


class UnendingSupervisor(Runner):
    """It never says that it is closed."""

    def _move(self, move: Move) -> None:
        if move is not Move.CLOSE:
            super()._move(move)


class StuckLock(WrappedLock):
    """It is let go by nobody."""

    def release(self) -> None:
        """Keep it."""


def _never_let_go(inner: Store, disk: MemoryDisk) -> Store:
    return WrappedStore(inner, StuckLock(inner.lock))


def _unanswered(self: Envelope[Any], error: Exception) -> None:
    """Whoever is refused is not told."""


# --- caches -------------------------------------------------------------------------------------------------


class UnlookingStore(WrappedStore):
    """Nobody hears of others' commits, but for the fence."""

    def __init__(self, inner: Store, disk: MemoryDisk) -> None:  # noqa: ARG002 - as all of them
        """Over a store."""
        super().__init__(inner)
        self._looked = False

    async def look(self, since: int | None) -> Changes | None:
        """Nothing, after the first time."""
        first, self._looked = not self._looked, True
        return await super().look(since) if first else None


class HoardingCache(Cache[E]):
    """It takes in what was being loaded while it was invalidated."""

    def invalidate(self, partitions: Collection[bytes] | None) -> None:
        """Drop copies, and no more."""
        loading = set(self._loading)
        super().invalidate(partitions)
        self._loading |= loading


# --- events -------------------------------------------------------------------------------------------------


class HurriedSupervisor(Runner):
    """It publishes before it has committed."""

    async def _run_all(
        self, batch: Sequence[Envelope[Any]]
    ) -> tuple[dict[Envelope[Any], Outcome[Any]], list[SharedEvent]]:
        results, events = await super()._run_all(batch)
        for event in events:
            self.publish(event)
        return results, []


class RudeSupervisor(Runner):
    """An invalidation ends all subscriptions."""

    def _notify(self, notice: Notice) -> None:
        super()._notify(notice)
        if isinstance(notice, Invalidate):
            self._subscriptions.close()


def _unending(self: Subscriptions) -> None:
    """Nobody is told of the end."""


class DiscreetSupervisor(Runner):
    """It tells nobody of others' writes."""

    def publish(self, event: Event) -> None:
        """Tell subscribers, mostly."""
        if not isinstance(event, StoreChanged):
            super().publish(event)


# --- replies ------------------------------------------------------------------------------------------------


class CarelessActor(OutboundGroupSessionsActor):
    """It believes that any session was shared."""

    def _mark_shared(self, asked: MarkShared) -> None:
        pass


async def _export_nothing(*_: object) -> tuple[JsonObject, ...]:
    return ()


# --- all of them --------------------------------------------------------------------------------------------

Where: TypeAlias = tuple[str, Mode, str]
"""A scenario, how it is met, and a fault: at all steps."""


@attrs.frozen(kw_only=True)
class BrokenStep:
    """A variant, where to look, and the rules each of which must find it out there."""

    variant: Variant
    where: tuple[Where, ...]
    found_by: tuple[str, ...]


def _supervisor(name: str, part: type[Runner], *where: Where, found_by: tuple[str, ...]) -> BrokenStep:
    return BrokenStep(variant=supervisor_variant(name, part), where=where, found_by=found_by)


def _patched(name: str, patches: Patches, *where: Where, found_by: tuple[str, ...]) -> BrokenStep:
    return BrokenStep(variant=Variant(name=name, patches=patches), where=where, found_by=found_by)


Patches: TypeAlias = Callable[[], AbstractContextManager[None]]

IN_ALL: dict[str, tuple[tuple[Where, ...], tuple[str, ...]]] = {
    "keys offered again": ((("one_time_keys", "warm", "kill"),), ("a one time key is offered once",)),
    "no lock": ((("add_room_key", "queued", "invalidate"),), ("one at a time",)),
    "no lock and no fence": (
        (
            ("encrypt_room_event", "queued", "another process asks the same"),
            ("devices", "warm", "overtaken"),
        ),
        ("one at a time", "one chain", "one step one message"),
    ),
    "no generation check": (
        (
            ("encrypt_to_device", "queued", "another process asks the same"),
            ("devices", "warm", "overtaken"),
        ),
        ("one chain", "no stale reply", "one step one message"),
    ),
    "reply before commit": (
        (("share_new_room_key", "warm", "disk full"), ("encrypt_room_event", "warm", "kill")),
        ("durable before it leaves", "stored index is beyond"),
    ),
    "invalidate ignored": (
        (("sync_token", "warm", "overtaken"), ("encrypt_to_device", "warm", "another process asks the same")),
        ("no stale reply", "one step one message"),
    ),
    "reservation not durable": (
        (("encrypt_room_event", "afterwards", "close"),),
        ("stored index is beyond", "one step one message"),
    ),
}
"""Where to look for the variants that a simulation finds, too."""

BROKEN_STEPS: Sequence[BrokenStep] = (
    *(
        BrokenStep(
            variant=broken.variant, where=IN_ALL[broken.variant.name][0], found_by=IN_ALL[broken.variant.name][1]
        )
        for broken in BROKEN
    ),
    _supervisor(
        "what failed is not rolled back",
        ForgivingSupervisor,
        ("receive_sync", "cold", "damage"),
        found_by=("the token is never ahead",),
    ),
    _supervisor(
        "a commit that failed passes",
        LyingSupervisor,
        ("add_devices", "cold", "disk full"),
        found_by=("what fails is not done",),
    ),
    _supervisor(
        "the system's errors come out",
        RawSupervisor,
        ("sync_token", "cold", "disk error"),
        found_by=("no bugs", "everybody is answered"),
    ),
    _supervisor(
        "errors say nothing",
        VagueSupervisor,
        ("add_devices", "cold", "disk full"),
        found_by=("no other refusal",),
    ),
    _patched(
        "a bug is everybody's",
        instead("olmstate.actors._engine.actor", "is_bug", _never),
        ("add_devices", "cold", "bug in the actor"),
        found_by=("a bug ends nothing",),
    ),
    _patched(
        "a bug in a turn is everybody's",
        instead("olmstate.actors._engine.runner", "is_bug", _never),
        ("add_devices", "cold", "bug in the store"),
        found_by=("a bug ends nothing", "no other refusal"),
    ),
    _supervisor(
        "never closed",
        UnendingSupervisor,
        ("add_devices", "cold", "close"),
        found_by=("a supervisor is closed in the end",),
    ),
    BrokenStep(
        variant=Variant(name="lock never let go", store=_never_let_go),
        where=(("add_devices", "cold", "invalidate"),),
        found_by=("the lock is free in the end", "everybody gets through"),
    ),
    _patched(
        "nobody is told of refusals",
        instead("olmstate.actors._engine.envelope", "Envelope.fail", _unanswered),
        ("add_devices", "cold", "disk full"),
        found_by=("everybody gets through",),
    ),
    BrokenStep(
        variant=Variant(name="nobody looks", store=UnlookingStore),
        where=(("sync_token", "warm", "overtaken"),),
        found_by=("no stale reply",),
    ),
    _patched(
        "what was loaded too early is kept",
        instead("olmstate.actors._devices.actor", "Cache", HoardingCache),
        ("devices", "crowded", "overtaken, seen by another asker"),
        found_by=("no stale reply",),
    ),
    _supervisor(
        "news before the commit",
        HurriedSupervisor,
        ("receive_sync", "cold", "disk full"),
        found_by=("durable before it leaves", "no news of what failed"),
    ),
    _supervisor(
        "subscriptions end when others write",
        RudeSupervisor,
        ("add_devices", "warm", "invalidate"),
        found_by=("news of what was done", "what follows"),
    ),
    _patched(
        "subscriptions don't end",
        instead("olmstate.actors._engine.subscriptions", "Subscriptions.close", _unending),
        ("sync_token", "afterwards", "somebody subscribes"),
        found_by=("subscriptions end",),
    ),
    _supervisor(
        "others' writes are kept quiet",
        DiscreetSupervisor,
        ("sync_token", "crowded", "invalidate"),
        found_by=("others' writes are told",),
    ),
    _patched(
        "any session can be marked as shared",
        instead("olmstate.actors._open", "CAPABILITIES", with_actor(OutboundGroupSessionsActor, CarelessActor)),
        ("sync_token", "crowded", "a subscriber is gone"),
        found_by=("what others ask",),
    ),
    _patched(
        "exports are empty",
        instead("olmstate.actors._open", "CAPABILITIES", with_run(ExportRoomKeys, lambda _: _export_nothing)),
        ("export_room_keys", "cold", "invalidate"),
        found_by=("the right reply",),
    ),
)
