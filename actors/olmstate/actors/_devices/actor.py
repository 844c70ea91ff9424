"""The devices actor owns the public keys of other users' devices, and of our own other ones.

Its invariant: a device's Ed25519 key never changes. Whoever answers with another one for a known device is not
believed. What reaches it has a checked self-signature. The partition is the user.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeAlias, assert_never

import attrs

from olmstate.actors._engine.actor import Actor, Environment, PageQuery, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads
from olmstate.messages import (
    DeviceAddress,
    DeviceId,
    DeviceKeyChanged,
    DeviceKeys,
    Devices,
    DevicesAdded,
    Message,
    OlmStateError,
    Reply,
    UserId,
)
from olmstate.storage import Position, Row, RowReader, Table

from .stored import DeviceRecord


@attrs.define(kw_only=True)
class UserDevices:
    """All devices of a user."""

    by_id: dict[DeviceId, DeviceKeys] = attrs.field(factory=dict[DeviceId, DeviceKeys])
    changed: set[DeviceId] = attrs.field(factory=set[DeviceId])
    """New, other or gone against what is stored."""


class _Codec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> UserDevices:  # noqa: ARG002 - rows know it
        devices = [self.device(row) for row in rows]
        return UserDevices(by_id={device.device_id: device for device in devices})

    def device(self, row: Row) -> DeviceKeys:
        record = loads(row, DeviceRecord)
        return DeviceKeys(
            user_id=record.user_id,
            device_id=record.device_id,
            curve25519=record.curve25519,
            ed25519=record.ed25519,
            algorithms=record.algorithms,
        )

    def encode(self, partition: bytes, entry: UserDevices) -> Iterable[Row]:
        for device_id in entry.changed:
            device = entry.by_id.get(device_id)
            # the partition stands for the user
            key = self._store.key(Table.DEVICES, partition.hex(), device_id)
            yield Row(key, partition, None if device is None else dumps(_record(device)))
        entry.changed.clear()


def _record(device: DeviceKeys) -> DeviceRecord:
    return DeviceRecord(
        user_id=device.user_id,
        device_id=device.device_id,
        curve25519=device.curve25519,
        ed25519=device.ed25519,
        algorithms=device.algorithms,
    )


@attrs.frozen(kw_only=True)
class LookUp(Message[tuple[dict[DeviceId, DeviceKeys], ...]]):
    """The devices of each of these users, as this turn sees them."""

    users: tuple[UserId, ...]


@attrs.frozen(kw_only=True)
class DevicesPage(PageQuery[tuple[Position, tuple[DeviceKeys, ...]]]):
    """Some of all devices, and where to go on; none at the end."""

    table: Table = Table.DEVICES


@attrs.frozen(kw_only=True)
class StoreDevices(Message[DevicesAdded]):
    """What a server says that each of these users has."""

    users: dict[UserId, dict[DeviceId, DeviceKeys | OlmStateError]]
    """All devices of each; an error stands for one that is not believed: what is stored of it stays."""


Asked: TypeAlias = Devices | LookUp | DevicesPage | StoreDevices


class DevicesActor(Actor[Asked]):
    """See the module."""

    name: ClassVar[str] = "devices"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        self._codec = _Codec(environment.store)
        self._devices = Cache[UserDevices](Table.DEVICES, self._codec, environment.capacity(Table.DEVICES))
        super().__init__(environment, [self._devices])

    def _partition(self, user_id: UserId) -> bytes:
        return self._store.key(Table.DEVICES, user_id)

    def wanted(self, message: Asked) -> Wanted:
        """The users named."""
        match message:
            case Devices(user_id=user_id):
                return ((self._devices, [self._partition(user_id)]),)
            case LookUp(users=users):
                return ((self._devices, [self._partition(user_id) for user_id in users]),)
            case StoreDevices(users=by_user):
                return ((self._devices, [self._partition(user_id) for user_id in by_user]),)
            case DevicesPage():
                return ()
            case _:
                assert_never(message)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case Devices(user_id=user_id):
                by_id = self._devices.committed(self._partition(user_id)).by_id
                return message.reply(tuple(by_id[device_id] for device_id in sorted(by_id)))
            case LookUp(users=users):
                return message.reply(tuple(self._devices.current(self._partition(user)).by_id for user in users))
            case DevicesPage():
                return message.reply(self.decoded_page(message.table, self._codec.device))
            case StoreDevices(users=by_user):
                return message.reply(self._store_devices(by_user))
            case _:
                assert_never(message)

    def _store_devices(self, by_user: dict[UserId, dict[DeviceId, DeviceKeys | OlmStateError]]) -> DevicesAdded:
        added: list[DeviceAddress] = []
        removed: list[DeviceAddress] = []
        rejected: dict[DeviceAddress, OlmStateError] = {}
        for user_id, told in by_user.items():
            partition = self._partition(user_id)
            known = dict(self._devices.current(partition).by_id)
            new: dict[DeviceId, DeviceKeys] = {}
            for device_id, device in told.items():
                address = DeviceAddress(user_id=user_id, device_id=device_id)
                before = known.get(device_id)
                if isinstance(device, OlmStateError):
                    rejected[address] = device
                elif before is not None and before.ed25519 != device.ed25519:
                    rejected[address] = DeviceKeyChanged(user_id=user_id, device_id=device_id, ed25519=before.ed25519)
                elif before != device:
                    new[device_id] = device
                    if before is None:
                        added.append(address)
            gone = known.keys() - told.keys()
            if new or gone:
                devices = self._devices.change(partition)
                devices.by_id.update(new)
                for device_id in gone:
                    del devices.by_id[device_id]
                    removed.append(DeviceAddress(user_id=user_id, device_id=device_id))
                devices.changed.update(new, gone)
        return DevicesAdded(added=tuple(added), removed=tuple(removed), rejected=rejected)
