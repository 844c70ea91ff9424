"""The requests actor owns the requests to the homeserver that wait for an answer, and which servers have failed.

Its invariants:

- A request is stored, with its content, in the commit that made it; what goes out is what is stored, each time.
- It belongs to one handle on the store. Nobody else sends it while that handle lives; then it is taken over, in a turn.
- It is gone in the commit that stores what follows from its answer. So an answer counts once.
- Of one kind, at most one request is about a subject (a user, a device) at a time, over all processes: whoever makes
  one asks `PendingRequests` first, in the same turn.

All requests are one partition: they are few, and each process looks through all of them. Their contents are rows apart,
read when they are sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import ClassVar, TypeAlias, assert_never

import msgspec
import trio

from olmstate.actors._engine.actor import Actor, Environment, Notice, RolledBack, Wanted
from olmstate.actors._engine.cache import Cache
from olmstate.actors._engine.named_records import NamedRecords, NamedRecordsCodec
from olmstate.actors._engine.records import OneRecordCodec
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Message, Query, Reply, Request, RequestId, RequestKind
from olmstate.storage import Table

from .back_off import delay, is_over
from .stored import BackOffRecord, RequestContentRecord, RequestRecord

_ID_BYTES = 16
_TRANSACTION_ID = "{transaction_id}"
_HOMESERVER = "the homeserver"
"""Among the back-offs as long as requests, or other back-offs, wait since it could not be reached, so that an answer
looks through the requests only then. Nobody backs off from it."""


_Requests: TypeAlias = NamedRecords[str, RequestRecord]
"""All requests that wait by their ids, oldest first."""


# --- what it is asked ---------------------------------------------------------------------------------------


class NewRequest(QuietStruct, kw_only=True, frozen=True):
    """A request to be stored."""

    kind: RequestKind
    method: str
    path: str
    """``{transaction_id}`` in it stands for the request's id. All else is percent-encoded."""
    body: bytes = b""
    subjects: tuple[str, ...] = ()
    """What no other request of this kind may be about at the same time: a user, a device, a flow. It goes out after
    those that were made before."""
    context: bytes = b""
    """What its maker needs when the answer comes."""
    event_type: str | None = None
    """Of a to-device event, before it is encrypted: for people, if the request is given up."""
    repeatable: bool = True
    """Whether it may be sent again when nobody knows what became of it. If not, it is given up then."""


class PendingRequest(QuietStruct, kw_only=True, frozen=True):
    """A request that waits for its answer."""

    request_id: RequestId
    kind: RequestKind
    owner: str
    """Token of the handle that it belongs to."""
    subjects: tuple[str, ...]
    failures: int
    not_before: int
    """Milliseconds since 1970."""
    own: bool
    """Whether it belongs to this process."""
    instead_of: tuple[RequestId, ...]
    """The refused requests that it is a part of, the whole first."""

    @property
    def names(self) -> tuple[RequestId, ...]:
        """Its id, and theirs."""
        return (*self.instead_of, self.request_id)


class AnsweredRequest(QuietStruct, kw_only=True, frozen=True):
    """A request whose answer has come, for whoever has made it."""

    request_id: RequestId
    kind: RequestKind
    path: str
    """As in a `NewRequest`."""
    subjects: tuple[str, ...]
    body: bytes
    context: bytes
    event_type: str | None
    instead_of: tuple[RequestId, ...]
    number: int
    """Its place among all requests."""


class PutRequests(QuietStruct, Message[tuple[RequestId, ...]], kw_only=True, frozen=True):
    """Store requests; they belong to this process."""

    requests: tuple[NewRequest, ...]
    now: int
    instead_of: AnsweredRequest | None = None
    """The refused request that they are parts of. They take its place: what was made later is not to overtake them."""


class PendingRequests(QuietStruct, Message[tuple[PendingRequest, ...]], kw_only=True, frozen=True):
    """The requests that wait, as this turn sees them, oldest first."""

    kind: RequestKind | None = None
    """Only these."""


class CommittedRequests(QuietStruct, Query[tuple[PendingRequest, ...]], kw_only=True, frozen=True):
    """The requests that wait, oldest first; no turn is needed."""


class RequestContents(QuietStruct, Query[tuple[Request, ...]], kw_only=True, frozen=True):
    """What is to be sent; those that were answered meanwhile are left out."""

    request_ids: tuple[RequestId, ...]


class StoredRequests(QuietStruct, Message[tuple[Request, ...]], kw_only=True, frozen=True):
    """What is to be sent, as this turn sees it."""

    request_ids: tuple[RequestId, ...]


class RemoveRequest(QuietStruct, Message[AnsweredRequest | None], kw_only=True, frozen=True):
    """Its answer has come; None if it waits no more. See also `HomeserverAnswered`."""

    request_id: RequestId
    now: int


class HomeserverAnswered(QuietStruct, Message[None], kw_only=True, frozen=True):
    """The homeserver can be reached: what waits only since it could not be is due at once.

    One that fails again the same way waits its whole pause, whoever else is answered. Neither a homeserver that comes
    and goes nor a request that never gets through has it sent at each answer of another.
    """

    now: int


class PostponeRequest(QuietStruct, Message[tuple[str, ...]], kw_only=True, frozen=True):
    """It has failed, and is due again later. Nothing happens if it waits no more.

    One that can't be repeated is gone, unless it is known that the homeserver has not done what it asks for. The reply
    are the subjects of one that is gone.
    """

    request_id: RequestId
    now: int
    refused: bool = False
    """The homeserver has not done it."""
    unreachable: bool = False
    """Nothing was heard of the homeserver itself."""
    retry_after: float | None = None
    """Seconds."""


class TakeOver(QuietStruct, Message[tuple[RequestId, ...]], kw_only=True, frozen=True):
    """Take over the requests of processes that have died, and remove what these have left; which ones."""


class BackOff(QuietStruct, Message[None], kw_only=True, frozen=True):
    """Some servers or devices have failed, others have answered."""

    failed: tuple[str, ...]
    succeeded: tuple[str, ...]
    now: int


class AwaitHomeserver(QuietStruct, Message[None], kw_only=True, frozen=True):
    """These, where they back off, do so only since the homeserver could not be reached: see `HomeserverAnswered`."""

    names: tuple[str, ...]
    now: int


class BackedOff(QuietStruct, Message[Mapping[str, int]], kw_only=True, frozen=True):
    """Which of these servers or devices are not to be asked now, and until when: milliseconds since 1970."""

    names: tuple[str, ...]
    now: int


class CommittedBackOffs(QuietStruct, Query[Mapping[str, int]], kw_only=True, frozen=True):
    """The same as `BackedOff`; no turn is needed."""

    names: tuple[str, ...]
    now: int


Asked: TypeAlias = (
    PutRequests
    | PendingRequests
    | CommittedRequests
    | RequestContents
    | StoredRequests
    | RemoveRequest
    | HomeserverAnswered
    | PostponeRequest
    | TakeOver
    | BackOff
    | AwaitHomeserver
    | BackedOff
    | CommittedBackOffs
)


class RequestsActor(Actor[Asked]):
    """Owns the requests to the homeserver that wait for an answer, and which servers have failed."""

    name: ClassVar[str] = "requests"

    def __init__(self, environment: Environment) -> None:
        """It has loaded nothing."""
        store, capacity = environment.store, environment.capacity
        codec = NamedRecordsCodec(store, RequestRecord, attrgetter("request_id"), attrgetter("number"))
        self._requests = Cache[_Requests](Table.REQUESTS, codec, capacity(Table.REQUESTS))
        self._contents = Cache[RequestContentRecord | None](
            Table.REQUEST_CONTENTS, OneRecordCodec(RequestContentRecord), 0
        )
        self._back_offs = Cache[BackOffRecord | None](
            Table.BACK_OFFS, OneRecordCodec(BackOffRecord), capacity(Table.BACK_OFFS)
        )
        self._presence = environment.presence
        self._partition = store.key(Table.REQUESTS, "requests")
        self._homeserver = store.key(Table.BACK_OFFS, _HOMESERVER)
        self._changed = trio.Event()
        super().__init__(environment, [self._requests, self._contents, self._back_offs])

    def wanted(self, message: Asked) -> Wanted:
        """The requests, and their contents where they matter; or the back-offs."""
        match message:
            case PutRequests() | PendingRequests() | TakeOver():
                return ((self._requests, [self._partition]),)
            case CommittedRequests() | PostponeRequest() | HomeserverAnswered():
                return (self._requests, [self._partition]), (self._back_offs, [self._homeserver])
            case RemoveRequest(request_id=request_id):
                return (
                    (self._requests, [self._partition]),
                    (self._contents, [self._content_key(request_id)]),
                    (self._back_offs, [self._homeserver]),
                )
            case RequestContents(request_ids=request_ids) | StoredRequests(request_ids=request_ids):
                return (
                    (self._requests, [self._partition]),
                    (self._contents, [self._content_key(request_id) for request_id in request_ids]),
                )
            case BackOff(failed=failed, succeeded=succeeded):
                return ((self._back_offs, [self._homeserver, *map(self._back_off_key, (*failed, *succeeded))]),)
            case AwaitHomeserver(names=names) | BackedOff(names=names) | CommittedBackOffs(names=names):
                return ((self._back_offs, [self._homeserver, *map(self._back_off_key, names)]),)
            case _:
                assert_never(message)

    def handle(self, message: Asked) -> Reply:  # noqa: C901, PLR0912 - one case a message
        """Answer one message."""
        match message:
            case PutRequests():
                return message.reply(self._put(message))
            case PendingRequests(kind=kind):
                requests = self._requests.current(self._partition).by_name.values()
                return message.reply(tuple(self._pending(each) for each in requests if kind in (None, each.kind)))
            case CommittedRequests():
                requests = self._requests.committed(self._partition).by_name.values()
                return message.reply(tuple(map(self._pending, requests)))
            case RequestContents(request_ids=request_ids):
                return message.reply(tuple(self._sendable(request_ids, committed=True)))
            case StoredRequests(request_ids=request_ids):
                return message.reply(tuple(self._sendable(request_ids, committed=False)))
            case RemoveRequest(request_id=request_id, now=now):
                return message.reply(self._remove(request_id, now))
            case HomeserverAnswered(now=now):
                self._release(now)
                return message.reply(None)
            case PostponeRequest():
                return message.reply(self._postpone(message))
            case TakeOver():
                return message.reply(self._take_over())
            case BackOff():
                self._back_off(message)
                return message.reply(None)
            case AwaitHomeserver():
                self._await_homeserver(message)
                return message.reply(None)
            case BackedOff(names=names, now=now):
                return message.reply(self._backed_off(names, now, self._back_offs.current))
            case CommittedBackOffs(names=names, now=now):
                return message.reply(self._backed_off(names, now, self._back_offs.committed))
            case _:
                assert_never(message)

    def noticed(self, notice: Notice) -> None:
        """Wake whoever waits for requests."""
        if not isinstance(notice, RolledBack):
            self._changed.set()
            self._changed = trio.Event()

    @property
    def changed(self) -> trio.Event:
        """Set once requests have come or gone, here or, as far as that was noticed, in another process."""
        return self._changed

    @property
    def some_wait_for_homeserver(self) -> bool:
        """Whether anything waits since the homeserver could not be reached, as far as this process knows by chance.

        Whoever sends requests looks at them often, and so knows.
        """
        return self._back_offs.peek(self._homeserver, committed=True) is not None

    def _content_key(self, request_id: RequestId) -> bytes:
        return self._store.key(Table.REQUEST_CONTENTS, request_id)

    def _back_off_key(self, name: str) -> bytes:
        return self._store.key(Table.BACK_OFFS, name)

    # --- requests -------------------------------------------------------------------------------------------

    def _pending(self, request: RequestRecord) -> PendingRequest:
        return PendingRequest(
            request_id=RequestId(request.request_id),
            kind=RequestKind(request.kind),
            owner=request.owner,
            subjects=request.subjects,
            failures=request.failures,
            not_before=request.not_before,
            own=request.owner == self._presence.token,
            instead_of=tuple(map(RequestId, request.instead_of)),
        )

    def _put(self, message: PutRequests) -> tuple[RequestId, ...]:
        if not message.requests:
            return ()
        owner = self._presence.announce()
        requests = self._requests.change(self._partition)
        whole = message.instead_of
        number = 1 + max((request.number for request in requests.by_name.values()), default=0)
        request_ids: list[RequestId] = []
        for new in message.requests:
            request_id = RequestId(secrets.token_hex(_ID_BYTES))
            request = RequestRecord(
                request_id=request_id,
                kind=new.kind,
                owner=owner,
                subjects=new.subjects,
                made=message.now,
                number=number + len(request_ids) if whole is None else whole.number,
                repeatable=new.repeatable,
                instead_of=() if whole is None else (*whole.instead_of, whole.request_id),
            )
            requests.put({request_id: request})
            content = RequestContentRecord(
                method=new.method,
                path=new.path.replace(_TRANSACTION_ID, request_id),
                body=new.body,
                context=new.context,
                event_type=new.event_type,
            )
            self._contents.put(self._content_key(request_id), content)
            request_ids.append(request_id)
        if whole is not None:
            requests.by_name = dict(sorted(requests.by_name.items(), key=lambda item: item[1].number))
        return tuple(request_ids)

    def _sendable(self, request_ids: tuple[RequestId, ...], *, committed: bool) -> Iterable[Request]:
        requests = (self._requests.committed if committed else self._requests.current)(self._partition).by_name
        look_up = self._contents.committed if committed else self._contents.current
        for request_id in request_ids:
            content = look_up(self._content_key(request_id))
            if request_id in requests and content is not None:
                yield Request(
                    request_id=request_id,
                    kind=RequestKind(requests[request_id].kind),
                    method=content.method,
                    path=content.path,
                    body=content.body,
                )

    def _remove(self, request_id: RequestId, now: int) -> AnsweredRequest | None:
        request = self._requests.current(self._partition).by_name.get(request_id)
        content = self._contents.current(self._content_key(request_id))
        if request is None or content is None:
            return None
        self._forget(request)
        self._release(now)
        return AnsweredRequest(
            request_id=request_id,
            kind=RequestKind(request.kind),
            path=content.path.replace(request_id, _TRANSACTION_ID),
            subjects=request.subjects,
            body=content.body,
            context=content.context,
            event_type=content.event_type,
            instead_of=tuple(map(RequestId, request.instead_of)),
            number=request.number,
        )

    def _forget(self, request: RequestRecord) -> None:
        request_id = RequestId(request.request_id)
        self._requests.change(self._partition).drop((request_id,))
        self._contents.put(self._content_key(request_id), None)

    def _postpone(self, message: PostponeRequest) -> tuple[str, ...]:
        request = self._requests.current(self._partition).by_name.get(message.request_id)
        if request is None:
            return ()
        if not request.repeatable and not message.refused:
            self._forget(request)
            return request.subjects
        failures = request.failures + 1
        not_before = message.now + delay(failures, message.retry_after)
        # not one that was due at once, and fails again
        unreachable = message.unreachable and failures > request.released
        if unreachable:
            self._note_outage(message.now)
        self._replace(
            msgspec.structs.replace(request, failures=failures, not_before=not_before, unreachable=unreachable)
        )
        return ()

    def _note_outage(self, now: int) -> None:
        if self._back_offs.current(self._homeserver) is None:
            self._back_offs.put(self._homeserver, BackOffRecord(failures=1, until=now))

    def _release(self, now: int) -> None:
        if self._back_offs.current(self._homeserver) is None:
            return
        self._back_offs.put(self._homeserver, None)
        for each in list(self._requests.current(self._partition).by_name.values()):
            if each.unreachable and not is_over(each.not_before, now):
                self._replace(
                    msgspec.structs.replace(
                        each, failures=each.released, not_before=0, unreachable=False, released=each.released + 1
                    )
                )

    def _take_over(self) -> tuple[RequestId, ...]:
        requests = self._requests.current(self._partition).by_name
        dead = {owner for owner in {each.owner for each in requests.values()} if not self._presence.is_alive(owner)}
        left = [request for request in requests.values() if request.owner in dead]
        taken = [request for request in left if request.repeatable]
        if left:
            owner = self._presence.announce()
            for request in left:
                if request.repeatable:
                    self._replace(msgspec.structs.replace(request, owner=owner))
                else:
                    self._forget(request)  # it may have been sent
        self._presence.sweep()
        return tuple(RequestId(request.request_id) for request in taken)

    def _replace(self, request: RequestRecord) -> None:
        self._requests.change(self._partition).put({request.request_id: request})

    # --- back-offs ------------------------------------------------------------------------------------------

    def _back_off(self, message: BackOff) -> None:
        for name in message.succeeded:
            key = self._back_off_key(name)
            if self._back_offs.current(key) is not None:
                self._back_offs.put(key, None)
        outage = self._back_offs.current(self._homeserver) is not None
        for name in message.failed:
            key = self._back_off_key(name)
            before = self._back_offs.current(key) or BackOffRecord(failures=0, until=0)
            if before.unreachable and not outage:  # as with a request
                before = msgspec.structs.replace(before, failures=before.released, released=before.released + 1)
            failures = before.failures + 1
            until = message.now + delay(failures)
            self._back_offs.put(key, BackOffRecord(failures=failures, until=until, released=before.released))

    def _await_homeserver(self, message: AwaitHomeserver) -> None:
        for key in map(self._back_off_key, message.names):
            record = self._back_offs.current(key)
            if record is not None and record.failures > record.released:
                self._back_offs.put(key, msgspec.structs.replace(record, unreachable=True))
                self._note_outage(message.now)

    def _backed_off(
        self, names: Iterable[str], now: int, look_up: Callable[[bytes], BackOffRecord | None]
    ) -> dict[str, int]:
        outage = look_up(self._homeserver) is not None
        stored = {name: look_up(self._back_off_key(name)) for name in names}
        # a clock that was set back must not make anybody wait for longer than they ever would
        return {
            name: record.until
            for name, record in stored.items()
            if record is not None
            and (outage or not record.unreachable)
            and now < record.until <= now + delay(record.failures)
        }
