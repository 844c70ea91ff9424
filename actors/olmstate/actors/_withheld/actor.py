"""The withheld notices actor owns which devices were told that there is no Olm session with them.

Its invariants:

- A device is told once. It is told again only if a session has worked in between.
- That it was told is stored in the commit that stores the notice as a request.

Who was told that a certain session's key is withheld is stored with that session's recipients, and goes with them.

All devices are one partition, since one that stays without a session is an exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeAlias, assert_never

import attrs

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads
from olmstate.messages import DeviceAddress, Message, Reply
from olmstate.storage import Row, RowReader, Table

from .stored import NoOlmNoticeRecord


@attrs.define(kw_only=True)
class _Told:
    """All devices that were told."""

    devices: set[DeviceAddress] = attrs.field(factory=set[DeviceAddress])
    changed: set[DeviceAddress] = attrs.field(factory=set[DeviceAddress])


class _Codec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> _Told:  # noqa: ARG002 - there is one
        told = _Told()
        self.add(told, rows)
        return told

    def add(self, entry: _Told, rows: Sequence[Row]) -> None:
        records = [loads(row, NoOlmNoticeRecord) for row in rows]
        entry.devices.update(DeviceAddress(user_id=each.user_id, device_id=each.device_id) for each in records)

    def encode(self, partition: bytes, entry: _Told) -> Iterable[Row]:
        for device in entry.changed:
            key = self._store.key(Table.NO_OLM_NOTICES, device.user_id, device.device_id)
            record = NoOlmNoticeRecord(user_id=device.user_id, device_id=device.device_id)
            yield Row(key, partition, dumps(record) if device in entry.devices else None)
        entry.changed.clear()


@attrs.frozen(kw_only=True)
class TellNoOlm(Message[tuple[DeviceAddress, ...]]):
    """There is no session with some devices, and there is one with others; who of the first is to be told now."""

    without: tuple[DeviceAddress, ...]
    reached: tuple[DeviceAddress, ...]


Asked: TypeAlias = TellNoOlm


class WithheldNoticesActor(Actor[Asked]):
    """Owns which devices were told that there is no Olm session with them."""

    name: ClassVar[str] = "withheld_notices"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity(Table.NO_OLM_NOTICES)
        self._told = Cache[_Told](Table.NO_OLM_NOTICES, _Codec(store), capacity)
        self._partition = store.key(Table.NO_OLM_NOTICES, "devices")
        super().__init__(environment, [self._told])

    def wanted(self, message: Asked) -> Wanted:  # noqa: ARG002 - each wants the same
        """All of them."""
        return ((self._told, [self._partition]),)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case TellNoOlm(without=without, reached=reached):
                return message.reply(tuple(self._tell(without, reached)))
            case _:
                assert_never(message)

    def _tell(self, without: tuple[DeviceAddress, ...], reached: tuple[DeviceAddress, ...]) -> list[DeviceAddress]:
        told = self._told.current(self._partition).devices
        new = [device for device in without if device not in told]
        over = told.intersection(reached) if told else told
        if new or over:
            entry = self._told.change(self._partition)
            entry.devices -= over
            entry.devices.update(new)
            entry.changed.update(new, over)
        return new
