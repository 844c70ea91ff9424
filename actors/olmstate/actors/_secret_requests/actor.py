"""The secret requests actor owns which secrets this device has asked for, which it still has to send, and the inbox.

Its invariants:

- A request is stored in the commit that puts its event into the outbox, and goes in the commit that takes its answer
  in, or cancels it. So an answer counts once.
- Each kind is bounded, and one partition: there are few.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar, Final, TypeAlias, assert_never

import msgspec

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.named_records import NamedRecords, NamedRecordsCodec
from olmstate.actors._key_requests.stored import WaitingName, name_of
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.shares import surplus
from olmstate.messages import (
    DeviceId,
    Message,
    ReceivedSecret,
    Reply,
    RequestId,
    SecretInbox,
    SecretRequest,
    SecretRequests,
)
from olmstate.storage import Table

from .stored import ReceivedSecretRecord, SecretRequestRecord, WaitingSecretRecord

MOST_REQUESTS: Final = 100
MOST_WAITING: Final = 200
MOST_RECEIVED: Final = 100


# --- what it is asked ---------------------------------------------------------------------------------------


class OpenRequests(QuietStruct, Message[Mapping[str, SecretRequestRecord]], kw_only=True, frozen=True):
    """What this device has asked for, by name, as this turn sees it; not to be changed."""


class ChangeRequests(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Some requests are new, or other; some are over."""

    records: tuple[SecretRequestRecord, ...] = ()
    over: tuple[str, ...] = ()


class WaitingSecrets(QuietStruct, Message[Mapping[WaitingName, WaitingSecretRecord]], kw_only=True, frozen=True):
    """What waits to be sent, as this turn sees it; not to be changed."""


class ChangeWaiting(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Some wait from now on, some no longer."""

    records: tuple[WaitingSecretRecord, ...] = ()
    over: tuple[WaitingName, ...] = ()


class NewSecret(QuietStruct, kw_only=True, frozen=True):
    """A secret that has come."""

    request_id: str
    name: str
    secret: str
    device_id: DeviceId


class PutReceived(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Some have come; if there is no room, others go."""

    secrets: tuple[NewSecret, ...]
    now: int


class ReceivedNames(QuietStruct, Message[frozenset[str]], kw_only=True, frozen=True):
    """The names of what has come, as this turn sees it."""


class ChangeReceived(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Some are acknowledged, or deleted."""

    request_ids: tuple[RequestId, ...]
    delete: bool


Asked: TypeAlias = (
    OpenRequests
    | ChangeRequests
    | SecretRequests
    | WaitingSecrets
    | ChangeWaiting
    | PutReceived
    | ReceivedNames
    | ChangeReceived
    | SecretInbox
)


class SecretRequestsActor(Actor[Asked]):
    """Owns which secrets this device has asked for, which it still has to send, and the inbox."""

    name: ClassVar[str] = "secret_requests"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        self._requests = Cache[NamedRecords[str, SecretRequestRecord]](
            Table.SECRET_REQUESTS,
            NamedRecordsCodec(store, SecretRequestRecord, lambda record: record.name),
            capacity(Table.SECRET_REQUESTS),
        )
        self._waiting = Cache[NamedRecords[WaitingName, WaitingSecretRecord]](
            Table.WAITING_SECRETS,
            NamedRecordsCodec(store, WaitingSecretRecord, name_of),
            capacity(Table.WAITING_SECRETS),
        )
        self._received = Cache[NamedRecords[str, ReceivedSecretRecord]](
            Table.RECEIVED_SECRETS,
            NamedRecordsCodec(store, ReceivedSecretRecord, lambda record: record.request_id),
            capacity(Table.RECEIVED_SECRETS),
        )
        self._request_partition = store.key(Table.SECRET_REQUESTS, "requests")
        self._waiting_partition = store.key(Table.WAITING_SECRETS, "secrets")
        self._received_partition = store.key(Table.RECEIVED_SECRETS, "secrets")
        super().__init__(environment, [self._requests, self._waiting, self._received])

    def wanted(self, message: Asked) -> Wanted:
        """All of one kind."""
        match message:
            case OpenRequests() | ChangeRequests() | SecretRequests():
                return ((self._requests, [self._request_partition]),)
            case WaitingSecrets() | ChangeWaiting():
                return ((self._waiting, [self._waiting_partition]),)
            case PutReceived() | ReceivedNames() | ChangeReceived() | SecretInbox():
                return ((self._received, [self._received_partition]),)
            case _:
                assert_never(message)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case OpenRequests():
                return message.reply(self._requests.current(self._request_partition).by_name)
            case ChangeRequests():
                self._change_requests(message)
                return message.reply(None)
            case SecretRequests():
                requests = self._requests.committed(self._request_partition).by_name.values()
                return message.reply(tuple(map(_told, sorted(requests, key=lambda record: record.number))))
            case WaitingSecrets():
                return message.reply(self._waiting.current(self._waiting_partition).by_name)
            case ChangeWaiting(records=records, over=over):
                waiting = self._waiting.change(self._waiting_partition)
                waiting.drop(over)
                waiting.put({name_of(record): record for record in records})
                waits = [(name, record.device_id, 0) for name, record in waiting.by_name.items()]
                waiting.drop(surplus(waits, number=MOST_WAITING))
                return message.reply(None)
            case PutReceived(secrets=secrets, now=now):
                self._put_received(secrets, now)
                return message.reply(None)
            case ReceivedNames():
                received = self._received.current(self._received_partition).by_name.values()
                return message.reply(frozenset(record.name for record in received))
            case ChangeReceived(request_ids=request_ids, delete=delete):
                self._change_received(request_ids, delete=delete)
                return message.reply(None)
            case SecretInbox(name=name, unacknowledged=unacknowledged):
                received = self._received.committed(self._received_partition).by_name.values()
                asked_for = [
                    record
                    for record in sorted(received, key=lambda record: record.number)
                    if name in (None, record.name) and not (unacknowledged and record.acknowledged)
                ]
                return message.reply(tuple(map(_received, asked_for)))
            case _:
                assert_never(message)

    def _change_requests(self, message: ChangeRequests) -> None:
        requests = self._requests.change(self._request_partition)
        requests.drop(message.over)
        requests.put({record.name: record for record in message.records})
        oldest = sorted(requests.by_name.values(), key=lambda record: record.number)
        requests.drop([record.name for record in oldest[:-MOST_REQUESTS]])

    def _put_received(self, secrets: Collection[NewSecret], now: int) -> None:
        received = self._received.change(self._received_partition)
        first = 1 + max((record.number for record in received.by_name.values()), default=0)
        for number, new in enumerate(secrets, first):
            record = ReceivedSecretRecord(
                request_id=new.request_id,
                name=new.name,
                secret=new.secret,
                device_id=new.device_id,
                received=now,
                number=number,
            )
            received.put({new.request_id: record})
        in_order = sorted(received.by_name.values(), key=lambda record: (not record.acknowledged, record.number))
        received.drop([record.request_id for record in in_order[:-MOST_RECEIVED]])

    def _change_received(self, request_ids: Collection[RequestId], *, delete: bool) -> None:
        received = self._received.current(self._received_partition)
        meant = [received.by_name[each] for each in request_ids if each in received.by_name]
        if not meant:
            return
        received = self._received.change(self._received_partition)
        if delete:
            received.drop([record.request_id for record in meant])
        else:
            received.put({each.request_id: msgspec.structs.replace(each, acknowledged=True) for each in meant})


def _told(record: SecretRequestRecord) -> SecretRequest:
    return SecretRequest(
        name=record.name,
        request_id=RequestId(record.request_id),
        made=record.made,
        devices=tuple(record.devices),
    )


def _received(record: ReceivedSecretRecord) -> ReceivedSecret:
    return ReceivedSecret(
        request_id=RequestId(record.request_id),
        name=record.name,
        secret=record.secret,
        device_id=record.device_id,
        received=record.received,
        acknowledged=record.acknowledged,
    )
