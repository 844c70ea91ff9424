"""The key requests actor owns which room keys this device has asked for, and which it still has to send.

Its invariants:

- A request is stored in the commit that puts its event into the outbox, and goes in the commit that cancels it.
- Both kinds are bounded, and each is one partition: there are few. Of requests, those go that were answered, and the
  oldest, of whoever's events are asked for most: who sends much that can't be read ends none of others'. Of what waits
  to be sent, some of the device's goes that has the most: one that is lost, or in whose name others ask, is in nobody's
  way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, TypeAlias, assert_never

from olmstate.actors._engine.actor import Actor, Environment, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.named_records import NamedRecords, NamedRecordsCodec
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.shares import surplus
from olmstate.messages import (
    MegolmSessionId,
    Message,
    Reply,
    RequestId,
    RoomId,
    RoomKeyRequest,
    RoomKeyRequests,
)
from olmstate.storage import Table

from .stored import KeyRequestRecord, WaitingForwardRecord, WaitingName, name_of

MOST_REQUESTS: Final = 1_000
MOST_FORWARDS: Final = 200

Session: TypeAlias = tuple[RoomId, MegolmSessionId]


def session_of(record: KeyRequestRecord) -> Session:
    """The session that is asked for."""
    return record.room_id, record.session_id


# --- what it is asked ---------------------------------------------------------------------------------------


class OpenRequests(QuietStruct, Message[Mapping[Session, KeyRequestRecord]], kw_only=True, frozen=True):
    """What this device has asked for, as this turn sees it; not to be changed."""


class ChangeRequests(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Some requests are new, or other; some are over."""

    records: tuple[KeyRequestRecord, ...] = ()
    over: tuple[Session, ...] = ()


class WaitingForwards(QuietStruct, Message[Mapping[WaitingName, WaitingForwardRecord]], kw_only=True, frozen=True):
    """What waits to be sent, as this turn sees it; not to be changed."""


class ChangeForwards(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Some wait from now on, some no longer."""

    records: tuple[WaitingForwardRecord, ...] = ()
    over: tuple[WaitingName, ...] = ()


Asked: TypeAlias = OpenRequests | ChangeRequests | WaitingForwards | ChangeForwards | RoomKeyRequests


class KeyRequestsActor(Actor[Asked]):
    """Owns which room keys this device has asked for, and which it still has to send."""

    name: ClassVar[str] = "key_requests"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        self._requests = Cache[NamedRecords[Session, KeyRequestRecord]](
            Table.KEY_REQUESTS, NamedRecordsCodec(store, KeyRequestRecord, session_of), capacity(Table.KEY_REQUESTS)
        )
        self._forwards = Cache[NamedRecords[WaitingName, WaitingForwardRecord]](
            Table.WAITING_FORWARDS,
            NamedRecordsCodec(store, WaitingForwardRecord, name_of),
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
                requests.drop(over)
                requests.put({session_of(record): record for record in records})
                if len(requests.by_name) > MOST_REQUESTS:
                    in_order = sorted(
                        requests.by_name.values(), key=lambda record: (not record.answered, record.number)
                    )
                    entries = [(session_of(record), record.sender, 0) for record in in_order]
                    requests.drop(surplus(entries, number=MOST_REQUESTS))
                return message.reply(None)
            case WaitingForwards():
                return message.reply(self._forwards.current(self._forward_partition).by_name)
            case ChangeForwards(records=records, over=over):
                forwards = self._forwards.change(self._forward_partition)
                forwards.drop(over)
                forwards.put({name_of(record): record for record in records})
                waiting = [(name, record.device_id, 0) for name, record in forwards.by_name.items()]
                forwards.drop(surplus(waiting, number=MOST_FORWARDS))
                return message.reply(None)
            case RoomKeyRequests():
                requests = self._requests.committed(self._request_partition)
                unanswered = [record for record in requests.by_name.values() if not record.answered]
                return message.reply(tuple(map(_told, sorted(unanswered, key=lambda record: record.number))))
            case _:
                assert_never(message)


def _told(record: KeyRequestRecord) -> RoomKeyRequest:
    return RoomKeyRequest(
        room_id=record.room_id,
        session_id=record.session_id,
        request_id=RequestId(record.request_id),
        made=record.made,
        devices=tuple(record.devices),
        refused=dict(record.refused),
    )
