"""The withheld notices actor owns which devices were told that there is no Olm session with them.

Its invariants:

- A device is told once. It is told again only if a session has worked in between.
- Those that were told are bounded: whoever publishes more devices than there is room for has some that are not told.
- That it was told is stored in the commit that stores the notice as a request.

Who was told that a certain session's key is withheld is stored with that session's recipients, and goes with them.

All devices are one partition, since one that stays without a session is an exception.
"""

from __future__ import annotations

from operator import attrgetter
from typing import ClassVar, Final, TypeAlias, assert_never

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.named_records import NamedRecords, NamedRecordsCodec
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.shares import surplus
from olmstate.messages import DeviceAddress, Message, Reply
from olmstate.storage import Table

from .stored import NoOlmNoticeRecord

MOST_TOLD: Final = 1_000
"""Devices that are known to have been told; whoever has very many hears of no more."""

_Told: TypeAlias = NamedRecords[tuple[str, str], NoOlmNoticeRecord]
"""All devices that were told, by user and device."""


class TellNoOlm(QuietStruct, Message[tuple[DeviceAddress, ...]], kw_only=True, frozen=True):
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
        codec = NamedRecordsCodec(store, NoOlmNoticeRecord, attrgetter("user_id", "device_id"))
        self._told = Cache[_Told](Table.NO_OLM_NOTICES, codec, capacity)
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
        told = self._told.current(self._partition).by_name
        new = {
            (device.user_id, device.device_id): device
            for device in without
            if (device.user_id, device.device_id) not in told
        }
        over = [name for device in reached if (name := (device.user_id, device.device_id)) in told] if told else []
        if not new and not over:
            return []
        # the new ones of whoever has the most are the first that there is no room for, or others' would be told again
        left_out = frozenset(surplus([(name, name[0], 0) for name in (*new, *told)], number=MOST_TOLD + len(over)))
        entry = self._told.change(self._partition)
        entry.drop((*over, *left_out))
        new = {name: device for name, device in new.items() if name not in left_out}
        entry.put({name: NoOlmNoticeRecord(user_id=name[0], device_id=name[1]) for name in new})
        return list(new.values())
