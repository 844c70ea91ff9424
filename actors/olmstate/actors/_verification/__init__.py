"""Verifying keys with another device or user: SAS and QR codes, as flows that any process can go on with."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._requests.points import ANSWERS, UPKEEP, Answer, Upkeep
from olmstate.actors._to_device.handlers import ON_DECRYPTED, ON_PLAIN, Handler
from olmstate.messages import (
    AcceptVerification,
    CancelVerification,
    ConfirmVerification,
    MarkVerificationMessageRefused,
    MarkVerificationMessageSent,
    ReceiveVerificationEvent,
    RequestKind,
    RequestVerification,
    ScanQrCode,
    ShowQrCode,
    StartSas,
    VerificationChanged,
    VerificationMessages,
    Verifications,
)

from .actor import AnyFlowDue, VerificationsActor, VerifiedDevices
from .operations import (
    accept_verification,
    cancel_verification,
    confirm_verification,
    end_flows,
    flows_due,
    mark_message_refused,
    mark_message_sent,
    request_verification,
    scan_qr_code,
    show_qr_code,
    start_sas,
)
from .receiving import (
    TYPES,
    TakeRoomEvent,
    devices_learned,
    receive_decrypted,
    receive_plain,
    receive_verification_event,
    take_room_event,
)

CAPABILITY = Capability(
    actor=VerificationsActor,
    commands=(
        AcceptVerification.by(accept_verification),
        CancelVerification.by(cancel_verification),
        ConfirmVerification.by(confirm_verification),
        MarkVerificationMessageRefused.by(mark_message_refused),
        MarkVerificationMessageSent.by(mark_message_sent),
        RequestVerification.by(request_verification),
        ScanQrCode.by(scan_qr_code),
        ShowQrCode.by(show_qr_code),
        StartSas.by(start_sas),
        TakeRoomEvent.by(take_room_event),
    ),
    queries=(
        AnyFlowDue.answered_by(VerificationsActor),
        VerificationMessages.answered_by(VerificationsActor),
        Verifications.answered_by(VerificationsActor),
        VerifiedDevices.answered_by(VerificationsActor),
    ),
    procedures=(ReceiveVerificationEvent.by(receive_verification_event),),
    additions=(
        ON_DECRYPTED.add(Handler(TYPES, receive_decrypted)),
        ON_PLAIN.add(Handler(TYPES, receive_plain)),
        ANSWERS.add(Answer(kind=RequestKind.KEYS_QUERY, take=devices_learned)),
        UPKEEP.add(Upkeep(due=flows_due, make=end_flows)),
    ),
    events=(VerificationChanged,),
)
