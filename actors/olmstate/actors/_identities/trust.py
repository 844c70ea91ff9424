"""How far an identity is to be trusted: a pure function of a few stored facts.

Owns: the facts, what changes them, and the states that follow.
Rule: nothing here is the homeserver's word. A fact changes because an identity with valid signatures came, because
two users have verified each other, or because our user said so. An identity that a server leaves out stays.
Why: who could have a state changed by saying nothing would not need to forge a key.
"""

from __future__ import annotations

import enum

from msgspec.structs import replace

from olmstate.actors._wire.quiet_struct import QuietStruct


class OwnState(enum.Enum):
    """Of our own identity."""

    ABSENT = "absent"
    """None is known."""
    NEVER_VERIFIED = "never_verified"
    """This device has never had a reason to trust it."""
    VERIFIED = "verified"
    VIOLATION = "violation"
    """It was verified once, and isn't the one that is published now."""


class OtherState(enum.Enum):
    """Of another user's identity."""

    ABSENT = "absent"
    """None is known."""
    PINNED = "pinned"
    """It is the one that we saw first, or that our user has agreed to. Nobody has compared anything."""
    VERIFIED = "verified"
    """Our user has verified it: our user-signing key has signed it."""
    PIN_VIOLATION = "pin_violation"
    """It has changed, and our user hasn't agreed to that. Tell the user."""
    VERIFICATION_VIOLATION = "verification_violation"
    """It was verified once, and the present one isn't. Nothing should be sent until the user has decided."""


class OwnFacts(QuietStruct, frozen=True, kw_only=True):
    """What is stored of our own identity."""

    master_key: str | None = None
    """As published last."""
    trusted_master_key: str | None = None
    """The one that this device has verified, or has made or imported the private half of."""

    def seen(self, master_key: str) -> OwnFacts:
        """An identity was published, by us or by others."""
        return replace(self, master_key=master_key)

    def verified(self, master_key: str) -> OwnFacts:
        """It was verified, or made or imported here."""
        return replace(self, trusted_master_key=master_key)

    @property
    def state(self) -> OwnState:
        """How far to trust it."""
        if self.master_key is None:
            return OwnState.ABSENT
        if self.master_key == self.trusted_master_key:
            return OwnState.VERIFIED
        return OwnState.NEVER_VERIFIED if self.trusted_master_key is None else OwnState.VIOLATION


class OtherFacts(QuietStruct, frozen=True, kw_only=True):
    """What is stored of another user's identity."""

    master_key: str | None = None
    """As published last."""
    pinned_master_key: str | None = None
    """The first one, or the one that our user has agreed to."""
    was_verified: bool = False
    """Once it was, and our user hasn't withdrawn that."""

    def seen(self, master_key: str) -> OtherFacts:
        """An identity was published. The first one is pinned."""
        return replace(self, master_key=master_key, pinned_master_key=self.pinned_master_key or master_key)

    def verified(self, master_key: str) -> OtherFacts:
        """It was verified, or found to be signed by our user-signing key."""
        return replace(self, pinned_master_key=master_key, was_verified=True)

    def pinned(self) -> OtherFacts:
        """Our user agrees to the present one. That it was verified once isn't forgotten by this."""
        return replace(self, pinned_master_key=self.master_key)

    def withdrawn(self) -> OtherFacts:
        """Our user gives the verification up, and agrees to the present one."""
        return replace(self, pinned_master_key=self.master_key, was_verified=False)

    def state(self, *, own: OwnState, signed_by_us: bool) -> OtherState:
        """How far to trust it.

        Args:
            own: Of our own identity: the signature of an identity that we don't trust is nobody's.
            signed_by_us: Whether our user-signing key has signed the present one (`identity.is_signed_by_key`).
        """
        if self.master_key is None:
            return OtherState.ABSENT
        if signed_by_us and own is OwnState.VERIFIED:
            return OtherState.VERIFIED
        if self.was_verified:
            return OtherState.VERIFICATION_VIOLATION
        return OtherState.PINNED if self.master_key == self.pinned_master_key else OtherState.PIN_VIOLATION
