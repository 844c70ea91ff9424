"""Handing requests out, to be sent by hand."""

from __future__ import annotations

from olmstate.actors._engine.capability import BesideTurns
from olmstate.messages import OutgoingRequests, Request

from .actor import RequestContents
from .courier import keep_house


async def outgoing_requests(supervisor: BesideTurns, procedure: OutgoingRequests) -> tuple[Request, ...]:  # noqa: ARG001 - a procedure's function
    """Make what is due, and give what this process may send now."""
    request_ids = await keep_house(supervisor)
    return await supervisor.ask(RequestContents(request_ids=request_ids)) if request_ids else ()
