"""What a client shows beside a message."""

from __future__ import annotations

import olmstate.messages as m

WORDS = {
    m.ShieldCode.AUTHENTICITY_NOT_GUARANTEED: "It may not be by whom it says.",
    m.ShieldCode.UNKNOWN_DEVICE: "Its sender's device isn't known, or was deleted.",
    m.ShieldCode.UNSIGNED_DEVICE: "Its sender hasn't signed the device it comes from.",
    m.ShieldCode.UNVERIFIED_IDENTITY: "You haven't verified its sender.",
    m.ShieldCode.VERIFICATION_VIOLATION: "Its sender was verified, and isn't any more.",
}


def beside(info: m.EncryptionInfo, *, verifies_everybody: bool = False) -> str:
    """A warning and its colour; empty if there is nothing to show."""
    shield = info.strict_shield if verifies_everybody else info.lax_shield
    if shield.code is None:
        return ""
    return f"{shield.color}: {WORDS[shield.code]}"
