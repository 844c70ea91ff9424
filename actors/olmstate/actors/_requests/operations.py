"""What becomes of a request: it is answered, refused, or due again later; and which ones are due by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.points import Additions
from olmstate.actors._engine.slices import SlicesOf, in_slices
from olmstate.actors._engine.turn import Turn
from olmstate.actors._wire.json_parts import answer
from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.actors._wire.untrusted_json import if_sound, is_array, string
from olmstate.messages import (
    Command,
    DeviceAddress,
    DeviceId,
    JsonObject,
    MalformedMessage,
    MarkRequestFailed,
    MarkRequestSent,
    Request,
    RequestGivenUp,
    RequestId,
    RequestKind,
    UserId,
)

from .actor import (
    AnsweredRequest,
    AwaitHomeserver,
    BackedOff,
    CommittedBackOffs,
    PostponeRequest,
    PutRequests,
    RemoveRequest,
    RequestsActor,
    StoredRequests,
    TakeOver,
)
from .points import ANSWERS, REFUSALS, UNRECOGNIZED, UPKEEP, Refusal, Refused

PASSING: Final = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
)
"""Refusals that may not be for good: the access token may be a new one later, or the server less busy."""
UNREACHABLE: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""What a proxy answers in the place of a homeserver that it can't reach."""
_BY_USER: Final = {
    RequestKind.KEYS_QUERY: "device_keys",
    RequestKind.KEYS_CLAIM: "one_time_keys",
    RequestKind.TO_DEVICE: "messages",
}
"""The field of a body that names users and their devices."""
NAMES_AT_ONCE: Final = 64
"""Looked up without giving other tasks a chance: a millisecond, or two if they must be loaded."""
REQUESTS_AT_ONCE: Final = 1
"""The same, of requests: one may be for 250 devices."""


class MakeDueRequests(QuietStruct, Command[None], kw_only=True, frozen=True):
    """Store the requests that are due."""


class TakeOverRequests(QuietStruct, Command[None], kw_only=True, frozen=True):
    """Take over the requests of processes that have died."""


def is_refusal(status: int | None) -> bool:
    """Whether an HTTP status says no, and not for now only."""
    return status is not None and 300 <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in PASSING  # noqa: PLR2004 - HTTP's


async def is_for_good(failed: MarkRequestFailed) -> bool:
    """Whether the homeserver says no for good.

    It gives an ``errcode`` (spec: Standard error response). An answer without one is a proxy's, which says so while the
    homeserver behind it begins anew; but what is too large for it stays so.
    """
    if not is_refusal(failed.status):
        return False
    if failed.response is None or failed.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return True
    return await _has_errcode(failed)


async def is_unreachable(failed: MarkRequestFailed) -> bool:
    """Whether nothing was heard of the homeserver itself: no answer came, or a proxy's that says so and no more."""
    if failed.status is None:
        return True
    return failed.status in UNREACHABLE and failed.retry_after is None and not await _has_errcode(failed)


async def _has_errcode(failed: MarkRequestFailed) -> bool:
    if failed.errcode is not None or failed.response is None:
        return failed.errcode is not None
    try:
        response = await in_slices(answer(failed.response, "the answer"))
    except MalformedMessage:
        return False
    return if_sound(string, response, "errcode") is not None


async def challenge_of(failed: MarkRequestFailed) -> JsonObject | None:
    """What the homeserver asks of the user before it does that; None if that isn't why it has failed."""
    if failed.status != HTTPStatus.UNAUTHORIZED or failed.response is None:
        return None
    try:
        response = await in_slices(answer(failed.response, "the answer"))
    except MalformedMessage:
        return None
    return response if is_array(response.get("flows")) else None


async def mark_request_sent(turn: Turn, command: MarkRequestSent) -> None:
    """Take an answer in, for one commit with the request's removal."""
    answered = await turn[RequestsActor].ask(RemoveRequest(request_id=command.request_id, now=turn.now))
    if answered is None:
        return
    response = await in_slices(answer(command.response, "the answer"))
    for taker in turn.additions[ANSWERS]:
        if taker.kind == answered.kind:
            await taker.take(turn, answered, response)


async def mark_request_failed(turn: Turn, command: MarkRequestFailed) -> None:
    """Send it again later, or give it up."""
    challenge = await challenge_of(command)
    if command.status is None or not (challenge or await is_for_good(command)):
        unreachable = await is_unreachable(command)
        gone = await turn[RequestsActor].ask(
            PostponeRequest(
                request_id=command.request_id,
                now=turn.now,
                retry_after=command.retry_after,
                refused=command.status in PASSING,
                unreachable=unreachable,
            )
        )
        if gone and unreachable:
            await turn[RequestsActor].ask(AwaitHomeserver(names=gone, now=turn.now))
        return
    refused = await turn[RequestsActor].ask(RemoveRequest(request_id=command.request_id, now=turn.now))
    if refused is None:
        return
    why = Refused(status=command.status, errcode=command.errcode, error=command.error, challenge=challenge)
    refusals = refusals_of(turn.additions, refused.kind)
    if not why.is_of_all:
        for refusal in refusals:
            halves = () if refusal.halve is None else await refusal.halve(refused)
            if halves:
                await turn[RequestsActor].ask(PutRequests(requests=halves, now=turn.now, instead_of=refused))
                return
    for refusal in refusals:
        await refusal.take(turn, refused, why)
    if not is_answer(turn.additions, refused.kind, command.status):
        turn.events.append(await _given_up(refused, why))


async def _given_up(refused: AnsweredRequest, why: Refused) -> RequestGivenUp:
    """What subscribers hear."""
    by_user: dict[UserId, Iterable[DeviceId]] = {}
    if refused.kind in _BY_USER:
        body = await in_slices(answer(refused.body, "a body"))
        by_user = body.get(_BY_USER[refused.kind], {})
    return RequestGivenUp(
        kind=refused.kind,
        status=why.status,
        errcode=why.errcode,
        error=why.error,
        event_type=refused.event_type,
        users=tuple(by_user) if refused.kind is RequestKind.KEYS_QUERY else (),
        devices=tuple(
            DeviceAddress(user_id=user_id, device_id=device_id)
            for user_id, devices in by_user.items()
            for device_id in devices
        ),
    )


def refusals_of(additions: Additions, kind: RequestKind) -> list[Refusal]:
    """What refusals of a kind of request mean."""
    return [refusal for refusal in additions[REFUSALS] if refusal.kind == kind]


def is_answer(additions: Additions, kind: RequestKind, status: int) -> bool:
    """Whether a refusal says all that a request asks."""
    return any(status in refusal.answers for refusal in refusals_of(additions, kind))


def is_passed_over(additions: Additions, kind: RequestKind, status: int, errcode: str | None) -> bool:
    """Whether nobody who waits is told of a refusal: it says all that was asked, or leaves some out."""
    if is_answer(additions, kind, status):
        return True
    return errcode != UNRECOGNIZED and any(refusal.leaves_out for refusal in refusals_of(additions, kind))


async def backed_off(turn: Turn, names: Iterable[str]) -> dict[str, int]:
    """Of those who have failed lately, until when they are left alone, in milliseconds since 1970."""
    found: dict[str, int] = {}
    async for some in SlicesOf(names, NAMES_AT_ONCE):
        found |= await turn[RequestsActor].ask(BackedOff(names=some, now=turn.now))
    return found


async def committed_back_offs(supervisor: BesideTurns, names: Iterable[str]) -> dict[str, int]:
    """The same, beside the turns."""
    found: dict[str, int] = {}
    async for some in SlicesOf(names, NAMES_AT_ONCE):
        failing = await supervisor.ask(CommittedBackOffs(names=some, now=supervisor.now()))
        found |= failing
    return found


async def stored_requests(turn: Turn, request_ids: Iterable[RequestId]) -> tuple[Request, ...]:
    """Requests as they are to be sent, as this turn sees them; one that is over isn't among them."""
    found: list[Request] = []
    async for some in SlicesOf(request_ids, REQUESTS_AT_ONCE):
        found += await turn[RequestsActor].ask(StoredRequests(request_ids=some))
    return tuple(found)


async def make_due_requests(turn: Turn, command: MakeDueRequests) -> None:  # noqa: ARG001 - a command's function
    """Let each capability make what is due, as this turn sees it."""
    for upkeep in turn.additions[UPKEEP]:
        await upkeep.make(turn)


async def take_over_requests(turn: Turn, command: TakeOverRequests) -> None:  # noqa: ARG001 - a command's function
    """Take over what dead processes have left."""
    await turn[RequestsActor].ask(TakeOver())
