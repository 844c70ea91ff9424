"""Verifying keys with another device or user (spec: Device verification)."""

from __future__ import annotations

import enum

import attrs

from ._errors import OlmStateError
from ._events import SharedEvent
from ._field_types import checked, not_empty
from ._ids import DeviceId, UserId
from ._message import Command, Query


class VerificationStage(enum.StrEnum):
    """What a verification waits for, or how it ended."""

    REQUESTED = "requested"
    """The other side has to take our request."""
    ASKED = "asked"
    """The other side asks us: `AcceptVerification` or `CancelVerification`."""
    READY = "ready"
    """Both are there: `StartSas`, on either side."""
    STARTED = "started"
    """The devices exchange keys; nobody has to do anything."""
    COMPARING = "comparing"
    """People compare what both devices show: `ConfirmVerification` or `CancelVerification`."""
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
    """Its transaction id. Only together with the user id does it name a verification."""
    device_id: DeviceId | None
    """The other side's device; None while none has taken our request."""
    we_requested: bool
    stage: VerificationStage
    until: int
    """When the stage times out, in milliseconds since 1970. Of one that is over: when it is forgotten."""
    emoji: tuple[SasEmoji, ...] | None = attrs.field(default=None, repr=False)
    """To be compared, seven; None: not now, or one side can't show any."""
    decimals: tuple[int, int, int] | None = attrs.field(default=None, repr=False)
    """To be compared, each from 1000 to 9191; None: not now, or one side can't show any."""
    cancel_code: str | None = None
    """As ``m.mismatched_sas`` (spec: m.key.verification.cancel)."""
    cancel_reason: str = ""
    """The other side's words; to be shown only if the code is unknown."""
    cancelled_by_us: bool = False


@attrs.frozen(kw_only=True, field_transformer=checked)
class RequestVerification(Command[Verification]):
    """Ask devices of a user to verify (spec: Key verification framework).

    Raises:
        NoAccount: The store is empty.
        NoCommonMethod: There is no device to ask: this one itself isn't.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    devices: tuple[DeviceId, ...] = ()
    """Empty: all that are known. Of the own user, name those that are to be trusted."""


@attrs.frozen(kw_only=True, field_transformer=checked)
class AcceptVerification(Command[Verification]):
    """Take the other side's request.

    Raises:
        UnknownVerification: There is none of these ids.
        WrongStep: It isn't `VerificationStage.ASKED`.
        NoCommonMethod: The other side's device can't compare emoji or numbers.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    flow_id: str = attrs.field(validator=not_empty)


@attrs.frozen(kw_only=True, field_transformer=checked)
class StartSas(Command[Verification]):
    """Begin to compare emoji or numbers. If the other side begins at the same time, one of the two beginnings counts.

    Raises:
        UnknownVerification: There is none of these ids.
        WrongStep: It isn't `VerificationStage.READY`.
        NoCommonMethod: The other side's device can't compare emoji or numbers.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    flow_id: str = attrs.field(validator=not_empty)


@attrs.frozen(kw_only=True, field_transformer=checked)
class ConfirmVerification(Command[Verification]):
    """The user says that both devices show the same.

    Raises:
        UnknownVerification: There is none of these ids.
        WrongStep: It isn't `VerificationStage.COMPARING`.
    """

    user_id: UserId = attrs.field(validator=not_empty)
    flow_id: str = attrs.field(validator=not_empty)


@attrs.frozen(kw_only=True, field_transformer=checked)
class CancelVerification(Command[Verification]):
    """Reject the other side's request, or give up.

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
    """The verifications that are going on, and those that have ended in the last ten minutes, oldest first."""


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
