"""The devices actor owns the public keys of other users' devices, and of our own other ones.

Its invariants:

- A device's keys never change. Whoever answers with another one for a device that is known, or was, is not believed,
  even if its own Ed25519 key has signed another Curve25519 key: a device that an answer leaves out is kept as gone, so
  that it can't come back as another.
- This device's keys are the account's. What a server says that they are is compared with that, and never stored.
- What reaches it has a checked self-signature.
- How far our user trusts a device stays with the device, also while it is gone.

The partition is the user. Beside it, a set has the Ed25519 keys of all devices that ever were known: whoever claims to
have one of them, and isn't that device, lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeAlias, assert_never

import attrs

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import (
    DeviceAddress,
    DeviceId,
    DeviceIdentity,
    DeviceKeyChanged,
    DeviceKeys,
    Devices,
    DevicesAdded,
    DeviceTrust,
    Ed25519Key,
    Message,
    OlmStateError,
    Reply,
    UnknownDevice,
    UserId,
)
from olmstate.storage import Row, RowReader, Table

from .senders import KnownSender
from .stored import DeviceRecord


@attrs.define(kw_only=True)
class UserDevices:
    """All devices of a user."""

    by_id: dict[DeviceId, DeviceKeys] = attrs.field(factory=dict[DeviceId, DeviceKeys])
    gone: dict[DeviceId, DeviceKeys] = attrs.field(factory=dict[DeviceId, DeviceKeys])
    """Those that the server doesn't list any more."""
    unlisted: set[DeviceId] = attrs.field(factory=set[DeviceId])
    """Stored before there was the set of Ed25519 keys."""
    changed: set[DeviceId] = attrs.field(factory=set[DeviceId])
    """New, other or gone against what is stored."""
    _sender: KnownSender | None = None

    @property
    def sender(self) -> KnownSender:
        """The same, by keys."""
        if self._sender is None:
            self._sender = KnownSender(self.by_id.values(), self.gone.values())
        return self._sender

    def change(self, device_id: DeviceId, *, known: DeviceKeys | None = None, gone: DeviceKeys | None = None) -> None:
        """What is known of a device from now on; with neither, nothing."""
        self.by_id.pop(device_id, None)
        self.gone.pop(device_id, None)
        if known is not None:
            self.by_id[device_id] = known
        if gone is not None:
            self.gone[device_id] = gone
        self.changed.add(device_id)
        self._sender = None


class _Codec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> UserDevices:  # noqa: ARG002 - rows know it
        devices = UserDevices()
        self.add(devices, rows)
        return devices

    def add(self, entry: UserDevices, rows: Sequence[Row]) -> None:
        for row in rows:
            record = loads(row, DeviceRecord)
            of_kind = entry.gone if record.gone else entry.by_id
            of_kind[record.device_id] = device_keys(record)
            if not record.listed:
                entry.unlisted.add(record.device_id)

    def encode(self, partition: bytes, entry: UserDevices) -> Iterable[Row]:
        for device_id in entry.changed:
            known, gone = entry.by_id.get(device_id), entry.gone.get(device_id)
            device = known or gone
            # the partition stands for the user
            key = self._store.key(Table.DEVICES, partition.hex(), device_id)
            yield Row(key, partition, None if device is None else dumps(_record(device, gone=known is None)))
        entry.unlisted -= entry.changed
        entry.changed.clear()


class KnownSenderCodec:
    """A view of a user's devices, for those who ask who sent something."""

    def decode(self, partition: bytes, rows: Sequence[Row]) -> KnownSender:  # noqa: ARG002 - rows know it
        sender = KnownSender(())
        self.add(sender, rows)
        return sender

    def add(self, entry: KnownSender, rows: Sequence[Row]) -> None:
        for row in rows:
            record = loads(row, DeviceRecord)
            entry.add(device_keys(record), gone=record.gone)

    def encode(self, partition: bytes, entry: KnownSender) -> Iterable[Row]:
        raise NotImplementedError  # nobody changes a view


class _FingerprintsCodec:
    """Whether a device with a key was ever known: a row, or none."""

    def decode(self, partition: bytes, rows: Sequence[Row]) -> bool:  # noqa: ARG002 - one row at most
        return bool(rows)

    def encode(self, partition: bytes, entry: bool) -> Iterable[Row]:  # noqa: FBT001 - the protocol's
        if entry:
            yield Row(partition, partition, b"")


def device_keys(record: DeviceRecord) -> DeviceKeys:
    """What is told of a device."""
    return DeviceKeys(
        user_id=record.user_id,
        device_id=record.device_id,
        curve25519=record.curve25519,
        ed25519=record.ed25519,
        algorithms=record.algorithms,
        cross_signed_by=record.cross_signed_by,
        signed_json=record.signed_json,
        trust=record.trust,
    )


def _record(device: DeviceKeys, *, gone: bool) -> DeviceRecord:
    return DeviceRecord(
        user_id=device.user_id,
        device_id=device.device_id,
        curve25519=device.curve25519,
        ed25519=device.ed25519,
        algorithms=device.algorithms,
        cross_signed_by=device.cross_signed_by,
        signed_json=device.signed_json,
        trust=device.trust,
        gone=gone,
        listed=True,
    )


class LookUp(QuietStruct, Message[tuple[dict[DeviceId, DeviceKeys], ...]], kw_only=True, frozen=True):
    """The devices of each of these users, as this turn sees them."""

    users: tuple[UserId, ...]


class LookUpSenders(QuietStruct, Message[tuple[KnownSender, ...]], kw_only=True, frozen=True):
    """The devices of each of these users by their keys, as this turn sees them."""

    users: tuple[UserId, ...]


class WereKnown(QuietStruct, Message[tuple[bool, ...]], kw_only=True, frozen=True):
    """Whether a device of anybody's with each of these keys is known, or was."""

    fingerprints: tuple[Ed25519Key, ...]


class StoreDevices(QuietStruct, Message[DevicesAdded], kw_only=True, frozen=True):
    """What a server says that each of these users has; nothing goes because it is left out."""

    users: dict[UserId, dict[DeviceId, DeviceKeys | OlmStateError]]
    """Some or all devices of each; an error stands for one that is not believed: what is stored of it stays."""
    own: DeviceIdentity | None = None
    """This device: what is stored of it and isn't right goes."""


class RemoveDevices(QuietStruct, Message[None], kw_only=True, frozen=True):
    """These devices are not there any more."""

    devices: tuple[DeviceAddress, ...]


class Trust(QuietStruct, Message[bool], kw_only=True, frozen=True):
    """Our user has decided about a device; whether that is something new.

    Raises:
        UnknownDevice: There is none.
    """

    device: DeviceAddress
    trust: DeviceTrust


Asked: TypeAlias = RemoveDevices | Trust | Devices | LookUp | LookUpSenders | WereKnown | StoreDevices


class DevicesActor(Actor[Asked]):
    """Owns the public keys of other users' devices, and of our own other ones."""

    name: ClassVar[str] = "devices"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        codec, capacity = _Codec(environment.store), environment.capacity(Table.DEVICES)
        self._devices = Cache[UserDevices](Table.DEVICES, codec, capacity)
        # asked of who isn't known only: too seldom to keep anything
        self._fingerprints = Cache[bool](Table.DEVICE_FINGERPRINTS, _FingerprintsCodec(), 0)
        super().__init__(environment, [self._devices, self._fingerprints])

    def _partition(self, user_id: UserId) -> bytes:
        return self._store.key(Table.DEVICES, user_id)

    def _fingerprint(self, ed25519: Ed25519Key) -> bytes:
        return self._store.key(Table.DEVICE_FINGERPRINTS, ed25519)

    def wanted(self, message: Asked) -> Wanted:
        """The users, or the keys, named."""
        match message:
            case Devices(named=users) | LookUp(users=users) | LookUpSenders(users=users):
                return ((self._devices, [self._partition(user_id) for user_id in users]),)
            case StoreDevices(users=by_user):
                return ((self._devices, [self._partition(user_id) for user_id in by_user]),)
            case RemoveDevices(devices=devices):
                return ((self._devices, [self._partition(address.user_id) for address in devices]),)
            case Trust(device=device):
                return ((self._devices, [self._partition(device.user_id)]),)
            case WereKnown(fingerprints=fingerprints):
                return ((self._fingerprints, [self._fingerprint(key) for key in fingerprints]),)
            case _:
                assert_never(message)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case Devices(named=users):
                of_each = [self._devices.committed(self._partition(user)).by_id for user in users]
                return message.reply(tuple(by_id[device_id] for by_id in of_each for device_id in sorted(by_id)))
            case LookUp(users=users):
                return message.reply(tuple(self._devices.current(self._partition(user)).by_id for user in users))
            case LookUpSenders(users=users):
                return message.reply(tuple(self._devices.current(self._partition(user)).sender for user in users))
            case WereKnown(fingerprints=fingerprints):
                return message.reply(tuple(self._fingerprints.current(self._fingerprint(key)) for key in fingerprints))
            case StoreDevices():
                return message.reply(self._store_devices(message))
            case Trust():
                return message.reply(self._trust(message))
            case RemoveDevices(devices=devices):
                for address in devices:
                    stored = self._devices.change(self._partition(address.user_id))
                    stored.change(address.device_id, gone=stored.by_id.get(address.device_id))
                return message.reply(None)
            case _:
                assert_never(message)

    def _store_devices(self, asked: StoreDevices) -> DevicesAdded:
        added: list[DeviceAddress] = []
        rejected: dict[DeviceAddress, OlmStateError] = {}
        for user_id, told in asked.users.items():
            partition = self._partition(user_id)
            stored = self._devices.current(partition)
            changes: dict[DeviceId, DeviceKeys] = {}
            false = _false_own(stored, user_id, asked.own)
            for device_id, device in told.items():
                before = None if device_id == false else stored.by_id.get(device_id)
                ever = before or (None if device_id == false else stored.gone.get(device_id))
                if isinstance(device, OlmStateError):
                    rejected[DeviceAddress(user_id=user_id, device_id=device_id)] = device
                    continue
                if ever is not None and _other_keys(ever, device):
                    rejected[device.address] = DeviceKeyChanged(
                        user_id=user_id, device_id=device_id, ed25519=ever.ed25519
                    )
                    continue
                now = device if ever is None else attrs.evolve(device, trust=ever.trust)
                if before != now or device_id in stored.unlisted:
                    changes[device_id] = now
                    if before is None:
                        added.append(DeviceAddress(user_id=user_id, device_id=device_id))
            if changes or false:
                self._change(self._devices.change(partition), changes, false)
        return DevicesAdded(added=tuple(added), removed=(), rejected=rejected)

    def _trust(self, asked: Trust) -> bool:
        user_id, device_id = asked.device.user_id, asked.device.device_id
        partition = self._partition(user_id)
        known = self._devices.current(partition).by_id.get(device_id)
        if known is None:
            raise UnknownDevice(user_id=user_id, device_id=device_id)
        if known.trust == asked.trust:
            return False
        self._change(self._devices.change(partition), {device_id: attrs.evolve(known, trust=asked.trust)}, None)
        return True

    def _change(self, devices: UserDevices, changes: dict[DeviceId, DeviceKeys], false: DeviceId | None) -> None:
        if false is not None:
            devices.change(false)
        for device_id, device in changes.items():
            devices.change(device_id, known=device)
            self._fingerprints.put(self._fingerprint(device.ed25519), True)  # noqa: FBT003 - the entry


def _other_keys(before: DeviceKeys, now: DeviceKeys) -> bool:
    return (before.curve25519, before.ed25519) != (now.curve25519, now.ed25519)


def _false_own(stored: UserDevices, user_id: UserId, own: DeviceIdentity | None) -> DeviceId | None:
    """This device's id, if other keys are stored under it: an earlier version believed the server in that."""
    if own is None or user_id != own.user_id:
        return None
    of_own = stored.by_id.get(own.device_id) or stored.gone.get(own.device_id)
    if of_own is None or (of_own.curve25519, of_own.ed25519) == (own.curve25519, own.ed25519):
        return None
    return own.device_id
