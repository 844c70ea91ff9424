"""The room settings actor owns what rooms say of their encryption.

Its invariants:

- A room that is encrypted stays so, with an algorithm that we know: whoever says something else is not heard.
- What is said last counts for when its key is replaced, and for whether its history is shared.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias, assert_never

from msgspec.structs import replace

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import OneRecordCodec, restore
from olmstate.actors._wire.algorithms import MEGOLM
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import EncryptionSettings, Message, Reply, RoomId, RoomSettings, RotationPeriod
from olmstate.storage import Table

from .stored import RoomSettingsRecord


class Told(QuietStruct, kw_only=True, frozen=True):
    """What a room has said now; None where it has said nothing."""

    rotation: RotationPeriod | None = None
    """It is encrypted, by an algorithm that we know."""
    shared_history: bool | None = None


class PutSettings(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Rooms have said something."""

    rooms: dict[RoomId, Told]


class SettingsOf(QuietStruct, Message[EncryptionSettings | None], kw_only=True, frozen=True):
    """A room's settings, as this turn sees them."""

    room_id: RoomId


Asked: TypeAlias = RoomSettings | PutSettings | SettingsOf
_NOTHING = RoomSettingsRecord(algorithm=None)


class RoomSettingsActor(Actor[Asked]):
    """Owns what rooms say of their encryption."""

    name: ClassVar[str] = "room_settings"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        codec, capacity = OneRecordCodec(RoomSettingsRecord), environment.capacity(Table.ROOM_SETTINGS)
        self._rooms = Cache[RoomSettingsRecord | None](Table.ROOM_SETTINGS, codec, capacity)
        super().__init__(environment, [self._rooms])

    def _key(self, room_id: RoomId) -> bytes:
        return self._store.key(Table.ROOM_SETTINGS, room_id)

    def wanted(self, message: Asked) -> Wanted:
        """The rooms named."""
        match message:
            case RoomSettings(room_id=room_id) | SettingsOf(room_id=room_id):
                return ((self._rooms, [self._key(room_id)]),)
            case PutSettings(rooms=rooms):
                return ((self._rooms, [self._key(room_id) for room_id in rooms]),)
            case _:
                assert_never(message)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case RoomSettings(room_id=room_id):
                return message.reply(_settings(self._rooms.committed(self._key(room_id))))
            case SettingsOf(room_id=room_id):
                return message.reply(_settings(self._rooms.current(self._key(room_id))))
            case PutSettings(rooms=rooms):
                for room_id, told in rooms.items():
                    self._put(self._key(room_id), told)
                return message.reply(None)
            case _:
                assert_never(message)

    def _put(self, key: bytes, told: Told) -> None:
        known = self._rooms.current(key) or _NOTHING
        now = known
        if told.rotation is not None:
            now = replace(
                now, algorithm=MEGOLM, messages=told.rotation.messages, milliseconds=told.rotation.milliseconds
            )
        if told.shared_history is not None:
            now = replace(now, shared_history=told.shared_history)
        if now != known:
            self._rooms.put(key, now)


def _settings(record: RoomSettingsRecord | None) -> EncryptionSettings | None:
    if record is None or record.algorithm is None:
        return None
    rotation = restore(record.table, RotationPeriod, messages=record.messages, milliseconds=record.milliseconds)
    return EncryptionSettings(algorithm=record.algorithm, rotation=rotation, shared_history=record.shared_history)
