"""A flow as users see it: what it waits for, and what is to be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from olmstate.messages import (
    DeviceId,
    EventId,
    JsonObject,
    RoomId,
    SasEmoji,
    UserId,
    Verification,
    VerificationMessage,
    VerificationMethod,
    VerificationStage,
)

from . import methods
from .flow import State
from .record import Flow
from .show import qr_code_of, sas_of
from .stored import VerificationRecord

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
    State.SCANNED: VerificationStage.SCANNED,
    State.SCANNER_DONE: VerificationStage.SCANNED,
    State.CONFIRMED: VerificationStage.CONFIRMED,
    State.RECIPROCATED: VerificationStage.CONFIRMED,
    State.DONE_SENT: VerificationStage.CONFIRMED,
    State.DONE: VerificationStage.DONE,
    State.CANCELLED: VerificationStage.CANCELLED,
    State.PASSIVE: VerificationStage.ELSEWHERE,
    State.DISMISSED: VerificationStage.DISMISSED,
}


def verification(record: VerificationRecord) -> Verification:
    """What there is to say about a flow, and to show. Its secrets stay where they are."""
    flow = record.flow
    assert flow is not None  # noqa: S101 - of what only waits there is nothing to say
    # asked who has confirmed, people have compared already
    shown = sas_of(flow) if STAGES[flow.state] is VerificationStage.COMPARING else None
    return Verification(
        user_id=UserId(flow.peer_user_id),
        flow_id=record.flow_id,
        device_id=None if flow.peer is None else DeviceId(flow.peer.device_id),
        we_requested=flow.we_requested,
        stage=STAGES[flow.state],
        room_id=None if flow.room_id is None else RoomId(flow.room_id),
        event_id=None if flow.room_id is None or flow.flow_id is None else EventId(flow.flow_id),
        methods=_possible(flow),
        until=flow.due_at,
        emoji=None
        if shown is None or shown.emoji is None
        else tuple(SasEmoji(symbol=s, name=n) for s, n in shown.emoji),
        decimals=None if shown is None else shown.decimals,
        qr_code=qr_code_of(flow) if flow.state is State.QR_SHOWN else None,
        cancel_code=flow.code,
        cancel_reason=flow.reason,
        cancelled_by_us=flow.cancelled_by_us,
    )


def next_message(record: VerificationRecord) -> VerificationMessage:
    """What is to be sent to the flow's room next."""
    assert record.flow is not None and record.flow.room_id is not None  # noqa: S101, PT018 - only these have any
    message = record.unsent[0]
    content: JsonObject = json.loads(message.content)
    return VerificationMessage(
        room_id=RoomId(record.flow.room_id),
        transaction_id=message.transaction_id,
        type=message.type,
        content=content,
    )


def _possible(flow: Flow) -> tuple[VerificationMethod, ...]:
    own = methods.METHODS if flow.state is State.REQUESTED else flow.own_methods
    both = methods.answer(own, flow.peer_methods)
    return tuple(method for method in VerificationMethod if method.value in both)
