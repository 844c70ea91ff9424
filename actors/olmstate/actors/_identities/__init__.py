"""Users' cross-signing identities: who signed what, and how far each is to be trusted."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.messages import IdentitiesChanged, Identity, PinIdentity, WithdrawVerification

from .actor import CommittedIdentity, IdentitiesActor
from .operations import MarkVerified, mark_verified, pin_identity, withdraw_verification

CAPABILITY = Capability(
    actor=IdentitiesActor,
    commands=(
        MarkVerified.by(mark_verified),
        PinIdentity.by(pin_identity),
        WithdrawVerification.by(withdraw_verification),
    ),
    queries=(CommittedIdentity.answered_by(IdentitiesActor), Identity.answered_by(IdentitiesActor)),
    events=(IdentitiesChanged,),
)
