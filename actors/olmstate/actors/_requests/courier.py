"""The courier sends this process's requests, each until it is answered, and keeps house: with a transport only.

Owns: who waits for which request in this process, and which requests are under way.
Rule: what is sent is what is stored, and an answer is stored before anybody hears of it. Cancelling whoever waits
changes nothing about the request: it is stored, and goes out.
Why a task of its own: the request outlives its asker. And one place sends each request once, whoever asked for it.

While nothing happens it looks whether another process has written (`POLL`), which costs no lock and no byte.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Final, cast

import attrs
import trio

from olmstate.actors._engine.bugs import internal_error, is_bug, logger, report
from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.slices import in_slices
from olmstate.actors._wire.json_parts import answer
from olmstate.actors._wire.untrusted_json import if_sound, integer, string
from olmstate.messages import (
    ActorStopped,
    AuthenticationRequired,
    InternalError,
    JsonObject,
    MalformedMessage,
    MarkRequestFailed,
    MarkRequestSent,
    NoTransport,
    OlmStateError,
    Request,
    RequestDelayed,
    RequestId,
    RequestKind,
    RequestRefused,
    Response,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

from .actor import CommittedRequests, PendingRequest, RequestContents, RequestsActor
from .back_off import delay, is_over
from .operations import MakeDueRequests, TakeOverRequests, challenge_of, is_for_good, is_passed_over, is_refusal
from .points import ANSWERS, TRANSPORT, UPKEEP

POLL: Final = 0.25
"""Seconds between two looks whether another process has written."""
STORE_AGAIN: Final = 1.0
"""Seconds until an answer that could not be stored is tried again: the store was busy, or full."""
ANSWER_WITHIN: Final = 300.0
"""Seconds that a request may take: one that takes longer has no answer, and its place is another's. A homeserver that
gives a byte a minute would keep it for ever."""
MOST_AT_ONCE: Final = 16
"""Requests under way at a time."""
REFUSALS_KEPT: Final = 256
"""Of requests for which nobody waited yet: whoever made one hears of it when they come to wait."""


@attrs.define(eq=False)
class _Waiting:
    """Somebody who waits for a request."""

    done: trio.Event = attrs.field(factory=trio.Event)
    error: OlmStateError | None = None


class Courier:
    """Sends this process's requests."""

    def __init__(self, supervisor: BesideTurns) -> None:
        """Over a supervisor; it sends nothing before `run`."""
        self._supervisor = supervisor
        self._transport = next(iter(supervisor.additions[TRANSPORT]), None)
        self._requests = supervisor.actors[RequestsActor]
        self._under_way: set[RequestId] = set()
        self._waiting: dict[RequestId, list[_Waiting]] = {}
        self._refused: OrderedDict[RequestId, OlmStateError] = OrderedDict()
        self._reported: dict[str, str] = {}
        """The bugs that are met again and again in the background."""

    @property
    def has_transport(self) -> bool:
        """Whether it sends by itself."""
        return self._transport is not None

    # --- for procedures -------------------------------------------------------------------------------------

    async def deliver(self, kind: RequestKind, request_ids: Collection[RequestId], *, patience: float = 60.0) -> None:
        """Wait until the homeserver has answered these requests of this process.

        Args:
            kind: What they are for.
            request_ids: As `PutRequests` has given them, after its commit.
            patience: Seconds to wait.

        Raises:
            NoTransport: There is none; they are stored, to be sent by hand.
            RequestRefused: One was refused, or a part of one once all of it was answered. The others go out all the
                same.
            AuthenticationRequired: One was refused until the user has authenticated.
            OlmStateError: What an `Answer` complains of.
            RequestDelayed: Not all were answered in time; they stay, and go out later.
        """
        if not request_ids:
            await trio.lowlevel.checkpoint()
            return
        if self._transport is None:
            raise NoTransport(kind=kind)
        with trio.move_on_after(patience):
            for request_id in request_ids:
                await self._wait_for(request_id)
            return
        raise RequestDelayed(kind=kind)

    async def _wait_for(self, request_id: RequestId) -> None:
        waiting = _Waiting()
        self._waiting.setdefault(request_id, []).append(waiting)
        try:
            if not await self._is_pending(request_id):
                self._resolve(request_id, self._refused.pop(request_id, None))
            await waiting.done.wait()
        finally:
            others = self._waiting.get(request_id, [])
            if waiting in others:
                others.remove(waiting)
                if not others:
                    del self._waiting[request_id]
        if waiting.error is not None:
            raise waiting.error

    def _resolve(self, request_id: RequestId, error: OlmStateError | None) -> None:
        for waiting in self._waiting.pop(request_id, []):
            waiting.error = None if error is None else attrs.evolve(error)
            waiting.done.set()

    async def wait_until_free(self, kind: RequestKind, is_meant: Callable[[str], bool], *, patience: float) -> bool:
        """Wait until no request of a kind, in any process, is about a subject that is meant; False if time is up."""
        with trio.move_on_after(patience):
            while True:
                changed = self._requests.changed
                if not any(each.kind == kind and any(map(is_meant, each.subjects)) for each in await self._pending()):
                    return True
                await self.wait_for_news(changed)
        return False

    @property
    def changed(self) -> trio.Event:
        """Set once requests have come or gone: take it, look, and then `wait_for_news`."""
        return self._requests.changed

    async def wait_for_news(self, changed: trio.Event) -> None:
        """Wait until it is worth another look: requests have come or gone, or another process may have written."""
        with trio.move_on_after(POLL):
            await changed.wait()

    async def _is_pending(self, request_id: RequestId) -> bool:
        """Whether a request, or a part of it, waits for its answer."""
        return any(request_id in each.names for each in await self._pending())

    async def _pending(self) -> tuple[PendingRequest, ...]:
        return await self._supervisor.ask(CommittedRequests())

    # --- in the background ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send what is there and what comes, until cancelled; without a transport, nothing."""
        if self._transport is None:
            return
        limit = trio.CapacityLimiter(MOST_AT_ONCE)
        async with trio.open_nursery() as nursery:
            while True:
                changed = self._requests.changed
                with self._tried_again("making the requests that are due"):
                    await make_due(self._supervisor)
                # one that ends during the look may have been seen as it was before
                under_way = self._under_way.copy()
                with self._tried_again("looking for requests"):
                    for pending in await sendable(self._supervisor):
                        if pending.request_id not in under_way:
                            self._under_way.add(pending.request_id)
                            nursery.start_soon(self._send, pending, limit)
                await self.wait_for_news(changed)

    @contextmanager
    def _tried_again(self, what: str) -> Generator[None]:
        """For what is looked at all the time: whoever asks for something is told of what is wrong."""
        try:
            yield
        except OlmStateError as error:
            if isinstance(error, InternalError):
                self._report_once(what, error)
        except BaseException as error:
            if not is_bug(error):
                raise
            self._report_once(what, error)
        else:
            self._reported.pop(what, None)

    def _report_once(self, what: str, error: BaseException) -> None:
        told = error if isinstance(error, InternalError) else internal_error(error)
        if self._reported.get(what) != str(told):
            self._reported[what] = str(told)
            report(what, told)

    async def _send(self, pending: PendingRequest, limit: trio.CapacityLimiter) -> None:
        try:
            async with limit:
                for request in await self._supervisor.ask(RequestContents(request_ids=(pending.request_id,))):
                    response = await self._ask_homeserver(pending, request)
                    await self._store(pending, response)
        except (StoreError, ActorStopped):
            pass  # it is stored as it was
        except BaseException as error:
            if not is_bug(error):
                raise
            # it is stored as it was, and not even its failure could be noted
            self._complain(pending, "a request", error)
            await trio.sleep(delay(1) / 1000)
        finally:
            self._under_way.discard(pending.request_id)

    async def _ask_homeserver(self, pending: PendingRequest, request: Request) -> Response | None:
        """None: there was no answer."""
        assert self._transport is not None  # noqa: S101 - `run` has looked
        try:
            # the user's function: whatever it raises means that there is no answer
            with trio.fail_after(ANSWER_WITHIN):
                given: object = self._transport(request)
                if inspect.isawaitable(given):
                    given = cast("object", await given)
                    if isinstance(given, Response):
                        return given
        except BaseException as error:
            if not is_bug(error):
                raise
            logger.warning("no answer to %s: %s", request.kind, internal_error(error).reason)
            return None
        reason = (
            f"the transport gave a {type(given).__name__}: it must be an asynchronous function that gives a Response"
        )
        self._complain(pending, request.kind, InternalError(reason=reason))
        return None

    def _complain(self, pending: PendingRequest, what: str, error: BaseException) -> None:
        """Tell whoever waits, and the log, of a bug; the request stays."""
        told = error if isinstance(error, InternalError) else internal_error(error)
        report(what, told)
        self._tell(pending, told)

    def _tell(self, pending: PendingRequest, error: OlmStateError) -> None:
        """Tell whoever waits; the request stays, or what is left of it."""
        for name in pending.names:
            self._resolve(name, error)

    async def _store(self, pending: PendingRequest, response: Response | None) -> None:
        """Take the answer in, however long that takes: keys may have been claimed with it, which nobody gets again."""
        while True:
            try:
                await self._store_once(pending, response)
            except (StoreBusy, StoreFull, StoreUnavailable):
                await trio.sleep(STORE_AGAIN)
            else:
                return

    async def _store_once(self, pending: PendingRequest, response: Response | None) -> None:
        request_id, kind = pending.request_id, pending.kind
        if response is not None and response.status == HTTPStatus.OK:
            try:
                await self._supervisor.ask(MarkRequestSent(request_id=request_id, response=response.body))
            except (StoreError, ActorStopped):
                raise
            except InternalError as error:
                self._complain(pending, kind, error)
            except OlmStateError:
                pass  # garbage, from a proxy say: it is sent again later
            else:
                await self._settle(pending, await self._complaint(kind, response))
                return
        failed = await _failure(request_id, response)
        await self._supervisor.ask(failed)
        if failed.status is None or not (is_refusal(failed.status) or failed.status in _TOLD):
            if not await self._is_pending(request_id):
                # it can't be sent again, since nobody knows what became of it
                self._tell(pending, RequestDelayed(kind=kind))
            return
        await self._refuse(pending, failed, failed.status)

    async def _refuse(self, pending: PendingRequest, failed: MarkRequestFailed, status: int) -> None:
        """Tell whoever waits that it was refused, unless its halves were made in its place."""
        kind, challenge = pending.kind, await challenge_of(failed)
        refused = RequestRefused(kind=kind, status=status, errcode=failed.errcode)
        if challenge is not None:
            await self._settle(pending, AuthenticationRequired(kind=kind, challenge=challenge))
        elif not await is_for_good(failed):
            self._tell(pending, refused)
        elif not await self._is_pending(pending.request_id):
            is_told = not is_passed_over(self._supervisor.additions, kind, status, failed.errcode)
            await self._settle(pending, refused if is_told else None)

    async def _settle(self, settled: PendingRequest, error: OlmStateError | None) -> None:
        """It is over: tell whoever waits, or comes to wait. Whoever waits for more than it waits for the rest."""
        left = await self._pending() if settled.instead_of else ()
        for name in settled.names:
            if error is not None:
                self._refused[name] = error
                self._refused.move_to_end(name)
            if name in self._waiting and not any(name in each.names for each in left):
                self._resolve(name, self._refused.pop(name, None))
        while len(self._refused) > REFUSALS_KEPT:
            self._refused.popitem(last=False)

    async def _complaint(self, kind: RequestKind, response: Response) -> OlmStateError | None:
        for taker in self._supervisor.additions[ANSWERS]:
            if taker.kind == kind and taker.complaint is not None:
                return taker.complaint(await in_slices(answer(response.body, "the answer")))
        return None


_TOLD: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""Tried again later, and told to whoever waits all the same."""


async def make_due(supervisor: BesideTurns) -> None:
    """Make the requests that are due; takes a turn only if there are any."""
    for upkeep in supervisor.additions[UPKEEP]:
        if await upkeep.due(supervisor):
            await supervisor.ask(MakeDueRequests())
            break


async def sendable(supervisor: BesideTurns) -> tuple[PendingRequest, ...]:
    """Take over what dead processes have left, and say what this process may send now.

    Takes a turn only if there is something to take over.
    """
    pending = await supervisor.ask(CommittedRequests())
    presence = supervisor.presence
    if any(not each.own and not presence.is_alive(each.owner) for each in pending):
        await supervisor.ask(TakeOverRequests())
        pending = await supervisor.ask(CommittedRequests())
    own = {each.request_id for each in pending if each.own and is_over(each.not_before, supervisor.now())}
    return tuple(each for each in _first_of_each_subject(pending) if each.request_id in own)


def _first_of_each_subject(pending: Iterable[PendingRequest]) -> Iterable[PendingRequest]:
    """Those before which no other of their kind is about one of their subjects: these go out one after another."""
    seen: set[tuple[RequestKind, str]] = set()
    for each in pending:
        about = {(each.kind, subject) for subject in each.subjects}
        if not about & seen:
            yield each
        seen |= about


async def _failure(request_id: RequestId, response: Response | None) -> MarkRequestFailed:
    if response is None or response.status == HTTPStatus.OK:
        # a 200 that could not be taken in is no sign that the homeserver can't be reached
        return MarkRequestFailed(request_id=request_id, status=None if response is None else response.status)
    body: JsonObject = {}
    with suppress(MalformedMessage):  # the status says enough
        body = await in_slices(answer(response.body, "the answer"))
    retry_after, milliseconds = response.retry_after, if_sound(integer, body, "retry_after_ms")
    if retry_after is None and milliseconds is not None:
        retry_after = milliseconds / 1000
    return MarkRequestFailed(
        request_id=request_id,
        status=response.status,
        errcode=if_sound(string, body, "errcode"),
        error=if_sound(string, body, "error"),
        retry_after=retry_after,
        response=body,
    )
