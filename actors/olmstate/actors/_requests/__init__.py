"""Requests to the homeserver: stored before they leave, sent by the process that made them, answered once."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.messages import MarkRequestFailed, MarkRequestSent, OutgoingRequests, RequestGivenUp

from .actor import CommittedBackOffs, CommittedRequests, RequestContents, RequestsActor
from .courier import Courier
from .operations import (
    MakeDueRequests,
    TakeOverRequests,
    make_due_requests,
    mark_request_failed,
    mark_request_sent,
    take_over_requests,
)
from .procedures import outgoing_requests

CAPABILITY = Capability(
    actor=RequestsActor,
    commands=(
        MakeDueRequests.by(make_due_requests),
        MarkRequestFailed.by(mark_request_failed),
        MarkRequestSent.by(mark_request_sent),
        TakeOverRequests.by(take_over_requests),
    ),
    queries=(
        CommittedBackOffs.answered_by(RequestsActor),
        CommittedRequests.answered_by(RequestsActor),
        RequestContents.answered_by(RequestsActor),
    ),
    procedures=(OutgoingRequests.by(outgoing_requests),),
    services=(Courier,),
    events=(RequestGivenUp,),
)
