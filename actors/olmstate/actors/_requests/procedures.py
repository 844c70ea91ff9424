"""Handing requests out, to be sent by hand."""

from __future__ import annotations

from olmstate.actors._engine.capability import BesideTurns
from olmstate.messages import OutgoingRequests, Request

from .actor import RequestContents
from .courier import make_due, sendable


async def outgoing_requests(supervisor: BesideTurns, procedure: OutgoingRequests) -> tuple[Request, ...]:  # noqa: ARG001 - a procedure's function
    """Make what is due, and give what this process may send now."""
    await make_due(supervisor)
    request_ids = await sendable(supervisor)
    return await supervisor.ask(RequestContents(request_ids=request_ids)) if request_ids else ()
