"""Verifying keys with another device or user (spec: Device verification)."""

from __future__ import annotations

import enum

import attrs

from ._errors import OlmStateError
from ._events import SharedEvent
from ._field_types import checked, not_empty
from ._ids import DeviceId, EventId, JsonObject, RoomId, UserId
from ._message import Command, Procedure, Query


class VerificationMethod(enum.StrEnum):
    """What a program can do to verify."""

    SAS = "m.sas.v1"
    """Have people compare emoji, or numbers."""
    SHOW_QR = "m.qr_code.show.v1"
    """Show a QR code."""
    SCAN_QR = "m.qr_code.scan.v1"
    """Scan one."""


class VerificationStage(enum.StrEnum):
    """What a verification waits for, or how it ended."""

    REQUESTED = "requested"
    """The other side has to take our request."""
    ASKED = "asked"
    """The other side asks us: `AcceptVerification` or `CancelVerification`."""
    READY = "ready"
    """Both are there. What `Verification.methods` has of it: `StartSas`, `ShowQrCode`, `ScanQrCode`, on either side."""
    STARTED = "started"
    """The devices exchange keys; nobody has to do anything."""
    COMPARING = "comparing"
    """People compare what both devices show: `ConfirmVerification` or `CancelVerification`."""
    SCANNED = "scanned"
    """The other side says that it has scanned our code. If its device says so too, `ConfirmVerification`; else
    `CancelVerification`."""
    CONFIRMED = "confirmed"
    """The other side has to confirm."""
    DONE = "done"
    """The keys are verified, on both sides."""
    CANCELLED = "cancelled"
    """One side has given up, or something was wrong: `Verification.cancel_code` says what."""
    ELSEWHERE = "elsewhere"
    """Another device of ours has taken the request."""
    DISMISSED = "dismissed"
    """The request wasn't taken in time. Nothing was said: another device may still take it."""


@attrs.frozen(kw_only=True)
class SasEmoji:
    """One of the seven that people compare."""

    symbol: str
    name: str
    """In English (spec: SAS method: emoji)."""


@attrs.frozen(kw_only=True)
class Verification:
    """A verification as it is now. Any process can go on with it."""

    user_id: UserId
    """The other side's."""
    flow_id: str
    """Only together with the user id does it name a verification. It stays the same."""
    device_id: DeviceId | None
    """The other side's device; None while none has taken our request."""
    we_requested: bool
    stage: VerificationStage
    room_id: RoomId | None
    """Where its messages go; None: from device to device."""
    event_id: EventId | None
    """In a room, the request; None: not in a room, or not known to be there yet."""
    methods: tuple[VerificationMethod, ...]
    """What this side can do now, since the other side can do its part of it; of a request that came, what it could."""
    until: int
    """When the stage times out, in milliseconds since 1970. Of one that is over: when it is forgotten."""
    emoji: tuple[SasEmoji, ...] | None = attrs.field(default=None, repr=False)
    """To be compared, seven; None: not now, or one side can't show any."""
    decimals: tuple[int, int, int] | None = attrs.field(default=None, repr=False)
    """To be compared, each from 1000 to 9191; None: not now, or one side can't show any."""
    qr_code: bytes | None = attrs.field(default=None, repr=False)
    """To be shown: the content of a QR code, in byte mode. `olmstate.qr` draws it. None: not now."""
    cancel_code: str | None = None
    """As ``m.mismatched_sas`` (spec: m.key.verification.cancel)."""
    cancel_reason: str = ""
    """The other side's words; to be shown only if the code is unknown."""
    cancelled_by_us: bool = False


@attrs.frozen(kw_only=True, field_transformer=checked)
class RequestVerification(Command[Verification]):
    """Ask a user to verify (spec: Key verification framework): some devices, or, of another user, whoever is in a room.

    In a room, the messages are yours to send: `VerificationMessages`.

    Returns:
        Verification: A verification as it is now. Any process can go on with it.

    Raises:
        NoAccount: The store is empty.
        NoCommonMethod: There is nobody to ask: no device is known, it is this one itself, or in a room our own user; or
            ``methods`` is empty.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    devices: tuple[DeviceId, ...] = ()
    """Empty: all that are known. Of the own user, name those that are to be trusted."""
    room_id: RoomId | None = None
    """A direct chat with the other user, by preference. None: from device to device."""
    methods: tuple[VerificationMethod, ...] = (VerificationMethod.SAS,)
    """What your program can do."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class AcceptVerification(Command[Verification]):
    """Take the other side's request.

    Returns:
        Verification: A verification as it is now. Any process can go on with it.

    Raises:
        UnknownVerification: There is none of these ids.
        WrongStep: It isn't `VerificationStage.ASKED`.
        NoCommonMethod: The two devices can't do any of ``methods`` together.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    flow_id: str = attrs.field(validator=not_empty)
    methods: tuple[VerificationMethod, ...] = (VerificationMethod.SAS,)
    """What your program can do."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class StartSas(Command[Verification]):
    """Begin to compare emoji or numbers. If the other side begins at the same time, one of the two beginnings counts.

    Returns:
        Verification: A verification as it is now. Any process can go on with it.

    Raises:
        UnknownVerification: There is none of these ids.
        WrongStep: It isn't `VerificationStage.READY`.
        NoCommonMethod: The other side's device can't compare emoji or numbers.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    flow_id: str = attrs.field(validator=not_empty)


@attrs.frozen(kw_only=True, field_transformer=checked)
class ShowQrCode(Command[Verification]):
    """Show the other side a QR code: `Verification.qr_code`. Asked again, it is the same.

    Returns:
        Verification: A verification as it is now. Any process can go on with it.

    Raises:
        UnknownVerification: There is none of these ids.
        WrongStep: It isn't `VerificationStage.READY`.
        QrUnavailable: The other side can't scan, or a cross-signing identity is missing or not trusted here.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    flow_id: str = attrs.field(validator=not_empty)


@attrs.frozen(kw_only=True, field_transformer=checked)
class ScanQrCode(Command[Verification]):
    """The other side's QR code was scanned. One of another verification, or with other keys, ends this one.

    Returns:
        Verification

    Raises:
        UnknownVerification: There is none of these ids.
        WrongStep: It isn't `VerificationStage.READY`.
        QrUnavailable: The other side can't show one.
        MalformedQrCode: It isn't a verification's code. Scan again.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    flow_id: str = attrs.field(validator=not_empty)
    data: bytes = attrs.field(repr=False)
    """Its content, in byte mode, as it is."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class ConfirmVerification(Command[Verification]):
    """The user says that both devices show the same, or that the other device says that it has scanned our code.

    Returns:
        Verification

    Raises:
        UnknownVerification: There is none of these ids.
        WrongStep: It is neither `VerificationStage.COMPARING` nor `VerificationStage.SCANNED`.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    flow_id: str = attrs.field(validator=not_empty)


@attrs.frozen(kw_only=True, field_transformer=checked)
class CancelVerification(Command[Verification]):
    """Reject the other side's request, or give up.

    Returns:
        Verification: A verification as it is now. Any process can go on with it.

    Raises:
        UnknownVerification: There is none of these ids.
        WrongStep: There is nothing to compare, and so no ``mismatch``; or it is over.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    flow_id: str = attrs.field(validator=not_empty)
    mismatch: bool = False
    """The two devices show different things: somebody may be between them."""


@attrs.frozen(kw_only=True)
class Verifications(Query[tuple[Verification, ...]]):
    """The verifications that are going on, and those that have ended in the last ten minutes, oldest first.

    Returns:
        tuple[Verification, ...]
    """


@attrs.frozen(kw_only=True, field_transformer=checked)
class ReceiveVerificationEvent(Procedure[Verification | None]):
    """Take in an event of a room that belongs to a verification: ``m.key.verification.*``, or a request.

    A request is an ``m.room.message`` with the ``msgtype`` ``m.key.verification.request``. Give each such event, also
    those of your own user, in the order in which the room has them. Twice does no harm. The reply is the verification
    as it is now; None: the event is of none, or its sender's devices are being queried.

    Returns:
        Verification | None

    Raises:
        NoAccount: The store is empty.
        DecryptionError: It is encrypted, and can't be decrypted: one of the errors of `DecryptRoomEvent`.
        MalformedMessage: It is no event of a room, or doesn't say which verification it is of.
    """

    room_id: RoomId = attrs.field(validator=not_empty)
    """By the sync response, not by the event."""
    event: JsonObject = attrs.field(repr=False)
    """As the room has it, encrypted or not."""


@attrs.frozen(kw_only=True)
class VerificationMessage:
    """A message of a verification, to be sent to its room."""

    room_id: RoomId
    transaction_id: str
    """Send it under this id, each time: the homeserver takes it once (spec: PUT /rooms/{roomId}/send)."""
    type: str
    content: JsonObject = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class VerificationMessages(Query[tuple[VerificationMessage, ...]]):
    """The messages that are to be sent to rooms, of each verification the next one.

    Encrypt each if its room is encrypted (`EncryptForRoom`), send it, and say so: `MarkVerificationMessageSent`. They
    are stored: whoever asks next gets what a process that has died couldn't send.

    Returns:
        tuple[VerificationMessage, ...]
    """


@attrs.frozen(kw_only=True, field_transformer=checked)
class MarkVerificationMessageSent(Command[None]):
    """The homeserver has taken a message. One that was marked before, or is unknown, changes nothing.

    Returns:
        None
    """

    transaction_id: str = attrs.field(validator=not_empty)
    event_id: EventId = attrs.field(validator=not_empty)
    """From its answer."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class MarkVerificationMessageRefused(Command[None]):
    """The homeserver doesn't take a message, and never will. If it is a request, its verification is over.

    Returns:
        None
    """

    transaction_id: str = attrs.field(validator=not_empty)


@attrs.frozen(kw_only=True)
class VerificationChanged(SharedEvent):
    """A verification has begun, gone on or ended; `Verifications` has the rest."""

    user_id: UserId
    flow_id: str
    stage: VerificationStage


@attrs.define(kw_only=True, eq=False)
class VerificationError(OlmStateError):
    """A verification doesn't allow what was asked. Nothing has happened, and the peer hears nothing of it."""


@attrs.define(kw_only=True, eq=False)
class UnknownVerification(VerificationError):
    """There is no such verification: it never was, or it is over and forgotten."""

    text = "no verification with {user_id} has this id"
    user_id: str


@attrs.define(kw_only=True, eq=False)
class WrongStep(VerificationError):
    """Not what the verification waits for: it is farther, not as far, or over."""

    text = "a verification that is {state} can't take: {action}"
    state: str
    action: str


@attrs.define(kw_only=True, eq=False)
class NoCommonMethod(VerificationError):
    """The two devices have no verification method in common, or there is nobody to verify with."""

    text = "the devices have no verification method in common"


@attrs.define(kw_only=True, eq=False)
class QrUnavailable(VerificationError):
    """No QR code can be shown or scanned in this verification. Comparing emoji may be possible."""

    text = "no QR code here: {reason}"
    reason: str


@attrs.define(kw_only=True, eq=False)
class MalformedQrCode(VerificationError):
    """What was scanned is no verification's QR code (spec: QR code format)."""

    text = "not a verification's QR code: {reason}"
    reason: str
