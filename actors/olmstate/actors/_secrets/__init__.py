"""Private cross-signing keys, and what is published and signed with them."""

from __future__ import annotations

from olmstate.actors._engine.capability import Capability
from olmstate.actors._requests.points import ANSWERS, REFUSALS, Answer, Refusal
from olmstate.messages import (
    BootstrapCrossSigning,
    CrossSigningStatus,
    ExportCrossSigningKeys,
    ImportCrossSigningKeys,
    PrivateCrossSigningKeysChanged,
    RequestKind,
    ResetCrossSigning,
    SignDevice,
    VerifyUser,
)

from .actor import CommittedPrivateKeys, SecretsActor
from .operations import (
    PrepareNextStep,
    PrepareReset,
    RefreshOwnIdentity,
    SignOwnDevice,
    SignUser,
    prepare_next_step,
    prepare_reset,
    refresh_own_identity,
    refused_signature,
    sign_own_device,
    sign_user,
    signing_keys_refused,
    take_keys_answer,
    take_signatures_answer,
    take_signing_keys_answer,
)
from .private_keys import import_cross_signing_keys
from .procedures import (
    bootstrap_cross_signing,
    cross_signing_status,
    export_cross_signing_keys,
    reset_cross_signing,
    sign_device,
    verify_user,
)

CAPABILITY = Capability(
    actor=SecretsActor,
    commands=(
        ImportCrossSigningKeys.by(import_cross_signing_keys),
        PrepareNextStep.by(prepare_next_step),
        PrepareReset.by(prepare_reset),
        RefreshOwnIdentity.by(refresh_own_identity),
        SignOwnDevice.by(sign_own_device),
        SignUser.by(sign_user),
    ),
    queries=(CommittedPrivateKeys.answered_by(SecretsActor),),
    procedures=(
        BootstrapCrossSigning.by(bootstrap_cross_signing),
        CrossSigningStatus.by(cross_signing_status),
        ExportCrossSigningKeys.by(export_cross_signing_keys),
        ResetCrossSigning.by(reset_cross_signing),
        SignDevice.by(sign_device),
        VerifyUser.by(verify_user),
    ),
    additions=(
        ANSWERS.add(Answer(kind=RequestKind.KEYS_UPLOAD, take=take_keys_answer)),
        ANSWERS.add(Answer(kind=RequestKind.SIGNING_KEYS_UPLOAD, take=take_signing_keys_answer)),
        REFUSALS.add(Refusal(kind=RequestKind.SIGNING_KEYS_UPLOAD, take=signing_keys_refused)),
        ANSWERS.add(
            Answer(kind=RequestKind.SIGNATURES_UPLOAD, take=take_signatures_answer, complaint=refused_signature)
        ),
    ),
    events=(PrivateCrossSigningKeysChanged,),
)
