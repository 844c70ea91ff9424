"""Verifying keys with another device or user (spec: Device verification)."""

from __future__ import annotations

import attrs

from ._errors import OlmStateError


@attrs.define(kw_only=True, eq=False)
class VerificationError(OlmStateError):
    """A verification doesn't allow what was asked. Nothing has happened, and the peer hears nothing of it."""


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
