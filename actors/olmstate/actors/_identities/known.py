"""What is known of an identity, and the states that follow: pure.

Owns: an identity together with the facts about it (`trust`), and how both go on.
Rule: nothing is worked out and stored that depends on two identities. Whether ours has signed another's is checked
when it is asked, so that no change of ours leaves a stale answer behind. What must outlive a change is a fact: that an
identity was verified once, and the user-signing keys that we ever trusted.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec.structs import replace

from olmstate.actors._wire.quiet_struct import QuietStruct
from olmstate.messages import Ed25519Key, IdentityState, UserId

from .identity import CrossSigningKey, Identity, is_signed_by_key
from .trust import OtherFacts, OtherState, OwnFacts, OwnState


class KnownIdentity(QuietStruct, frozen=True, kw_only=True):
    """A user's identity, and what this device has learned about it."""

    user_id: UserId
    identity: Identity | None = None
    own: OwnFacts = OwnFacts()
    """If it is our own."""
    other: OtherFacts = OtherFacts()
    """If it isn't."""
    trusted_signers: tuple[Ed25519Key, ...] = ()
    """Our own: the user-signing keys that it ever had while it was verified."""
    withdrawn_signer: Ed25519Key | None = None
    """Another's: of `trusted_signers`, the last one whose signatures our user has given up."""
    compared_again: Ed25519Key | None = None
    """Another's: the master key that our user has compared since then. Signatures on it count."""
    unusable: bool = False
    """Our own: one is published that isn't whole, or isn't rightly signed; none was taken before."""

    # --- our own --------------------------------------------------------------------------------------------

    def own_seen(self, identity: Identity) -> KnownIdentity:
        """Ours was published, by this device or by another."""
        own = self.own.seen(identity.master.public_key)
        return _with_signer(replace(self, identity=identity, own=own, unusable=False))

    def own_answered(self, *, refused: bool) -> KnownIdentity:
        """The homeserver was asked for ours; what it has can't be taken, or it may have none."""
        return replace(self, unusable=refused and self.identity is None)

    def own_verified(self, master_key: Ed25519Key) -> KnownIdentity:
        """Ours was verified, or made or imported here."""
        return _with_signer(replace(self, own=self.own.verified(master_key)))

    def own_withdrawn(self) -> KnownIdentity:
        """Our user trusts our own no more."""
        return replace(self, own=replace(self.own, trusted_master_key=None))

    # --- another's ------------------------------------------------------------------------------------------

    def seen(self, identity: Identity, own: KnownIdentity | None) -> KnownIdentity:
        """Another's was published; if the one before was verified, that is remembered."""
        other = self.other
        if _was_verified(self, own):
            other = replace(other, was_verified=True)
        return replace(self, identity=identity, other=other.seen(identity.master.public_key))

    def compared(self, master_key: Ed25519Key) -> KnownIdentity:
        """Another's was compared: our user agrees to it. It is verified once our signature on it is seen."""
        again = None if self.withdrawn_signer is None else master_key
        return replace(self, other=replace(self.other, pinned_master_key=master_key), compared_again=again)

    def pinned(self, own: KnownIdentity | None) -> KnownIdentity:
        """Our user agrees to another's."""
        was_verified = _was_verified(self, own)
        return replace(self, other=replace(self.other.pinned(), was_verified=was_verified))

    def withdrawn(self, own: KnownIdentity | None) -> KnownIdentity:
        """Our user gives up the verification of another's."""
        signer = own.trusted_signers[-1] if own is not None and own.trusted_signers else self.withdrawn_signer
        return replace(self, other=self.other.withdrawn(), withdrawn_signer=signer, compared_again=None)


def _with_signer(own: KnownIdentity) -> KnownIdentity:
    key = None if own.identity is None else own.identity.user_signing
    if key is None or own_state(own) is not OwnState.VERIFIED or key.public_key in own.trusted_signers:
        return own
    return replace(own, trusted_signers=(*own.trusted_signers, key.public_key))


def own_state(own: KnownIdentity | None) -> OwnState:
    """Of our own identity."""
    return OwnState.ABSENT if own is None else own.own.state


def other_state(known: KnownIdentity | None, own: KnownIdentity | None) -> OtherState:
    """Of another's, beside ours."""
    if known is None or known.identity is None:
        return OtherState.ABSENT
    user_signing = None if own is None or own.identity is None else own.identity.user_signing
    signed = (
        user_signing is not None
        and user_signing.public_key in _signers(known, own)
        and _is_signed(known.identity.master, user_signing.user_id, user_signing.public_key)
    )
    facts = replace(known.other, was_verified=_was_verified(known, own))
    return facts.state(own=own_state(own), signed_by_us=signed)


def identity_state(known: KnownIdentity, own: KnownIdentity | None) -> IdentityState | None:
    """What an app is told; ``known`` may be our own. None: no identity is known."""
    if own is not None and known.user_id == own.user_id:
        return _OWN[own_state(own)] if own.identity is not None else None
    return _OTHER[other_state(known, own)]


def _signers(known: KnownIdentity, own: KnownIdentity | None) -> tuple[Ed25519Key, ...]:
    """Our user-signing keys, that we have now or ever trusted, whose signatures on another's master key count.

    Those that our user has given up don't: they are the same bytes whenever the homeserver shows them again.
    """
    if own is None or known.identity is None:
        return ()
    given_up = known.withdrawn_signer
    if given_up not in own.trusted_signers or known.identity.master.public_key == known.compared_again:
        return own.trusted_signers
    return own.trusted_signers[own.trusted_signers.index(given_up) + 1 :]


def _was_verified(known: KnownIdentity, own: KnownIdentity | None) -> bool:
    if known.other.was_verified:
        return True
    if own is None or known.identity is None:
        return False
    master = known.identity.master
    return any(_is_signed(master, own.user_id, public_key) for public_key in reversed(_signers(known, own)))


@lru_cache(4096)
def _is_signed(master: CrossSigningKey, user_id: UserId, public_key: Ed25519Key) -> bool:
    # asked again and again of the same few, and it costs a signature check
    return is_signed_by_key(master, user_id, public_key)


_OWN = {
    OwnState.ABSENT: None,
    OwnState.NEVER_VERIFIED: IdentityState.NEVER_VERIFIED,
    OwnState.VERIFIED: IdentityState.VERIFIED,
    OwnState.VIOLATION: IdentityState.VERIFICATION_VIOLATION,
}
_OTHER = {
    OtherState.ABSENT: None,
    OtherState.PINNED: IdentityState.PINNED,
    OtherState.VERIFIED: IdentityState.VERIFIED,
    OtherState.PIN_VIOLATION: IdentityState.PIN_VIOLATION,
    OtherState.VERIFICATION_VIOLATION: IdentityState.VERIFICATION_VIOLATION,
}
