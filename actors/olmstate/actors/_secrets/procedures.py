"""Bootstrapping cross-signing; and what is told of the private keys."""

from __future__ import annotations

from olmstate.actors._engine.capability import BesideTurns
from olmstate.actors._identities.actor import CommittedIdentity
from olmstate.actors._identities.identity import Usage
from olmstate.actors._identities.signing import seed_to_base64
from olmstate.actors._requests.courier import Courier
from olmstate.messages import (
    BootstrapCrossSigning,
    CrossSigningSeeds,
    CrossSigningStatus,
    ExportCrossSigningKeys,
    IdentityKeys,
    PrivateCrossSigningKeys,
    RequestDelayed,
    RequestKind,
    UpdateDevices,
    UserId,
    VerifyUser,
)

from .actor import CommittedPrivateKeys
from .operations import PrepareNextStep, RefreshOwnIdentity, SignUser, status_of

MOST_QUERIES = 3
MOST_STEPS = 6
"""Three, and some that others undo meanwhile."""


async def bootstrap_cross_signing(supervisor: BesideTurns, procedure: BootstrapCrossSigning) -> None:
    """One step after another, each from what a query tells: so it goes on wherever it was left."""
    courier = supervisor.services[Courier]
    own = (await supervisor.ask(IdentityKeys())).user_id
    auth = procedure.auth
    for _ in range(MOST_STEPS):
        if courier.has_transport:
            await supervisor.ask(RefreshOwnIdentity())
        await _learn(supervisor, own, procedure.patience)
        step = await supervisor.ask(PrepareNextStep(auth=auth))
        if step is None:
            return
        await courier.deliver(step.kind, step.request_ids, patience=procedure.patience)
    raise RequestDelayed(kind=RequestKind.SIGNATURES_UPLOAD)


async def _learn(supervisor: BesideTurns, user_id: UserId, patience: float) -> None:
    """Have a user's keys as they are now. A query that was under way may have been answered too early to count."""
    for _ in range(MOST_QUERIES):
        if not await supervisor.ask(UpdateDevices(users=(user_id,), patience=patience)):
            return
    raise RequestDelayed(kind=RequestKind.KEYS_QUERY)


async def verify_user(supervisor: BesideTurns, procedure: VerifyUser) -> None:
    """Sign, wait until the homeserver has the signature, and see it there."""
    step = await supervisor.ask(SignUser(user_id=procedure.user_id, master_key=procedure.master_key))
    await supervisor.services[Courier].deliver(step.kind, step.request_ids, patience=procedure.patience)
    await _learn(supervisor, procedure.user_id, procedure.patience)


async def cross_signing_status(supervisor: BesideTurns, query: CrossSigningStatus) -> PrivateCrossSigningKeys:  # noqa: ARG001 - a query's function
    """Compare what is there with what is published."""
    own = (await supervisor.ask(IdentityKeys())).user_id
    known = await supervisor.ask(CommittedIdentity(user_id=own))
    return status_of(await supervisor.ask(CommittedPrivateKeys()), None if known is None else known.identity)


async def export_cross_signing_keys(supervisor: BesideTurns, query: ExportCrossSigningKeys) -> CrossSigningSeeds:  # noqa: ARG001 - a query's function
    """As they are shared and stored."""
    seeds = (await supervisor.ask(CommittedPrivateKeys())).seeds
    texts = {usage.value: seed_to_base64(seed) for usage in Usage if (seed := seeds.of(usage)) is not None}
    return CrossSigningSeeds(**texts)
