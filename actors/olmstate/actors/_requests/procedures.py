"""Handing requests out, to be sent by hand."""

from __future__ import annotations

from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._engine.slices import SlicesOf
from olmstate.messages import OutgoingRequests, Request

from .actor import RequestContents
from .courier import make_due, sendable
from .operations import REQUESTS_AT_ONCE


async def outgoing_requests(supervisor: BesideTurns, procedure: OutgoingRequests) -> tuple[Request, ...]:  # noqa: ARG001 - a procedure's function
    """Make what is due, and give what this process may send now."""
    await make_due(supervisor)
    request_ids = [each.request_id for each in await sendable(supervisor)]
    found: list[Request] = []
    async for some in SlicesOf(request_ids, REQUESTS_AT_ONCE):
        contents = await supervisor.ask(RequestContents(request_ids=some))
        found += contents
    return tuple(found)
