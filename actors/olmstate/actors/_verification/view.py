"""A flow as users see it: what it waits for, and what is to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from olmstate.messages import DeviceId, SasEmoji, UserId, Verification, VerificationStage

from .flow import State
from .record import Flow
from .show import sas_of

STAGES: Final[Mapping[State, VerificationStage]] = {
    State.CREATED: VerificationStage.REQUESTED,
    State.WITHDRAWN: VerificationStage.REQUESTED,
    State.WE_REQUESTED: VerificationStage.REQUESTED,
    State.REQUESTED: VerificationStage.ASKED,
    State.START_RECEIVED: VerificationStage.ASKED,
    State.READY: VerificationStage.READY,
    State.QR_SHOWN: VerificationStage.READY,
    State.STARTED: VerificationStage.STARTED,
    State.ACCEPTED: VerificationStage.STARTED,
    State.KEY_SENT: VerificationStage.STARTED,
    State.COMPARING: VerificationStage.COMPARING,
    State.MAC_RECEIVED: VerificationStage.COMPARING,
    State.SCANNED: VerificationStage.COMPARING,
    State.SCANNER_DONE: VerificationStage.COMPARING,
    State.CONFIRMED: VerificationStage.CONFIRMED,
    State.RECIPROCATED: VerificationStage.CONFIRMED,
    State.DONE_SENT: VerificationStage.CONFIRMED,
    State.DONE: VerificationStage.DONE,
    State.CANCELLED: VerificationStage.CANCELLED,
    State.PASSIVE: VerificationStage.ELSEWHERE,
    State.DISMISSED: VerificationStage.DISMISSED,
}


def verification(flow: Flow) -> Verification:
    """What there is to say about a flow, and to show. Its secrets stay where they are."""
    # asked who has confirmed, people have compared already
    shown = sas_of(flow) if STAGES[flow.state] is VerificationStage.COMPARING else None
    return Verification(
        user_id=UserId(flow.peer_user_id),
        flow_id=flow.flow_id or flow.txn_id or "",
        device_id=None if flow.peer is None else DeviceId(flow.peer.device_id),
        we_requested=flow.we_requested,
        stage=STAGES[flow.state],
        until=flow.due_at,
        emoji=None
        if shown is None or shown.emoji is None
        else tuple(SasEmoji(symbol=s, name=n) for s, n in shown.emoji),
        decimals=None if shown is None else shown.decimals,
        cancel_code=flow.code,
        cancel_reason=flow.reason,
        cancelled_by_us=flow.cancelled_by_us,
    )
