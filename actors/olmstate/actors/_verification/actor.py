"""The verifications actor owns the flows that are going on, and which devices' keys were verified.

Its invariants:

- A flow is known by the peer's user id and its own id, both; nobody else's event finds it.
- A row is all of a flow. It is stored in the commit that stores what the step sends, and what it has verified.
- A verified key stays verified by its value, whatever device has it.

All flows are one partition of their table, since they are few, and each process looks whether one is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter, itemgetter
from typing import ClassVar, TypeAlias, assert_never

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.named_records import NamedRecords, NamedRecordsCodec
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import DeviceId, Ed25519Key, Message, Query, Reply, UserId, VerificationMessages, Verifications
from olmstate.storage import Table

from .stored import VerificationRecord, VerifiedDeviceRecord
from .view import next_message, verification

FlowKey: TypeAlias = tuple[UserId, str]
"""The peer, and the flow's id."""
_Flows: TypeAlias = NamedRecords[FlowKey, VerificationRecord]
_Verified: TypeAlias = NamedRecords[tuple[UserId, Ed25519Key], VerifiedDeviceRecord]
"""A user's verified devices."""


# --- what it is asked ---------------------------------------------------------------------------------------


class Flows(QuietStruct, Message[dict[FlowKey, VerificationRecord]], kw_only=True, frozen=True):
    """All flows, as this turn sees them."""


class PutFlow(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Store a flow as it is now."""

    record: VerificationRecord


class DropFlow(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Forget a flow."""

    key: FlowKey


class MarkDeviceVerified(QuietStruct, Message[None], kw_only=True, frozen=True):
    """The user has verified a device's key."""

    user_id: UserId
    device_id: DeviceId
    ed25519: Ed25519Key
    now: int


class VerifiedDevices(QuietStruct, Query[Mapping[Ed25519Key, DeviceId]], kw_only=True, frozen=True):
    """The keys of a user's devices that were verified here, and the ids that the devices had."""

    user_id: UserId


class AnyFlowDue(QuietStruct, Query[bool], kw_only=True, frozen=True):
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
        flows = NamedRecordsCodec(store, VerificationRecord, attrgetter("user_id", "flow_id"))
        self._flows = Cache[_Flows](Table.VERIFICATIONS, flows, capacity(Table.VERIFICATIONS))
        verified = NamedRecordsCodec(store, VerifiedDeviceRecord, attrgetter("user_id", "ed25519"))
        self._verified = Cache[_Verified](Table.VERIFIED_DEVICES, verified, capacity(Table.VERIFIED_DEVICES))
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
                return message.reply(dict(self._flows.current(self._all_flows).by_name))
            case PutFlow(record=record):
                self._flows.change(self._all_flows).put({(record.user_id, record.flow_id): record})
                return message.reply(None)
            case DropFlow(key=key):
                self._flows.change(self._all_flows).drop((key,))
                return message.reply(None)
            case MarkDeviceVerified():
                self._mark(message)
                return message.reply(None)
            case VerifiedDevices(user_id=user_id):
                devices = self._verified.committed(self._user_key(user_id)).by_name.values()
                return message.reply({device.ed25519: device.device_id for device in devices})
            case AnyFlowDue(now=now):
                records = self._flows.committed(self._all_flows).by_name.values()
                return message.reply(any(record.due_at <= now for record in records))
            case Verifications():
                records = self._flows.committed(self._all_flows).by_name.values()
                return message.reply(tuple(map(verification, _oldest_first(records))))
            case VerificationMessages():
                records = self._flows.committed(self._all_flows).by_name.values()
                return message.reply(tuple(map(next_message, _oldest_first(each for each in records if each.unsent))))
            case _:
                assert_never(message)

    def _mark(self, message: MarkDeviceVerified) -> None:
        verified = VerifiedDeviceRecord(
            user_id=message.user_id, device_id=message.device_id, ed25519=message.ed25519, verified=message.now
        )
        of_user = self._verified.change(self._user_key(message.user_id))
        of_user.put({(message.user_id, message.ed25519): verified})
