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
    ResetCrossSigning,
    SignDevice,
    UpdateDevices,
    UserId,
    VerifyUser,
)

from .actor import CommittedPrivateKeys
from .operations import PrepareNextStep, PrepareReset, RefreshOwnIdentity, SignOwnDevice, SignUser
from .private_keys import status_of

MOST_QUERIES = 3
MOST_STEPS = 6
"""Three, and some that others undo meanwhile."""


async def bootstrap_cross_signing(supervisor: BesideTurns, procedure: BootstrapCrossSigning) -> None:
    """One step after another, each from what a query tells: so it goes on wherever it was left."""
    courier = supervisor.services[Courier]
    auth = procedure.auth
    for _ in range(MOST_STEPS):
        await learn_own_identity(supervisor, procedure.patience)
        step = await supervisor.ask(PrepareNextStep(auth=auth))
        if step is None:
            return
        await courier.deliver(step.kind, step.request_ids, patience=procedure.patience)
    raise RequestDelayed(kind=RequestKind.SIGNATURES_UPLOAD)


async def learn_own_identity(supervisor: BesideTurns, patience: float) -> None:
    """Have our own keys as they are at the homeserver now.

    Raises:
        NoAccount, NoTransport, RequestDelayed, RequestRefused: They can't be learned.
    """
    if supervisor.services[Courier].has_transport:
        await supervisor.ask(RefreshOwnIdentity())
    await _learn(supervisor, (await supervisor.ask(IdentityKeys())).user_id, patience)


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


async def sign_device(supervisor: BesideTurns, procedure: SignDevice) -> None:
    """The same for a device."""
    await learn_own_identity(supervisor, procedure.patience)
    own = (await supervisor.ask(IdentityKeys())).user_id
    step = await supervisor.ask(SignOwnDevice(device_id=procedure.device_id, ed25519=procedure.ed25519))
    await supervisor.services[Courier].deliver(step.kind, step.request_ids, patience=procedure.patience)
    await _learn(supervisor, own, procedure.patience)


async def reset_cross_signing(supervisor: BesideTurns, procedure: ResetCrossSigning) -> None:
    """Have a new identity taken, and go on as for the first one."""
    for number in range(MOST_STEPS):
        await learn_own_identity(supervisor, procedure.patience)
        step = await supervisor.ask(PrepareReset(begin=number == 0, auth=procedure.auth))
        if step is None:
            break
        await supervisor.services[Courier].deliver(step.kind, step.request_ids, patience=procedure.patience)
    else:
        raise RequestDelayed(kind=RequestKind.SIGNING_KEYS_UPLOAD)
    await supervisor.ask(BootstrapCrossSigning(patience=procedure.patience))


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
