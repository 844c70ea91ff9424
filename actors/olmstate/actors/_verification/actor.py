"""The verifications actor owns the flows that are going on, and which devices' keys were verified.

Its invariants:

- A flow is known by the peer's user id and its own id, both; nobody else's event finds it.
- A row is all of a flow. It is stored in the commit that stores what the step sends, and what it has verified.
- A verified key stays verified by its value, whatever device has it.

All flows are one partition of their table, since they are few, and each process looks whether one is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import ClassVar, TypeAlias, assert_never

import attrs

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import dumps, loads
from olmstate.messages import DeviceId, Ed25519Key, Message, Query, Reply, UserId, VerificationMessages, Verifications
from olmstate.storage import Row, RowReader, Table

from .stored import VerificationRecord, VerifiedDeviceRecord
from .view import next_message, verification

FlowKey: TypeAlias = tuple[UserId, str]
"""The peer, and the flow's id."""


@attrs.define(kw_only=True)
class _Flows:
    """All flows, by their keys."""

    by_key: dict[FlowKey, VerificationRecord] = attrs.field(factory=dict[FlowKey, VerificationRecord])
    changed: set[FlowKey] = attrs.field(factory=set[FlowKey])


class _FlowsCodec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> _Flows:  # noqa: ARG002 - there is one
        records = [loads(row, VerificationRecord) for row in rows]
        return _Flows(by_key={(record.user_id, record.flow_id): record for record in records})

    def encode(self, partition: bytes, entry: _Flows) -> Iterable[Row]:
        for flow_key in entry.changed:
            record = entry.by_key.get(flow_key)
            key = self._store.key(Table.VERIFICATIONS, *flow_key)
            yield Row(key, partition, None if record is None else dumps(record))
        entry.changed.clear()


@attrs.define(kw_only=True)
class _Verified:
    """A user's verified devices, by fingerprint key."""

    devices: dict[Ed25519Key, VerifiedDeviceRecord] = attrs.field(factory=dict[Ed25519Key, VerifiedDeviceRecord])
    changed: set[Ed25519Key] = attrs.field(factory=set[Ed25519Key])


class _VerifiedCodec:
    def __init__(self, store: RowReader) -> None:
        self._store = store

    def decode(self, partition: bytes, rows: Sequence[Row]) -> _Verified:  # noqa: ARG002 - a user's rows
        records = [loads(row, VerifiedDeviceRecord) for row in rows]
        return _Verified(devices={record.ed25519: record for record in records})

    def encode(self, partition: bytes, entry: _Verified) -> Iterable[Row]:
        for ed25519 in entry.changed:
            record = entry.devices[ed25519]
            yield Row(self._store.key(Table.VERIFIED_DEVICES, record.user_id, ed25519), partition, dumps(record))
        entry.changed.clear()


# --- what it is asked ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Flows(Message[dict[FlowKey, VerificationRecord]]):
    """All flows, as this turn sees them."""


@attrs.frozen(kw_only=True)
class PutFlow(Message[None]):
    """Store a flow as it is now."""

    record: VerificationRecord = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class DropFlow(Message[None]):
    """Forget a flow."""

    key: FlowKey


@attrs.frozen(kw_only=True)
class MarkDeviceVerified(Message[None]):
    """The user has verified a device's key."""

    user_id: UserId
    device_id: DeviceId
    ed25519: Ed25519Key
    now: int


@attrs.frozen(kw_only=True)
class VerifiedDevices(Query[Mapping[Ed25519Key, DeviceId]]):
    """The keys of a user's devices that were verified here, and the ids that the devices had."""

    user_id: UserId


@attrs.frozen(kw_only=True)
class AnyFlowDue(Query[bool]):
    """Whether a flow is to be ended, or forgotten, since its time is over; no turn is needed."""

    now: int


Asked: TypeAlias = (
    Flows
    | PutFlow
    | DropFlow
    | MarkDeviceVerified
    | VerifiedDevices
    | AnyFlowDue
    | Verifications
    | VerificationMessages
)


def _oldest_first(records: Iterable[VerificationRecord]) -> list[VerificationRecord]:
    """Those of which there is a flow."""
    begun = [(record.flow.created_at, record.user_id, record.flow_id, record) for record in records if record.flow]
    return [record for *_, record in sorted(begun, key=itemgetter(0, 1, 2))]


class VerificationsActor(Actor[Asked]):
    """Owns the flows, and which devices were verified."""

    name: ClassVar[str] = "verifications"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        self._flows = Cache[_Flows](Table.VERIFICATIONS, _FlowsCodec(store), capacity(Table.VERIFICATIONS))
        self._verified = Cache[_Verified](
            Table.VERIFIED_DEVICES, _VerifiedCodec(store), capacity(Table.VERIFIED_DEVICES)
        )
        self._all_flows = store.key(Table.VERIFICATIONS, "verifications")
        super().__init__(environment, [self._flows, self._verified])

    def _user_key(self, user_id: UserId) -> bytes:
        return self._store.key(Table.VERIFIED_DEVICES, user_id)

    def wanted(self, message: Asked) -> Wanted:
        """All flows, or a user's verified devices."""
        match message:
            case Flows() | PutFlow() | DropFlow() | AnyFlowDue() | Verifications() | VerificationMessages():
                return ((self._flows, [self._all_flows]),)
            case MarkDeviceVerified(user_id=user_id) | VerifiedDevices(user_id=user_id):
                return ((self._verified, [self._user_key(user_id)]),)
            case _:
                assert_never(message)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case Flows():
                return message.reply(dict(self._flows.current(self._all_flows).by_key))
            case PutFlow(record=record):
                self._put((record.user_id, record.flow_id), record)
                return message.reply(None)
            case DropFlow(key=key):
                self._put(key, None)
                return message.reply(None)
            case MarkDeviceVerified():
                self._mark(message)
                return message.reply(None)
            case VerifiedDevices(user_id=user_id):
                devices = self._verified.committed(self._user_key(user_id)).devices.values()
                return message.reply({device.ed25519: device.device_id for device in devices})
            case AnyFlowDue(now=now):
                records = self._flows.committed(self._all_flows).by_key.values()
                return message.reply(any(record.due_at <= now for record in records))
            case Verifications():
                records = self._flows.committed(self._all_flows).by_key.values()
                return message.reply(tuple(map(verification, _oldest_first(records))))
            case VerificationMessages():
                records = self._flows.committed(self._all_flows).by_key.values()
                return message.reply(tuple(map(next_message, _oldest_first(each for each in records if each.unsent))))
            case _:
                assert_never(message)

    def _put(self, key: FlowKey, record: VerificationRecord | None) -> None:
        flows = self._flows.change(self._all_flows)
        flows.changed.add(key)
        if record is None:
            flows.by_key.pop(key, None)
        else:
            flows.by_key[key] = record

    def _mark(self, message: MarkDeviceVerified) -> None:
        verified = self._verified.change(self._user_key(message.user_id))
        verified.changed.add(message.ed25519)
        verified.devices[message.ed25519] = VerifiedDeviceRecord(
            user_id=message.user_id, device_id=message.device_id, ed25519=message.ed25519, verified=message.now
        )
