"""The unwedging actor owns what was done lately about Olm sessions that were of no use: it isn't done too often.

Its invariants:

- What limits how often something is done is stored in the commit that does it: it holds over all processes.
- What nobody asks for any more goes with the next changes, so that there are few rows. All are one partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import ClassVar, Final, TypeAlias, assert_never

import attrs

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import DeviceAddress, Message, Reply
from olmstate.storage import Row, RowReader, Table

from .stored import RepairRecord

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
"""Milliseconds."""
LOOKED_AT: Final = 64
"""Repairs at each change, whether they matter any more."""


class Repair(QuietStruct, kw_only=True, frozen=True):
    """What was done lately for one device; times are milliseconds since 1970."""

    wanted: int | None = None
    """Since when a new session is wanted: once there is one, the device is told, by an ``m.dummy``."""
    begun: int | None = None
    """When one was begun for that reason."""
    shared_again: tuple[int, ...] = ()
    """When room keys were sent again, in the last hour."""

    def may_begin(self, now: int) -> bool:
        """Whether another session may be begun: at most one an hour (spec: Recovering from undecryptable messages)."""
        return not _within(self.begun, HOUR, now)

    def matters(self, now: int) -> bool:
        """Whether it must be known any more."""
        recently = any(_within(at, HOUR, now) for at in (self.begun, *self.shared_again))
        return recently or _within(self.wanted, DAY, now)


def _within(at: int | None, period: int, now: int) -> bool:
    """Whether something was less than a period ago; nothing is in the future, so the clock was set back."""
    return at is not None and 0 <= now - at < period


@attrs.define(kw_only=True)
class _Repairs:
    """Those of all devices."""

    by_device: dict[DeviceAddress, Repair] = attrs.field(factory=dict[DeviceAddress, Repair])
    changed: set[DeviceAddress] = attrs.field(factory=set[DeviceAddress])
    """New, other or gone against what is stored."""


class _Codec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> _Repairs:  # noqa: ARG002 - there is one
        repairs = _Repairs()
        self.add(repairs, rows)
        return repairs

    def add(self, entry: _Repairs, rows: Sequence[Row]) -> None:
        for row in rows:
            record = loads(row, RepairRecord)
            device = DeviceAddress(user_id=record.user_id, device_id=record.device_id)
            entry.by_device[device] = Repair(
                wanted=record.wanted, begun=record.begun, shared_again=tuple(record.shared_again)
            )

    def encode(self, partition: bytes, entry: _Repairs) -> Iterable[Row]:
        for device in entry.changed:
            repair = entry.by_device.get(device)
            key = self._store.key(Table.OLM_REPAIRS, device.user_id, device.device_id)
            yield Row(key, partition, None if repair is None else dumps(_record(device, repair)))
        entry.changed.clear()


def _record(device: DeviceAddress, repair: Repair) -> RepairRecord:
    return RepairRecord(
        user_id=device.user_id,
        device_id=device.device_id,
        wanted=repair.wanted,
        begun=repair.begun,
        shared_again=list(repair.shared_again),
    )


class Repairs(QuietStruct, Message[Mapping[DeviceAddress, Repair]], kw_only=True, frozen=True):
    """What was done lately, as this turn sees it; not to be changed. Of devices that aren't in it, nothing was."""


class PutRepairs(QuietStruct, Message[None], kw_only=True, frozen=True):
    """What was done is this, from now on."""

    repairs: Mapping[DeviceAddress, Repair]
    now: int


Asked: TypeAlias = Repairs | PutRepairs


class UnwedgingActor(Actor[Asked]):
    """Owns what was done lately about Olm sessions that were of no use."""

    name: ClassVar[str] = "unwedging"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        codec, capacity = _Codec(environment.store), environment.capacity(Table.OLM_REPAIRS)
        self._repairs = Cache[_Repairs](Table.OLM_REPAIRS, codec, capacity)
        self._partition = environment.store.key(Table.OLM_REPAIRS, "repairs")
        super().__init__(environment, [self._repairs])

    def wanted(self, message: Asked) -> Wanted:  # noqa: ARG002 - each wants the same
        """All of them."""
        return ((self._repairs, [self._partition]),)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case Repairs():
                return message.reply(self._repairs.current(self._partition).by_device)
            case PutRepairs(repairs=repairs, now=now):
                self._put(repairs, now)
                return message.reply(None)
            case _:
                assert_never(message)

    def _put(self, repairs: Mapping[DeviceAddress, Repair], now: int) -> None:
        all_of_them = self._repairs.change(self._partition)
        by_device = all_of_them.by_device
        by_device.update(repairs)
        all_of_them.changed.update(repairs)
        # some in turn, and more than are new: each is looked at before long, however many there are
        for device in list(islice(by_device, LOOKED_AT + 2 * len(repairs))):
            repair = by_device.pop(device)
            if repair.matters(now):
                by_device[device] = repair
            else:
                all_of_them.changed.add(device)
