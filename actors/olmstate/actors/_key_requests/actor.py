"""The key requests actor owns which room keys this device has asked for, and which it still has to send.

Its invariants:

- A request is stored in the commit that puts its event into the outbox, and goes in the commit that cancels it.
- Both kinds are bounded, the oldest go first, and each kind is one partition: there are few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Final, Generic, TypeAlias, TypeVar, assert_never

import attrs

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.records import Record, dumps, loads
from olmstate.messages import (
    DeviceId,
    MegolmSessionId,
    Message,
    Reply,
    RequestId,
    RoomId,
    RoomKeyRequest,
    RoomKeyRequests,
)
from olmstate.storage import Row, RowReader, Table

from .stored import KeyRequestRecord, WaitingForwardRecord

MOST_REQUESTS: Final = 1_000
MOST_FORWARDS: Final = 200

Session: TypeAlias = tuple[RoomId, MegolmSessionId]
ForwardName: TypeAlias = tuple[DeviceId, str]
"""The device that asks, and the id of its request."""

R = TypeVar("R", bound=Record)
N = TypeVar("N", bound=tuple[str, str])


@attrs.define(kw_only=True)
class _Records(Generic[R, N]):
    """All of a kind, by name."""

    by_name: dict[N, R]
    changed: set[N] = attrs.field(factory=set[N])
    """New, other or gone against what is stored."""


@attrs.frozen
class _Codec(Generic[R, N]):
    store: RowReader
    cls: type[R]
    name: Callable[[R], N]

    def decode(self, partition: bytes, rows: Sequence[Row]) -> _Records[R, N]:  # noqa: ARG002 - there is one
        return _Records(by_name={self.name(record): record for record in (loads(row, self.cls) for row in rows)})

    def add(self, entry: _Records[R, N], rows: Sequence[Row]) -> None:
        entry.by_name |= self.decode(b"", rows).by_name

    def encode(self, partition: bytes, entry: _Records[R, N]) -> Iterable[Row]:
        for name in entry.changed:
            record = entry.by_name.get(name)
            key = self.store.key(self.cls.table, *name)
            yield Row(key, partition, None if record is None else dumps(record))
        entry.changed.clear()


def session_of(record: KeyRequestRecord) -> Session:
    """The session that is asked for."""
    return record.room_id, record.session_id


def forward_name(record: WaitingForwardRecord) -> ForwardName:
    """Which request it is."""
    return record.device_id, record.request_id


# --- what it is asked ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class OpenRequests(Message[Mapping[Session, KeyRequestRecord]]):
    """What this device has asked for, as this turn sees it; not to be changed."""


@attrs.frozen(kw_only=True)
class ChangeRequests(Message[None]):
    """Some requests are new, or other; some are over."""

    records: tuple[KeyRequestRecord, ...] = ()
    over: tuple[Session, ...] = ()


@attrs.frozen(kw_only=True)
class WaitingForwards(Message[Mapping[ForwardName, WaitingForwardRecord]]):
    """What waits to be sent, as this turn sees it; not to be changed."""


@attrs.frozen(kw_only=True)
class ChangeForwards(Message[None]):
    """Some wait from now on, some no longer."""

    records: tuple[WaitingForwardRecord, ...] = ()
    over: tuple[ForwardName, ...] = ()


Asked: TypeAlias = OpenRequests | ChangeRequests | WaitingForwards | ChangeForwards | RoomKeyRequests


class KeyRequestsActor(Actor[Asked]):
    """Owns which room keys this device has asked for, and which it still has to send."""

    name: ClassVar[str] = "key_requests"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        self._requests = Cache[_Records[KeyRequestRecord, Session]](
            Table.KEY_REQUESTS, _Codec(store, KeyRequestRecord, session_of), capacity(Table.KEY_REQUESTS)
        )
        self._forwards = Cache[_Records[WaitingForwardRecord, ForwardName]](
            Table.WAITING_FORWARDS,
            _Codec(store, WaitingForwardRecord, forward_name),
            capacity(Table.WAITING_FORWARDS),
        )
        self._request_partition = store.key(Table.KEY_REQUESTS, "requests")
        self._forward_partition = store.key(Table.WAITING_FORWARDS, "forwards")
        super().__init__(environment, [self._requests, self._forwards])

    def wanted(self, message: Asked) -> Wanted:
        """All of one kind."""
        if isinstance(message, WaitingForwards | ChangeForwards):
            return ((self._forwards, [self._forward_partition]),)
        return ((self._requests, [self._request_partition]),)

    def handle(self, message: Asked) -> Reply:
        """Answer one message."""
        match message:
            case OpenRequests():
                return message.reply(self._requests.current(self._request_partition).by_name)
            case ChangeRequests(records=records, over=over):
                requests = self._requests.change(self._request_partition)
                _change(requests, {session_of(record): record for record in records}, over)
                oldest = sorted(requests.by_name.values(), key=lambda record: record.number)
                _change(requests, {}, [session_of(record) for record in oldest[: len(oldest) - MOST_REQUESTS]])
                return message.reply(None)
            case WaitingForwards():
                return message.reply(self._forwards.current(self._forward_partition).by_name)
            case ChangeForwards(records=records, over=over):
                forwards = self._forwards.change(self._forward_partition)
                _change(forwards, {forward_name(record): record for record in records}, over)
                _change(forwards, {}, list(forwards.by_name)[MOST_FORWARDS:])
                return message.reply(None)
            case RoomKeyRequests():
                requests = self._requests.committed(self._request_partition)
                in_order = sorted(requests.by_name.values(), key=lambda record: record.number)
                return message.reply(tuple(map(_told, in_order)))
            case _:
                assert_never(message)


def _change(records: _Records[R, N], new: Mapping[N, R], over: Iterable[N]) -> None:
    gone = [name for name in over if name in records.by_name]
    for name in gone:
        del records.by_name[name]
    records.by_name.update(new)
    records.changed.update(new, gone)


def _told(record: KeyRequestRecord) -> RoomKeyRequest:
    return RoomKeyRequest(
        room_id=record.room_id,
        session_id=record.session_id,
        request_id=RequestId(record.request_id),
        made=record.made,
        devices=tuple(record.devices),
        refused=dict(record.refused),
    )
